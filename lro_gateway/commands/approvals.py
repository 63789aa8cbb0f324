"""`lro-gateway approvals`: the calls that wait until somebody approves them."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Final

import typer

from lro_gateway.commands import options
from lro_gateway.commands.options import (
    Backend,
    Format,
    Gateway,
    Keyring,
    TokenFile,
    connection_of,
    run,
    stderr,
    stdout,
    width_of_table,
    write,
)
from lro_gateway.commands.terminal.approval_texts import approval_text, approvals_table
from lro_gateway.commands.terminal.completion import approval_ids
from lro_gateway.commands.terminal.failures import Exit
from lro_gateway.commands.terminal.formats import TABLE, checked_format
from lro_gateway.commands.terminal.gateway_client import APPROVALS, GatewayClient
from lro_gateway.commands.terminal.names import one_of
from lro_gateway.errors import escaped

_LIMIT: Final = 100
_WHOLE: Final = 32
"""The number of digits of an id."""
_ANY: Final = "any"

Id = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The id, or its beginning or its end if only one call has it.",
        autocompletion=approval_ids,
    ),
]
Reason = Annotated[
    str, typer.Option(metavar="TEXT", help="Why. The caller that asked sees the text.")
]


def list_approvals(
    *,
    gateway: Gateway = options.URL,
    backend: Backend = None,
    token_file: TokenFile = None,
    state: Annotated[
        str, typer.Option(metavar="STATE", help="The state of the calls, or any.")
    ] = "pending",
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many.")] = _LIMIT,
    keyring: Keyring = False,
    format: Format = options.FORMAT,  # noqa: A002 - it is the name of the option
) -> None:
    """List the calls that wait for an approval: those that you asked for or may approve."""
    connection = connection_of(gateway, backend, token_file, keyring)

    async def work(client: GatewayClient) -> int:
        form = checked_format(format)
        found = await client.approvals("" if state == _ANY else state, limit)
        if form == TABLE and not found:
            stderr.print("no calls")
        else:
            now = dt.datetime.now(dt.UTC)
            write(form, list(found), lambda: approvals_table(found, now, width_of_table()))
        return Exit.SUCCEEDED

    run(connection, work, cut=Exit.SUCCEEDED)


def describe(
    id_: Id,
    gateway: Gateway = options.URL,
    backend: Backend = None,
    token_file: TokenFile = None,
    *,
    keyring: Keyring = False,
    format: Format = options.FORMAT,  # noqa: A002 - it is the name of the option
) -> None:
    """Describe a call: its method and its request, who asks, and until when it waits."""
    connection = connection_of(gateway, backend, token_file, keyring)

    async def work(client: GatewayClient) -> int:
        form = checked_format(format)
        found = await client.get(await _name(client, id_))
        write(form, found, lambda: approval_text(found, dt.datetime.now(dt.UTC)))
        return Exit.SUCCEEDED

    run(connection, work, cut=Exit.SUCCEEDED)


def approve(
    id_: Id,
    gateway: Gateway = options.URL,
    backend: Backend = None,
    token_file: TokenFile = None,
    *,
    reason: Reason = "",
    keyring: Keyring = False,
) -> None:
    """Approve a call, which then starts for the caller that asked."""
    _decide("approve", id_, reason, connection_of(gateway, backend, token_file, keyring))


def refuse(
    id_: Id,
    gateway: Gateway = options.URL,
    backend: Backend = None,
    token_file: TokenFile = None,
    *,
    reason: Reason = "",
    keyring: Keyring = False,
) -> None:
    """Refuse a call, which then never starts."""
    _decide("refuse", id_, reason, connection_of(gateway, backend, token_file, keyring))


def _decide(verb: str, id_: str, reason: str, connection: Any) -> None:
    async def work(client: GatewayClient) -> int:
        decided = await client.decide(await _name(client, id_), verb, reason)
        line = f"{decided['name']}: {decided['metadata']['statusMessage']}"
        stdout.print(escaped(line), soft_wrap=True, markup=False)
        return Exit.SUCCEEDED

    run(connection, work)


async def _name(client: GatewayClient, given: str) -> str:
    """Return the name of the one call whose id begins or ends with the given text."""
    id_ = given.removeprefix(APPROVALS)
    if len(id_) == _WHOLE:
        return APPROVALS + id_
    ids = [each["name"].removeprefix(APPROVALS) for each in await client.approvals("", _LIMIT)]
    cure = "`lro-gateway approvals list --state any` shows the ids"
    return APPROVALS + one_of(ids, id_, "call", cure)

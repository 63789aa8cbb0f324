"""`lro-gateway operations describe`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from lro_gateway.commands import options
from lro_gateway.commands.options import (
    Backend,
    Format,
    Gateway,
    Keyring,
    Name,
    TokenFile,
    connection_of,
    run,
    write,
)
from lro_gateway.commands.terminal.approval_texts import approval_text, approval_times
from lro_gateway.commands.terminal.description import Moment, description_of
from lro_gateway.commands.terminal.failures import CommandError, Exit
from lro_gateway.commands.terminal.formats import TABLE, checked_format
from lro_gateway.commands.terminal.gateway_client import APPROVALS, GatewayClient
from lro_gateway.commands.terminal.names import full_name

_NEWEST: Final = 100


def describe(
    name: Name,
    gateway: Gateway = options.URL,
    backend: Backend = None,
    token_file: TokenFile = None,
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Print the Operation as JSON.")] = False,
    keyring: Keyring = False,
    format: Format = options.FORMAT,  # noqa: A002 - it is the name of the option
) -> None:
    """Describe an operation: its state, progress and times, its metadata, its result or error."""
    connection = connection_of(gateway, backend, token_file, keyring)

    async def work(client: GatewayClient) -> int:
        form = checked_format(format)
        operation = await client.get(await full_name(client, name))
        if raw:
            operation.pop("summary")
        if raw and form == TABLE:
            form = "json"
        now = dt.datetime.now(dt.UTC)
        if operation["name"].startswith(APPROVALS):
            write(form, operation, lambda: approval_text(operation, now))
        else:
            times = await _approval_times(client, operation["name"]) if form == TABLE else []
            write(form, operation, lambda: description_of(operation, now, times))
        return Exit.SUCCEEDED

    run(connection, work, cut=Exit.SUCCEEDED)


async def _approval_times(client: GatewayClient, name: str) -> Sequence[Moment]:
    """Return when the call that has started an operation was asked for and approved, if it was.

    Only those of the newest calls are found that the caller has asked for or may approve.
    """
    try:
        calls = await client.approvals("started", _NEWEST)
    except CommandError:
        # At most gateways no call needs an approval.
        return []
    return next((approval_times(each) for each in calls if each.get("operation") == name), [])

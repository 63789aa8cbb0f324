"""`lro-gateway operations cancel` and `delete`."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from lro_gateway.commands import options
from lro_gateway.commands.options import (
    Backend,
    Every,
    Format,
    Gateway,
    Keyring,
    Names,
    Timeout,
    TokenFile,
    Yes,
    connection_of,
    run,
    stderr,
)
from lro_gateway.commands.terminal.failures import Exit, RefusedError
from lro_gateway.commands.terminal.formats import checked_format
from lro_gateway.commands.terminal.gateway_client import GatewayClient
from lro_gateway.commands.terminal.names import full_name
from lro_gateway.commands.waiting import Wait, waited
from lro_gateway.errors import escaped

_RUNNING: Final = "running"
_ENDED: Final = {"cancelled": "been cancelled"}
"""The words for the end of an operation, where they are not those of the state."""


async def _cancelled(client: GatewayClient, name: str) -> str:
    """Request the cancellation of an operation, and return what has become of the request."""
    try:
        state = (await client.get(name))["summary"]["state"]
    except RefusedError:
        # A caller that may cancel an operation need not be allowed to read it.
        state = _RUNNING
    if state != _RUNNING:
        return f"nothing to cancel: {name} has {_ENDED.get(state, state)} already"
    await client.cancel(name)
    return f"cancellation requested: {name}"


def cancel(  # noqa: PLR0913 - each parameter is an option of the command
    names: Names,
    gateway: Gateway = options.URL,
    backend: Backend = None,
    token_file: TokenFile = None,
    timeout: Timeout = None,
    report_every: Every = "30s",
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until they are done.")] = False,
    yes: Yes = False,
    keyring: Keyring = False,
    format: Format = options.FORMAT,  # noqa: A002 - it is the name of the option
) -> None:
    """Request that operations be cancelled. A backend may not succeed, so --wait shows the end.

    With --wait the status is that of wait, so it is 3 for an operation that is cancelled.
    """
    connection = connection_of(gateway, backend, token_file, keyring)

    async def work(client: GatewayClient) -> int:
        form = checked_format(format)
        how = Wait.of(timeout, report_every)
        whole = [await full_name(client, each) for each in dict.fromkeys(names)]
        for each in whole:
            told = escaped(await _cancelled(client, each))
            stderr.print(told, soft_wrap=True, markup=False)
        if not wait:
            return Exit.SUCCEEDED
        return await waited(client, whole, form, how)

    run(connection, work, agrees=yes)


def delete(
    names: Names,
    gateway: Gateway = options.URL,
    backend: Backend = None,
    token_file: TokenFile = None,
    *,
    yes: Yes = False,
    keyring: Keyring = False,
) -> None:
    """Delete the records of operations. This does not cancel an operation that runs."""
    connection = connection_of(gateway, backend, token_file, keyring)

    async def work(client: GatewayClient) -> int:
        for each in [await full_name(client, each) for each in dict.fromkeys(names)]:
            await client.delete(each)
            stderr.print(f"deleted: {escaped(each)}", soft_wrap=True, markup=False)
        return Exit.SUCCEEDED

    run(connection, work, agrees=yes)

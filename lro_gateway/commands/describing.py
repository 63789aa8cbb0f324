"""`lro-gateway operations describe`."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

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
from lro_gateway.commands.terminal.approval_texts import approval_text
from lro_gateway.commands.terminal.description import description_of
from lro_gateway.commands.terminal.failures import Exit
from lro_gateway.commands.terminal.formats import TABLE, checked_format
from lro_gateway.commands.terminal.gateway_client import APPROVALS, GatewayClient
from lro_gateway.commands.terminal.names import full_name


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
        shown = approval_text if operation["name"].startswith(APPROVALS) else description_of
        write(form, operation, lambda: shown(operation, dt.datetime.now(dt.UTC)))
        return Exit.SUCCEEDED

    run(connection, work, cut=Exit.SUCCEEDED)

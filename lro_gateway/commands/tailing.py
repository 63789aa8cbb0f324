"""`lro-gateway operations tail`."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from contextlib import aclosing
from typing import Any

from rich.text import Text

from lro_gateway.commands import options
from lro_gateway.commands.options import (
    Backend,
    Format,
    Gateway,
    Keyring,
    Name,
    Timeout,
    TokenFile,
    connection_of,
    fail,
    put,
    run,
    stdout,
    warn_of_paths,
)
from lro_gateway.commands.terminal.failures import Exit
from lro_gateway.commands.terminal.following import exit_of
from lro_gateway.commands.terminal.formats import TABLE, checked_format, formatted
from lro_gateway.commands.terminal.gateway_client import GatewayClient
from lro_gateway.commands.terminal.names import full_name
from lro_gateway.commands.terminal.rows import STYLES, Row, failure_of
from lro_gateway.commands.terminal.times import clock, duration_of


def tail(
    name: Name,
    gateway: Gateway = options.URL,
    backend: Backend = None,
    token_file: TokenFile = None,
    timeout: Timeout = None,
    *,
    keyring: Keyring = False,
    format: Format = options.FORMAT,  # noqa: A002 - it is the name of the option
) -> None:
    """Print a line at each change of an operation, until it is done.

    The exit status is that of wait. With --format json each line is the whole operation.
    """
    connection = connection_of(gateway, backend, token_file, keyring)

    async def work(client: GatewayClient) -> int:
        form = checked_format(format)
        limit = None if timeout is None else duration_of(timeout).total_seconds()
        operation: Any = {}
        try:
            async with asyncio.timeout(limit):
                whole = await full_name(client, name)
                async with aclosing(client.follow(whole)) as states:
                    async for operation in states:
                        _print_change(operation, form)
            warn_of_paths(form, operation)
        except TimeoutError:
            fail(f"not done after {timeout}: {name}", Exit.TIMEOUT)
        return exit_of([operation])

    run(connection, work)


def _print_change(operation: Any, form: str) -> None:
    if form == "json":
        put(form, json_line(operation))
    elif form != TABLE:
        put(form, ("---\n" if form == "yaml" else "") + formatted(form, operation))
    else:
        row = Row.of(operation)
        said = failure_of(operation) or row.text
        line = Text.assemble(
            f"{clock(dt.datetime.now(dt.UTC))}  {row.percentage:>4}  ",
            (row.state, STYLES[row.state]),
            f"  {said}" if said else "",
        )
        stdout.print(line, soft_wrap=True)
    stdout.file.flush()


def json_line(value: Any) -> str:
    """Return a JSON value on one line."""
    return json.dumps(value, ensure_ascii=False) + "\n"

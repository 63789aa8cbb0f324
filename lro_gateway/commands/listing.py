"""`lro-gateway operations list`."""

from __future__ import annotations

import asyncio
import datetime as dt
from functools import partial
from typing import Annotated, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from lro_gateway.commands import options
from lro_gateway.commands.options import (
    Backend,
    Format,
    Gateway,
    Keyring,
    TokenFile,
    connection_of,
    run,
    show,
    stderr,
    stdout,
    width_of_table,
    write,
)
from lro_gateway.commands.terminal.changes import Changes
from lro_gateway.commands.terminal.failures import CommandError, Exit
from lro_gateway.commands.terminal.formats import TABLE, checked_format
from lro_gateway.commands.terminal.gateway_client import GatewayClient, Listing
from lro_gateway.commands.terminal.rows import Row
from lro_gateway.commands.terminal.selection import STATES, MySelection, Selection, States
from lro_gateway.commands.terminal.table import table_of
from lro_gateway.errors import escaped

_LIMIT: Final = 100
_REDRAW: Final = 2.0
"""Seconds between two lists of `--watch`."""
_MORE: Final = "There are more: raise --limit, or select with --state, --method or --since."


StateNames = Annotated[
    list[str] | None,
    typer.Option(
        metavar="STATE",
        help=f"Only those that are {', '.join(STATES)}; repeat the option for more states.",
        show_default=False,
    ),
]


def list_operations(  # noqa: PLR0913 - each parameter is an option of the command
    *,
    gateway: Gateway = options.URL,
    backend: Backend = None,
    token_file: TokenFile = None,
    state: StateNames = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="PATTERN", help="Only those of this method, such as CreateDatabase or Create*."
        ),
    ] = "",
    since: Annotated[
        str,
        typer.Option(metavar="DURATION", help="Only those that began in the last 1h, for example."),
    ] = "",
    filter: Annotated[  # noqa: A002 - it is the name of the option
        str, typer.Option(metavar="FILTER", help="A filter in the syntax of the backend.")
    ] = "",
    mine: Annotated[
        bool,
        typer.Option("--mine", help="Only those that you started, also if their backend is down."),
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many.")] = _LIMIT,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show the list again and again.")
    ] = False,
    keyring: Keyring = False,
    format: Format = options.FORMAT,  # noqa: A002 - it is the name of the option
) -> None:
    """List operations: which run, which failed, and how far they are."""
    connection = connection_of(gateway, backend, token_file, keyring)

    async def work(client: GatewayClient) -> int:
        kind = MySelection if mine else Selection
        selection = kind(States(state or ()), method, since, filter, limit)
        form = checked_format(format)
        if watch and form != TABLE:
            raise CommandError("--watch shows a table, so leave out --format")
        if watch:
            await (_redrawn if stdout.is_terminal else _printed)(client, selection)
        listing = await selection.read(client)
        if form == TABLE and not listing.operations:
            stderr.print("no operations" + (await _waiting(client) if mine else ""), soft_wrap=True)
        else:
            write(form, list(listing.operations), lambda: _table(listing))
        _warn(listing, form)
        return Exit.UNREACHABLE if listing.unreachable else Exit.SUCCEEDED

    run(connection, work, cut=Exit.SUCCEEDED)


def _warn(listing: Listing, form: str) -> None:
    """Say on stderr what a list lacks."""
    if form != TABLE and listing.is_cut:
        stderr.print(_MORE, soft_wrap=True)
    for each in listing.unreachable:
        stderr.print(f"not reached: {escaped(each)}", style="red", markup=False)


async def _waiting(client: GatewayClient) -> str:
    """Return where the calls are that have started nothing yet, or an empty text if none waits."""
    try:
        found = await client.approvals("pending", 1)
    except CommandError:
        # A gateway without such calls does not have the path.
        return ""
    hint = "; calls wait for an approval: `lro-gateway approvals list` shows them"
    return hint if found else ""


async def _printed(client: GatewayClient, selection: Selection | MySelection) -> None:
    """Print the list whenever it has changed, with a line between two lists, until Ctrl-C."""
    latest = None
    while True:
        listing = await selection.read(client)
        if listing != latest:
            if latest is not None:
                stdout.file.write("\n")
            show(partial(_table, listing))
        latest = listing
        await asyncio.sleep(_REDRAW)


async def _redrawn(client: GatewayClient, selection: Selection | MySelection) -> None:
    """Draw the list again every two seconds, until Ctrl-C."""
    changes = Changes()
    with Live(console=stdout, auto_refresh=False, screen=False) as live:
        while True:
            listing = await selection.read(client)
            live.update(_table(listing, changes), refresh=True)
            await asyncio.sleep(_REDRAW)


def _table(listing: Listing, changes: Changes | None = None) -> Group:
    now = dt.datetime.now(dt.UTC)
    rows = [Row.of(each) for each in listing.operations]
    if changes is not None:
        rows = changes.noted(rows, now)
    table = table_of(rows, now, width_of_table())
    more = [Text(_MORE)] if listing.is_cut else []
    return Group(table, *more)

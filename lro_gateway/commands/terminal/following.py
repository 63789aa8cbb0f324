"""Follows several operations at once, and shows how far they are while they run."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.table import Column
from rich.text import Text

from lro_gateway.commands.terminal.failures import Exit
from lro_gateway.commands.terminal.gateway_client import GatewayClient
from lro_gateway.commands.terminal.rows import STYLES, Row
from lro_gateway.commands.terminal.times import span

Operation = Mapping[str, Any]

_BAR: Final = 20
_NARROW: Final = 70
"""A terminal of fewer characters gets bars of half the width, and states without their times."""
_PERCENTAGE: Final = len("  100% ")
"""The width of the percentage and of the blanks around it."""
_STATE: Final = len("succeeded after 59 min")
_SHORT_STATE: Final = len("succeeded")


class View(Protocol):
    """Shows the latest state of each operation."""

    def show(self, row: Row) -> None:
        """Show the latest state of an operation."""


async def ended(
    client: GatewayClient, names: Sequence[str], view: View, *, any_of: bool
) -> list[Operation]:
    """Return the operations that are done, in the order of their names.

    Without `any_of` these are all of them. With it, the first that is done ends the wait.
    """
    tasks = {name: asyncio.create_task(_end(client, name, view)) for name in names}
    when = asyncio.FIRST_COMPLETED if any_of else asyncio.FIRST_EXCEPTION
    try:
        await asyncio.wait(tasks.values(), return_when=when)
        return [task.result() for task in tasks.values() if task.done()]
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _end(client: GatewayClient, name: str, view: View) -> Operation:
    operation: Operation = {}
    async for operation in client.follow(name):
        view.show(Row.of(operation))
    return operation


def exit_of(operations: Sequence[Operation]) -> Exit:
    """Return the status of a command that waited: that of a failure, else of a cancellation."""
    found = {Row.of(each).exit for each in operations}
    return next((each for each in (Exit.FAILED, Exit.CANCELLED) if each in found), Exit.SUCCEEDED)


@contextmanager
def bars(console: Console) -> Iterator[View]:
    """Show each operation as a progress bar in a terminal."""
    is_wide = console.width >= _NARROW
    bar = _BAR if is_wide else _BAR // 2
    progress = Progress(
        _NameColumn(console, bar + _PERCENTAGE + (_STATE if is_wide else _SHORT_STATE)),
        BarColumn(bar_width=bar),
        TextColumn("{task.fields[percentage]:>4}"),
        _StateColumn(shows_time=is_wide),
        console=console,
    )
    with progress:
        yield _Bars(progress)


class _NameColumn(ProgressColumn):
    """Shows the name of an operation, or what has room: its method and the beginning of its ID."""

    def __init__(self, console: Console, others: int) -> None:
        super().__init__(Column(no_wrap=True))
        self._console = console
        self._others = others

    def render(self, task: Task) -> Text:
        """Return the name or a part of it, at each width that the terminal may get."""
        row: Row = task.fields["row"]
        room = max(self._console.width - self._others, 1)
        short = " ".join(filter(None, [row.kind, row.name.rpartition("/")[2]]))
        text = Text(row.name if cell_len(row.name) <= room else short)
        text.truncate(room, overflow="ellipsis")
        return text


class _StateColumn(ProgressColumn):
    """Shows the state of an operation in its colour, and for how long it runs or has run."""

    def __init__(self, *, shows_time: bool) -> None:
        super().__init__(Column(no_wrap=True))
        self._shows_time = shows_time

    def render(self, task: Task) -> Text:
        """Return the state of the row that `_Bars` sets."""
        row: Row = task.fields["row"]
        text = row.lasting(dt.datetime.now(dt.UTC)) if self._shows_time else row.state
        if self._shows_time and text == "running":
            # Only the time that the command has waited is known.
            text = f"running, waited {span(task.elapsed or 0.0)}"
        return Text(text, style=STYLES[row.state])


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def show(self, row: Row) -> None:
        fields: dict[str, Any] = {"row": row, "percentage": row.percentage}
        if row.name not in self._tasks:
            self._tasks[row.name] = self._progress.add_task(row.name, total=100, **fields)
        completed = row.percent if row.percent is not None else 100 * (row.state == "succeeded")
        self._progress.update(self._tasks[row.name], completed=completed, **fields)


class Report:
    """Tells from time to time how far the operations are, in one line.

    Some systems kill a command that prints nothing for minutes.
    """

    def __init__(self, console: Console, every: float) -> None:
        self._console = console
        self._every = every
        self._rows: dict[str, Row] = {}

    def show(self, row: Row) -> None:
        """Keep the latest state of an operation for the next line."""
        self._rows[row.name] = row

    async def run(self) -> None:
        """Print a line after each pause, for ever."""
        while True:
            await asyncio.sleep(self._every)
            states = (
                " ".join(filter(None, [row.name, row.state, row.percentage, row.text]))
                for row in self._rows.values()
            )
            line = "; ".join(states) or "no operation has answered yet"
            self._console.print(line, soft_wrap=True, markup=False)

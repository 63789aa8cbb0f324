"""The table of a list of operations."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from lro_gateway.commands.terminal.rows import STYLES, Row
from lro_gateway.commands.terminal.times import since

_SHORTEST: Final = 8
"""The length of the shortest ID, in characters."""
_OTHER_COLUMNS: Final = 54
"""About the width of all columns but the name."""


def table_of(rows: Sequence[Row], now: dt.datetime, width: int) -> Table:
    """Return a table with a line for each operation, for a terminal of a width in characters.

    If the names are too long for it, the table has the beginning of their last parts, which the
    commands take as names too.
    """
    is_short = max((len(row.name) for row in rows), default=0) + _OTHER_COLUMNS > width
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in ("ID", "RESOURCE") if is_short else ("NAME",):
        table.add_column(title, overflow="fold", no_wrap=title == "ID")
    table.add_column("METHOD", overflow="fold")
    table.add_column("STATE", no_wrap=True)
    for title in ("DONE", "AGE", "CHANGED"):
        table.add_column(title, justify="right", no_wrap=True)
    length = _unique_length([_last(row.name) for row in rows])
    for row in rows:
        changed = since(row.updated, now)
        resource = row.name.removesuffix(_last(row.name)).removesuffix("operations/").rstrip("/")
        names = (_last(row.name)[:length], resource) if is_short else (row.name,)
        table.add_row(
            *map(Text, (*names, row.kind)),
            Text(row.state, style=STYLES.get(row.state, "")),
            row.percentage,
            since(row.created, now),
            f"{changed} ago" if changed else "",
        )
    return table


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _unique_length(ids: Sequence[str]) -> int:
    """Return the shortest length at which the beginnings of different ids differ."""
    distinct = len(set(ids))
    longest = max(map(len, ids), default=_SHORTEST)
    lengths = range(_SHORTEST, longest)
    return next((n for n in lengths if len({each[:n] for each in ids}) == distinct), longest)

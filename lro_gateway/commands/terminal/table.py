"""Tables that fit a terminal, and the table of a list of operations."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len, chop_cells
from rich.table import Table
from rich.text import Text

from lro_gateway.commands.terminal.rows import STYLES, Row
from lro_gateway.commands.terminal.times import since

_SHORTEST: Final = 8
"""The length of the shortest ID, in characters."""
_LEAST: Final = 12
"""The width to which a method and a resource may be cut."""
_GAP: Final = 2
_UNKNOWN: Final = "-"
_LEFT_OUT: Final = ("CHANGED", "RESOURCE", "AGE", "DONE", "METHOD")
"""The columns that a narrow terminal leaves out, the first of them first."""


@dataclass(slots=True)
class Column:
    """A column and its cells. A cut cell keeps its beginning, or with `keeps_end` its end.

    Only an elastic column is ever cut. `styles` are those of the cells, or empty.
    """

    title: str
    cells: Sequence[str]
    is_elastic: bool = False
    keeps_end: bool = False
    justify: str = "left"
    styles: Sequence[str] = ()

    @property
    def width(self) -> int:
        """The width of the widest cell."""
        return max(cell_len(each) for each in (self.title, *self.cells))

    @property
    def least(self) -> int:
        """The width to which the cells may be cut."""
        return min(self.width, _LEAST) if self.is_elastic else self.width

    @property
    def is_empty(self) -> bool:
        """Whether no row has a cell here."""
        return not any(self.cells)


def table_of(rows: Sequence[Row], now: dt.datetime, width: int | None) -> Table:
    """Return a table with one line for each operation, for a terminal of a width in characters.

    If the names are too long for it, the table has the beginnings or the ends of their last parts,
    which the commands take as names too. It leaves out what no operation has, and what has no room.
    Without a width it leaves out nothing, so that a program finds each column in its place.
    """
    names = Column("NAME", [row.name for row in rows])
    return fitted([names], [*_short_names(rows)], [*_columns(rows, now)], width, _LEFT_OUT)


def fitted(
    whole: Sequence[Column],
    short: Sequence[Column],
    others: Sequence[Column],
    width: int | None,
    left_out: Sequence[str],
) -> Table:
    """Return a table for a terminal of a width in characters, or for a pipe without a width.

    The columns `whole` name each row, and `short` stand for them if there is no room for all. Of
    the others, those without any cell are left out, and then those of `left_out`, in its order,
    until the rest has room.
    """
    shown = [*whole, *others]
    if width is not None:
        others = [each for each in others if not each.is_empty]
        shown = [*whole, *others]
        if _width(shown, lambda column: column.width) > width:
            shown = _fitting([*short, *others], width, left_out)
    return _drawn(shown, width)


def _columns(rows: Sequence[Row], now: dt.datetime) -> Iterable[Column]:
    """Yield all columns but that of the name."""
    changes = [since(row.updated, now) for row in rows]
    yield Column("METHOD", [row.kind for row in rows], is_elastic=True)
    styles = [STYLES.get(row.state, "") for row in rows]
    yield Column("STATE", [row.shown_state for row in rows], styles=styles)
    for title, cells in (
        ("DONE", [row.percentage for row in rows]),
        ("AGE", [since(row.created, now) for row in rows]),
        ("CHANGED", [f"{each} ago" if each else "" for each in changes]),
    ):
        yield Column(title, cells, justify="right")


def _short_names(rows: Sequence[Row]) -> Iterable[Column]:
    """Yield the columns that stand for the names. The end of a resource tells most."""
    last = [row.name.rpartition("/")[2] for row in rows]
    yield Column("ID", _short(last))
    resources = [
        row.name.removesuffix(each).removesuffix("operations/").rstrip("/")
        for row, each in zip(rows, last, strict=True)
    ]
    if any(resources):
        yield Column("RESOURCE", resources, is_elastic=True, keeps_end=True)


def _fitting(columns: Sequence[Column], width: int, left_out: Sequence[str]) -> list[Column]:
    """Return the columns that fit, with their cells cut. The ID and the state stay whole."""
    kept = list(columns)
    for title in left_out:
        if _width(kept, lambda column: column.least) <= width:
            break
        kept = [each for each in kept if each.title != title]
    spare = width - _width(kept, lambda column: column.least)
    for each in kept[::-1]:
        if each.is_elastic:
            room = each.least + min(max(spare, 0), each.width - each.least)
            spare -= room - each.least
            each.cells = [_cut(cell, room, each.keeps_end) for cell in each.cells]
    return kept


def _cut(cell: str, width: int, keeps_end: bool) -> str:
    if cell_len(cell) <= width:
        return cell
    if keeps_end:
        return "…" + chop_cells(cell[::-1], width - 1)[0][::-1]
    return chop_cells(cell, width - 1)[0] + "…"


def _width(columns: Sequence[Column], width_of: Callable[[Column], int]) -> int:
    return sum(map(width_of, columns)) + _GAP * (len(columns) - 1)


def _drawn(columns: Sequence[Column], width: int | None) -> Table:
    needed = _width(columns, lambda column: column.width)
    # An ID that is wider than the terminal goes on in the next line, so that it can be copied.
    table = Table(
        box=None,
        padding=(0, _GAP, 0, 0),
        pad_edge=False,
        header_style="bold",
        width=needed if width is not None and needed > width else None,
    )
    for column in columns:
        table.add_column(column.title, justify=column.justify, no_wrap=True)  # type: ignore[arg-type]
    for number in range(len(columns[0].cells)):
        table.add_row(
            *(
                Text(
                    column.cells[number] or _UNKNOWN,
                    style=column.styles[number] if column.styles else "",
                )
                for column in columns
            )
        )
    return table


def _short(ids: Sequence[str]) -> Sequence[str]:
    """Return the beginnings of the ids, or their ends if these differ at a smaller length."""
    beginning = _unique_length(ids)
    end = _unique_length([each[::-1] for each in ids])
    if beginning <= end:
        return [each[:beginning] for each in ids]
    return [each[-end:] for each in ids]


def _unique_length(ids: Sequence[str]) -> int:
    """Return the shortest length at which the beginnings of different ids differ."""
    distinct = len(set(ids))
    longest = max(map(len, ids), default=_SHORTEST)
    lengths = range(_SHORTEST, longest)
    return next((n for n in lengths if len({each[:n] for each in ids}) == distinct), longest)

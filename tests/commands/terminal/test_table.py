"""The table of operations at every width: a line each, with an ID that can be copied."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from rich.console import Console

from lro_gateway.commands.terminal.rows import Row
from lro_gateway.commands.terminal.table import table_of

_NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
_ID = "9f1c{:02}aa62f1488a8c2a0a3a1d3f77e0"


def _row(number: int, state: str = "running", **fields: object) -> Row:
    name = f"projects/shop/locations/europe-west4/databases/db-{number}/operations/"
    known = {"kind": "CreateDatabaseFromBackup", "percent": 42.0, "created": _NOW, "updated": _NOW}
    return Row(name + _ID.format(number), state, **{**known, **fields})  # type: ignore[arg-type]


def _lines(rows: list[Row], width: int | None) -> list[str]:
    console = Console(width=width or 10_000, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(table_of(rows, _NOW, width), crop=False)
    return [line.rstrip() for line in captured.get().splitlines()]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_each_operation_has_one_line_with_a_whole_id_and_state(width: int) -> None:
    """Long names and methods are cut, or left out with their columns."""
    lines = _lines([_row(1), _row(2, "cancelled")], width)
    assert max(map(len, lines)) <= width
    for line, number, state in zip(lines[1:], (1, 2), ("running", "cancelled"), strict=True):
        cells = line.split()
        assert _ID.format(number).startswith(cells[0])
        assert len(cells[0]) >= 8
        assert state in cells


def test_ids_that_begin_alike_are_shown_by_their_ends() -> None:
    """An id of UUID version 7 begins with its time, so beginnings would need most of the line."""
    ids = ["019b7e0c2a4f7d3e8c11d5a0b6f2e943", "019b7e0c2a4f7d3e8c11d5a0b6f2f011"]
    rows = [
        Row(f"databases/a-database-of-a-long-name/operations/{each}", "running") for each in ids
    ]
    assert [line.split()[0] for line in _lines(rows, 60)[1:]] == ["b6f2e943", "b6f2f011"]
    differ = [
        Row(row.name.replace("019b", begin), "running")
        for row, begin in zip(rows, "ab", strict=True)
    ]
    assert [line.split()[0] for line in _lines(differ, 60)[1:]] == ["a7e0c2a4", "b7e0c2a4"]


def test_the_narrower_the_terminal_the_fewer_columns_it_has() -> None:
    """The time of the last change goes first, then the resource and the age."""
    titles = {width: _lines([_row(1)], width)[0].split() for width in (100, 60, 46, 40)}
    assert titles == {
        100: ["ID", "RESOURCE", "METHOD", "STATE", "DONE", "AGE", "CHANGED"],
        60: ["ID", "RESOURCE", "METHOD", "STATE", "DONE", "AGE"],
        46: ["ID", "METHOD", "STATE", "DONE", "AGE"],
        40: ["ID", "METHOD", "STATE", "DONE"],
    }


def test_a_cut_resource_keeps_its_end_and_a_cut_method_its_beginning() -> None:
    """The resources of a project begin alike."""
    (line,) = _lines([_row(7)], 60)[1:]
    assert re.search(r"  ….*db-7  CreateDatabaseF…  running", line)


def test_what_no_operation_has_is_no_column_in_a_terminal_and_a_dash_in_a_pipe() -> None:
    """A program that reads a pipe finds each column in its place."""
    rows = [Row("operations/1", "running"), Row("operations/2", "succeeded", percent=100.0)]
    assert [line.split() for line in _lines(rows, 80)] == [
        ["NAME", "STATE", "DONE"],
        ["operations/1", "running", "-"],
        ["operations/2", "succeeded", "100%"],
    ]
    assert [line.split() for line in _lines(rows, None)] == [
        ["NAME", "METHOD", "STATE", "DONE", "AGE", "CHANGED"],
        ["operations/1", "-", "running", "-", "-", "-"],
        ["operations/2", "-", "succeeded", "100%", "-", "-"],
    ]


def test_an_id_wider_than_the_terminal_is_not_cut() -> None:
    """The terminal wraps the line, and its reader can copy the ID."""
    rows = [Row(f"operations/{'x' * 50}{number}{'x' * 50}", "running") for number in (1, 2)]
    assert all("x" * 50 in line for line in _lines(rows, 40)[1:])

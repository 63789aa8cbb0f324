"""The table of calls that wait for an approval: no id is ever cut or wrapped."""

from __future__ import annotations

import datetime as dt

import pytest
from rich.console import Console

from lro_gateway.commands.terminal.approval_texts import approvals_table

_NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
_IDS = ("019b7e0c62f1488a8c2a0a3a1d3f77e0", "019b7e0c62f1488a8c2a0a3a1d3f77e1")
_CALLS = [
    {
        "name": f"approvals/{each}",
        "state": "PENDING",
        "method": "acme.v1.Databases/DropDatabaseAndItsBackups",
        "backend": "europe-west4",
        "requester": {"subject": "agent-of-the-data-team", "tenant": "data"},
        "expireTime": "2026-01-02T04:04:05Z",
    }
    for each in _IDS
]


def _lines(width: int | None) -> list[str]:
    console = Console(width=width or 10_000, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(approvals_table(_CALLS, _NOW, width), crop=False)
    return [line.rstrip() for line in captured.get().splitlines()]


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (None, ["NAME", "STATE", "METHOD", "BACKEND", "ASKED BY", "EXPIRES"]),
        (120, ["ID", "STATE", "METHOD", "BACKEND", "ASKED BY", "EXPIRES"]),
        (80, ["ID", "STATE", "METHOD", "ASKED BY", "EXPIRES"]),
        (70, ["ID", "STATE", "METHOD", "ASKED BY"]),
        (55, ["ID", "STATE", "METHOD"]),
        (42, ["ID", "STATE"]),
        (20, ["ID", "STATE"]),
    ],
)
def test_each_call_has_one_line_with_its_whole_id(width: int | None, titles: list[str]) -> None:
    """A narrow terminal has fewer columns, and cuts the method and the caller."""
    lines = _lines(width)
    assert lines[0].replace("ASKED BY", "ASKED_BY").split() == [
        each.replace(" ", "_") for each in titles
    ]
    assert len(lines) == 3
    for line, each in zip(lines[1:], _IDS, strict=True):
        assert each in line.split()[0]
        assert "pending" in line
    assert max(map(len, lines)) <= max(width or 10_000, 41)

"""The bars of operations that a command waits for."""

from __future__ import annotations

import datetime as dt
import io
import re

import pytest
from rich.console import Console

from lro_gateway.commands.terminal.following import bars
from lro_gateway.commands.terminal.rows import Row

_NOW = dt.datetime.now(dt.UTC)
_BEGUN = _NOW - dt.timedelta(hours=3)
_LATER = _BEGUN + dt.timedelta(minutes=7)


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (Row("operations/1", "running", percent=95.0, created=_BEGUN), "95% running for 3 h"),
        (Row("operations/1", "running"), r"running, waited \d+ (?:s|min)"),
        (Row("operations/1", "failed", created=_BEGUN, updated=_LATER), "failed after 7 min"),
        (Row("operations/1", "cancelled"), "cancelled"),
    ],
)
def test_a_bar_says_how_long_its_operation_runs_or_has_run(row: Row, shown: str) -> None:
    """A bare clock beside a bar would look like the time that is left."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    with bars(console) as view:
        view.show(row)
    assert isinstance(console.file, io.StringIO)
    last = console.file.getvalue().split("operations/1")[-1]
    assert re.search(rf"[━ ]{{20}} +{shown} *\n", last), last

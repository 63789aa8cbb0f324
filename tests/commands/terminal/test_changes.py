"""Changes that only a comparison of lists shows."""

from __future__ import annotations

import datetime as dt

from lro_gateway.commands.terminal.changes import Changes
from lro_gateway.commands.terminal.rows import Row

_NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
_LATER = _NOW + dt.timedelta(seconds=2)


def test_a_change_has_the_time_at_which_a_list_first_showed_it() -> None:
    """Of an operation that has not changed since the first list, no time is known."""
    changes = Changes()

    def times(percent: float, now: dt.datetime) -> list[dt.datetime | None]:
        rows = [Row("a", "running", percent=percent), Row("b", "running")]
        return [row.updated for row in changes.noted(rows, now)]

    assert times(1, _NOW) == [None, None]
    assert times(2, _LATER) == [_LATER, None]
    assert times(2, _LATER + dt.timedelta(seconds=2)) == [_LATER, None]


def test_a_time_of_the_operation_itself_stays() -> None:
    """The backend knows better than the list when the operation changed."""
    changes = Changes()
    changes.noted([Row("a", "running", updated=_NOW)], _NOW)
    (row,) = changes.noted([Row("a", "running", percent=1, updated=_NOW)], _LATER)
    assert row.updated == _NOW

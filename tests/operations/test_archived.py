"""The mark of an operation from the archive."""

from __future__ import annotations

import datetime as dt

from lro_gateway.operations.archived import Archived


def test_the_mark_tells_when_the_copy_was_made_and_what_it_lacks() -> None:
    """A complete copy says nothing of its size."""
    time = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)
    assert Archived(time).to_json() == {"archiveTime": "2026-01-02T03:04:05.678Z"}
    assert Archived(time, 9).to_json()["omittedBytes"] == 9

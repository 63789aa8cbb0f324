"""Durations and times as people write and read them."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from lro_gateway.commands.terminal.failures import CommandError
from lro_gateway.commands.terminal.times import (
    clock,
    duration_of,
    parsed_time,
    since,
    span,
    time_ago,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("30s", 30), ("1h30m", 5400), ("2d", 172800), ("250ms", 0.25)],
)
def test_a_duration_has_units_or_is_in_seconds(text: str, seconds: float) -> None:
    """The units are those of Go, and also days and weeks."""
    assert duration_of(text) == dt.timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1x", "9" * 400, "1e5", "٣"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    """No text crashes the command."""
    with pytest.raises(CommandError, match="is no duration; write one such as 30s"):
        duration_of(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (59.9, "59 s"), (60, "1 min"), (7199, "1 h"), (86400 * 3, "3 d")],
)
def test_a_span_has_one_unit(seconds: float, text: str) -> None:
    """It is rounded down, and a clock that is behind gives no negative time."""
    assert span(seconds) == text


def test_a_time_of_another_form_is_not_known() -> None:
    """A backend may put any text into a field with the name of a time."""
    now = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    assert since(parsed_time("2026-01-02T03:00:05.123456789Z"), now) == "3 min"
    for value in (None, 5, "", "soon", "2026-01-02", "2026-01-02T03:04:05", "x" * 30):
        assert parsed_time(value) is None


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_the_first_and_the_last_time_are_printed_in_each_zone(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The zero time of Go is the first one, and many services send it for a time not yet set."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for text in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
            found = parsed_time(text)
            assert found is not None
            assert clock(found)[:4] == text[:4]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_time_before_the_calendar_is_its_first_one() -> None:
    """A person who wants all asks for a very long time."""
    assert time_ago("1000000d") == dt.datetime.min.replace(tzinfo=dt.UTC)
    before = dt.datetime.now(dt.UTC)
    assert time_ago("1h") >= before - dt.timedelta(hours=1)

"""When a webhook is sent again."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime

import pytest

from lro_gateway.deliveries.schedule import MCP_SCHEDULE, REST_SCHEDULE, Schedule, retry_after


def test_pauses_grow_to_the_last_attempt() -> None:
    """Each is at most a tenth longer than the schedule says."""
    planned = [0, 5, 300, 1800, 7200, 18000, 36000, 36000]
    pauses = [REST_SCHEDULE.pause(attempts) for attempts in range(9)]
    assert pauses.pop() is None
    for pause, least in zip(pauses, planned, strict=True):
        assert pause is not None
        assert least <= pause <= least * 1.1


def test_the_attempts_of_mcp_end_within_fifteen_minutes() -> None:
    """The longest jitter and all deadlines count."""
    longest = sum(MCP_SCHEDULE.pauses) * 1.1 + len(MCP_SCHEDULE.pauses) * MCP_SCHEDULE.deadline
    assert (longest <= 15 * 60, len(MCP_SCHEDULE.pauses)) == (True, 5)


def test_a_receiver_may_ask_for_a_longer_pause() -> None:
    """But not for a shorter one, and not for more than a day."""
    schedule = Schedule((0.0, 10.0), deadline=1)
    assert schedule.pause(1, 60.0) == 60.0
    assert (schedule.pause(1, 1.0) or 0) >= 10.0
    assert schedule.pause(1, 10_000_000.0) == 24 * 3600.0
    assert schedule.pause(2, 60.0) is None


def test_retry_after_is_seconds_or_a_date() -> None:
    """Anything else has no meaning."""
    soon = format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=90), usegmt=True)
    assert 80 < (retry_after(soon) or 0) <= 90
    assert retry_after(" 120 ") == 120
    assert retry_after("9" * 400) == 24 * 3600.0
    past = format_datetime(dt.datetime(2000, 1, 1, tzinfo=dt.UTC), usegmt=True)
    assert retry_after(past) == 0


BEYOND = f"Mon, 01 Jan {'9' * 30} 00:00:00 GMT"


@pytest.mark.parametrize("value", [None, "", "soon", "-5", "1.5", "\u0663", BEYOND])
def test_a_retry_after_that_is_neither_a_number_nor_a_date_is_ignored(value: str | None) -> None:
    """The schedule alone then decides."""
    assert retry_after(value) is None

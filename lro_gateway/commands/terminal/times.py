"""Times and durations, as people write and read them."""

from __future__ import annotations

import datetime as dt
from typing import Final

import durationpy

from lro_gateway.commands.terminal.failures import CommandError

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration_of(text: str) -> dt.timedelta:
    """Return a duration such as `90`, `30s`, `1h30m` or `2d`; a bare number is in seconds.

    Raises `CommandError` if the text is no duration, or a negative one.
    """
    try:
        found = (
            dt.timedelta(seconds=float(text))
            if text.isascii() and text.replace(".", "", 1).isdecimal()
            else durationpy.from_str(text)
        )
    except (durationpy.DurationError, OverflowError):
        found = None
    if not isinstance(found, dt.timedelta) or found < dt.timedelta(0):
        raise CommandError(f"{text!r} is no duration; write one such as 30s, 5m or 1h30m")
    return found


def time_ago(text: str) -> dt.datetime:
    """Return the time that lies so long ago as a duration in text says.

    That of a duration longer than the calendar is the first time of the calendar. Raises
    `CommandError` as `duration_of` does.
    """
    length = duration_of(text)
    try:
        return dt.datetime.now(dt.UTC) - length
    except OverflowError:
        return dt.datetime.min.replace(tzinfo=dt.UTC)


def parsed_time(value: object) -> dt.datetime | None:
    """Return the time in an RFC 3339 text, or None if the value is no such text."""
    if not isinstance(value, str) or len(value) < len("2026-01-02T03:04:05"):
        return None
    try:
        found = dt.datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else None


def span(seconds: float) -> str:
    """Return a duration in one unit, rounded down, such as `5 min`."""
    whole = max(0, int(seconds))
    size, unit = next((each for each in _UNITS if whole >= each[0]), _UNITS[-1])
    return f"{whole // size} {unit}"


def since(time: dt.datetime | None, now: dt.datetime) -> str:
    """Return how long ago a time was, or an empty text if it is not known."""
    return "" if time is None else span((now - time).total_seconds())


def relative(time: dt.datetime, now: dt.datetime) -> str:
    """Return how far away a time is, such as `5 min ago` or `in 2 h`."""
    distance = span(abs((time - now).total_seconds()))
    return f"{distance} ago" if time <= now else f"in {distance}"


def clock(time: dt.datetime) -> str:
    """Return a time in the zone of this machine, to the second."""
    try:
        local = time.astimezone()
    except (OverflowError, ValueError):
        # The first and the last day of the calendar have no time in the zones beside them. Go's
        # zero time is the first one.
        local = time.astimezone(dt.UTC)
    return local.replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")

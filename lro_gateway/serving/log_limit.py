"""The limit for repeated lines of the log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from lro_gateway.errors import cut
from lro_gateway.log_context import KEPT

FIRST: Final = 10
"""The number of records of one kind that are written in each window."""
WINDOW: Final = 10.0
"""Seconds of a window, which begins with a record."""

_LONGEST: Final = 200
"""The number of characters that a summary repeats."""


@dataclass(slots=True)
class _Window:
    """The records of one kind since `begun`, a time of the monotonic clock."""

    begun: float
    first: dict[str, object]
    count: int = 0


class RepeatLimit(logging.Filter):
    """Lets `FIRST` records of one kind pass in each window, and counts the others.

    Records are of one kind if they come from one logger with one template and one type of
    exception. A text without arguments may be different each time, so for such a record the line
    of code takes the place of the template.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._windows: dict[Hashable, _Window] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write the record."""
        if getattr(record, KEPT, False):
            return True
        kind = _kind(record)
        now = time.monotonic()
        with self._lock:
            window = self._windows.get(kind)
            if window is None:
                window = self._windows[kind] = _Window(now, _described(record))
            window.count += 1
            return window.count <= FIRST

    @property
    def has_windows(self) -> bool:
        """Whether `ended` will have something to close."""
        return bool(self._windows)

    def ended(self, *, every: bool = False) -> list[logging.LogRecord]:
        """Close the windows that have passed, or every one. Return a record for each with a rest.

        The record tells how many records were not written.
        """
        now = time.monotonic()
        with self._lock:
            ended = [k for k, w in self._windows.items() if every or now - w.begun >= WINDOW]
            windows = [self._windows.pop(kind) for kind in ended]
        return [_summary(window, now) for window in windows if window.count > FIRST]


def _kind(record: logging.LogRecord) -> Hashable:
    template = record.msg if record.args else (record.pathname, record.lineno)
    error = record.exc_info[0] if record.exc_info else None
    return record.name, str(template), error


def _described(record: logging.LogRecord) -> dict[str, object]:
    """Return what the summary says of a record, without its arguments and its traceback."""
    return {
        "name": record.name,
        "levelno": record.levelno,
        "levelname": record.levelname,
        "msg": cut(_message(record), _LONGEST),
    }


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - the arguments may not fit the template
        return str(record.msg)


def _summary(window: _Window, now: float) -> logging.LogRecord:
    """Return a record that says how many more were like the first record of the window."""
    more, seconds = window.count - FIRST, now - window.begun
    text = f"{more} more lines like this one in {seconds:.0f} s: {window.first['msg']}"
    return logging.makeLogRecord({**window.first, "msg": text})

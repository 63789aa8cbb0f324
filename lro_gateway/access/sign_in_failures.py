"""The bound for the entries of failed sign-ins, because anyone may send wrong credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Final

FIRST: Final = 10
"""The number of failures of one host with one reason that pass in each window."""
MOST: Final = 100
"""The number of failures of all hosts that pass in each window."""
WINDOW: Final = 10.0
"""Seconds of a window, which begins with a failure."""

Tell = Callable[[str, str, int], object]
"""Takes a host, a reason, and how many failures were left out. For the hosts beyond a bound, both
texts are empty."""


class FailureLimit:
    """Lets the first failures of a window pass, and tells at its end how many it has left out."""

    def __init__(self, tell: Tell, window: float = WINDOW) -> None:
        self._tell = tell
        self._window = window
        self._passed = 0
        self._omitted: dict[tuple[str, str], int] = {}
        """How many were left out, for each host and reason that has had one passed."""
        self._counts: dict[tuple[str, str], int] = {}
        self._others = 0
        self._end: asyncio.TimerHandle | None = None

    def passes(self, host: str, reason: str) -> bool:
        """Return whether to record a failure, and count it."""
        if self._end is None:
            loop = asyncio.get_running_loop()
            # The line at the end of a window does not belong to the request that began it.
            self._end = loop.call_later(self._window, self.close, context=Context())
        key = (host, reason)
        if self._passed < MOST and self._counts.get(key, 0) < FIRST:
            self._counts[key] = self._counts.get(key, 0) + 1
            self._passed += 1
            return True
        if key in self._counts:
            self._omitted[key] = self._omitted.get(key, 0) + 1
        else:
            self._others += 1
        return False

    def close(self) -> None:
        """End the window, if there is one, and tell what it has left out."""
        if self._end is None:
            return
        self._end.cancel()
        omitted, others = self._omitted, self._others
        self._end, self._passed, self._others = None, 0, 0
        self._counts, self._omitted = {}, {}
        for (host, reason), number in omitted.items():
            self._tell(host, reason, number)
        if others:
            self._tell("", "", others)

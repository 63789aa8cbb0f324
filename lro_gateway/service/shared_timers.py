"""Timers that many waiters share, because a timer of its own takes more memory than a waiter."""

from __future__ import annotations

import asyncio
import math
from typing import Final

_PARTS: Final = 16
"""Waiters share a timer if it is due for both within this part of their time."""


class SharedTimers:
    """Ends waits after a time, or up to a sixteenth of it sooner."""

    def __init__(self) -> None:
        self._timers: dict[float, tuple[set[asyncio.Future[None]], asyncio.TimerHandle]] = {}

    def add(self, waiter: asyncio.Future[None], seconds: float) -> float:
        """End a wait after `seconds` at the latest; return that time on the clock of the loop.

        A wait that ends sooner is removed with this time.
        """
        loop = asyncio.get_running_loop()
        part = seconds / _PARTS
        due = math.floor(loop.time() / part + _PARTS) * part
        found = self._timers.get(due)
        if found is None:
            found = self._timers[due] = (set(), loop.call_at(due, self._end, due))
        found[0].add(waiter)
        return due

    def remove(self, waiter: asyncio.Future[None], due: float) -> None:
        """Forget a future that has ended."""
        found = self._timers.get(due)
        if found is None:
            return
        waiters, timer = found
        waiters.discard(waiter)
        if not waiters:
            timer.cancel()
            del self._timers[due]

    def _end(self, due: float) -> None:
        waiters, _ = self._timers.pop(due)
        for waiter in waiters:
            release(waiter)


def release(waiter: asyncio.Future[None]) -> None:
    """End the wait for a future, if it has not ended."""
    if not waiter.done():
        waiter.set_result(None)

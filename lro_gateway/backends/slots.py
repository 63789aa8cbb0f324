"""The slots of a backend, which bound how many calls run at a time, and the queue for them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

_WAIT_SHARE: Final = 2
"""Calls that wait for an operation may take one of this many slots."""


class NoSlotError(Exception):
    """A call got no slot: the queue is full, or the deadline of the call has passed (`is_late`)."""

    def __init__(self, *, is_late: bool) -> None:
        super().__init__()
        self.is_late = is_late


class CallSlots:
    """Bounds the calls that run at a time to `limit`, and those in the queue to `max_queued`.

    The calls in the queue get slots in the order in which they came. A call that gives up leaves
    the queue. Calls that wait for an operation last long, so they take at most half of the slots
    and do not queue.
    """

    def __init__(self, limit: int, max_queued: int) -> None:
        self.limit = limit
        self._max_queued = max_queued
        self._max_waits = max(1, limit // _WAIT_SHARE)
        self._free = limit
        self._waits = 0
        self._queued = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def has_room_to_wait(self) -> bool:
        """Whether a call that waits for an operation gets a slot now."""
        return self._waits < self._max_waits and self._free > 0

    def enter_at_once(self) -> bool:
        """Take a slot if one is free, and return whether one was."""
        if self._free <= 0:
            return False
        self._free -= 1
        return True

    async def enter(self, timeout: float) -> None:  # noqa: ASYNC109 - most calls need no timer
        """Take a slot, within `timeout` seconds. Raises `NoSlotError` if there is none."""
        if self.enter_at_once():
            return
        if self._queued >= self._max_queued:
            raise NoSlotError(is_late=False)
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        self._queued += 1
        try:
            async with asyncio.timeout(timeout):
                await turn
        except TimeoutError:
            self._give_up(turn)
            raise NoSlotError(is_late=True) from None
        except asyncio.CancelledError:
            self._give_up(turn)
            raise
        finally:
            self._queued -= 1

    def leave(self) -> None:
        """Give the slot to the first call in the queue."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def enter_to_wait(self) -> None:
        """Take a slot for a call that waits for an operation. Raises `NoSlotError` if it cannot."""
        if not self.has_room_to_wait:
            raise NoSlotError(is_late=False)
        self._free -= 1
        self._waits += 1

    def leave_after_wait(self) -> None:
        """Give up the slot of a call that has waited for an operation."""
        self._waits -= 1
        self.leave()

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        """Give the slot on if the call got it at the moment at which it gave up."""
        if turn.done() and not turn.cancelled():
            self.leave()

"""The slots of a backend, which bound how many calls run at a time, and the queue for them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable
from typing import Final

from lro_gateway.backends.rounds import NOBODY, Rounds
from lro_gateway.principal import Reader

_WAIT_SHARE: Final = 2
"""Calls that wait for an operation may take one of this many slots."""


class NoSlotError(Exception):
    """A call got no slot: the queue is full, or the deadline of the call has passed (`is_late`)."""

    def __init__(self, *, is_late: bool) -> None:
        super().__init__()
        self.is_late = is_late


class CallSlots:
    """Bounds the calls that run at a time to `limit`, and those in the queue to `max_queued`.

    The calls in the queue get slots in rounds: by caller or address, then by connection, then by
    time. So the queue of one caller delays no other caller by more than a round. If the queue is
    full, the newest call of the caller that has the most calls in it makes room. A call that gives
    up leaves the queue. Calls that wait for an operation last long, so they take at most half of
    the slots and do not queue.
    """

    def __init__(self, limit: int, max_queued: int) -> None:
        self.limit = limit
        self._max_queued = max_queued
        self._max_waits = max(1, limit // _WAIT_SHARE)
        self._free = limit
        self._waits = 0
        self._queue: Rounds[asyncio.Future[None]] = Rounds()
        self._queued: dict[asyncio.Future[None], Reader] = {}
        self._sizes: Counter[Hashable] = Counter()
        """The number of calls in the queue of each caller or address."""

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

    async def enter(
        self,
        timeout: float,  # noqa: ASYNC109 - most calls need no timer
        reader: Reader = NOBODY,
    ) -> None:
        """Take a slot, within `timeout` seconds. Raises `NoSlotError` if there is none.

        `reader` is the caller for whom the call is made.
        """
        if self.enter_at_once():
            return
        if len(self._queued) >= self._max_queued:
            self._make_room(reader[0])
        turn = asyncio.get_running_loop().create_future()
        self._queue.add(turn, reader)
        self._queued[turn] = reader
        self._sizes[reader[0]] += 1
        try:
            async with asyncio.timeout(timeout):
                await turn
        except TimeoutError:
            self._give_up(turn)
            raise NoSlotError(is_late=True) from None
        except asyncio.CancelledError:
            self._give_up(turn)
            raise

    def leave(self) -> None:
        """Give the slot to the next call in the queue."""
        while self._queued:
            turn = self._queue.next()
            self._drop(turn)
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

    def _make_room(self, group: Hashable) -> None:
        """Take a call of the caller with the most calls out of the queue, for one of `group`.

        Raises `NoSlotError` if the caller of the new call would then have the most itself.
        """
        largest = max(self._sizes, key=self._sizes.__getitem__, default=group)
        if self._sizes[largest] <= self._sizes[group] + 1:
            raise NoSlotError(is_late=False)
        turn = self._queue.newest_of(largest)
        self._drop(turn)
        if not turn.done():
            turn.set_exception(NoSlotError(is_late=False))

    def _drop(self, turn: asyncio.Future[None]) -> None:
        """Take a call out of the queue."""
        reader = self._queued.pop(turn)
        self._queue.remove(turn, reader)
        self._sizes[reader[0]] -= 1
        if not self._sizes[reader[0]]:
            del self._sizes[reader[0]]

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        """Leave the queue. Give the slot on if the call got it at the moment at which it left."""
        if turn in self._queued:
            self._drop(turn)
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            self.leave()

"""The slots of a backend, which bound how many calls run at a time, and the queue for them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable
from typing import Final

from lro_gateway.backends.rounds import NOBODY, Rounds
from lro_gateway.principal import Reader, is_identity

_WAIT_SHARE: Final = 2
"""Calls that wait for an operation may take one of this many slots."""


class NoSlotError(Exception):
    """A call got no slot: the queue is full, or the deadline of the call has passed (`is_late`).

    `is_share` tells that the caller had its share of the slots, and other slots may be free.
    """

    def __init__(self, *, is_late: bool, is_share: bool = False) -> None:
        super().__init__()
        self.is_late = is_late
        self.is_share = is_share


class CallSlots:
    """Bounds the calls that run at a time to `limit`, and those in the queue to `max_queued`.

    A caller with an identity runs at most `share` calls at a time. A caller without one has no
    share, because its address may be that of all callers. A slot that comes free is for the caller
    or address in the queue that runs the fewest calls. Among equals they take turns: by caller or
    address, then by connection, then by time. If the queue is full, the newest call of the caller
    that has the most calls in it makes room. A call that gives up leaves the queue. Calls that wait
    for an operation last long, so they take at most half of the slots and do not queue.
    """

    def __init__(self, limit: int, max_queued: int, share: int | None = None) -> None:
        self.limit = limit
        self.share = limit if share is None else share
        self._max_queued = max_queued
        self._max_waits = max(1, limit // _WAIT_SHARE)
        self._free = limit
        self._waits = 0
        self._running: dict[Hashable, int] = {}
        """The number of running calls of each caller or address that has any."""
        self._queue: Rounds[asyncio.Future[None]] = Rounds()
        self._queued: dict[asyncio.Future[None], Reader] = {}
        self._sizes: Counter[Hashable] = Counter()
        """The number of calls in the queue of each caller or address."""

    def has_room_to_wait(self, reader: Reader = NOBODY) -> bool:
        """Return whether a call that waits for an operation gets a slot now."""
        return self._waits < self._max_waits and self._has_room_for(reader[0])

    def enter_at_once(self, reader: Reader = NOBODY) -> bool:
        """Take a slot if the caller may have one now, and return whether it may."""
        if not self._has_room_for(reader[0]):
            return False
        self._take(reader[0])
        return True

    async def enter(
        self,
        timeout: float,  # noqa: ASYNC109 - most calls need no timer
        reader: Reader = NOBODY,
    ) -> None:
        """Take a slot, within `timeout` seconds. Raises `NoSlotError` if there is none.

        `reader` is the caller for whom the call is made.
        """
        if self.enter_at_once(reader):
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
            is_share = self._has_its_share(reader[0])
            self._give_up(turn, reader)
            raise NoSlotError(is_late=True, is_share=is_share) from None
        except asyncio.CancelledError:
            self._give_up(turn, reader)
            raise

    def leave(self, reader: Reader = NOBODY) -> None:
        """Give up a slot of a caller, and give it to the next call in the queue."""
        self._free += 1
        left = self._running[reader[0]] - 1
        if left:
            self._running[reader[0]] = left
        else:
            del self._running[reader[0]]
        while self._queued and (group := self._next_group()) is not None:
            turn = self._queue.next_of(group)
            self._drop(turn)
            if not turn.done():
                self._take(group)
                turn.set_result(None)

    def enter_to_wait(self, reader: Reader = NOBODY) -> None:
        """Take a slot for a call that waits for an operation. Raises `NoSlotError` if it cannot."""
        if not self.has_room_to_wait(reader):
            raise NoSlotError(is_late=False, is_share=self._has_its_share(reader[0]))
        self._take(reader[0])
        self._waits += 1

    def leave_after_wait(self, reader: Reader = NOBODY) -> None:
        """Give up the slot of a call that has waited for an operation."""
        self._waits -= 1
        self.leave(reader)

    def _has_room_for(self, group: Hashable) -> bool:
        return self._free > 0 and not self._has_its_share(group)

    def _has_its_share(self, group: Hashable) -> bool:
        return self._running.get(group, 0) >= self.share and is_identity(group)

    def _take(self, group: Hashable) -> None:
        self._free -= 1
        self._running[group] = self._running.get(group, 0) + 1

    def _next_group(self) -> Hashable | None:
        """Return the caller or address whose call in the queue gets the next slot, or None."""
        fewest, chosen = self.limit + 1, None
        for group in self._queue.groups if self._free > 0 else ():
            running = self._running.get(group, 0)
            if running < fewest and not self._has_its_share(group):
                fewest, chosen = running, group
                if not running:
                    break
        return chosen

    def _make_room(self, group: Hashable) -> None:
        """Take a call of the caller with the most calls out of the queue, for one of `group`.

        Raises `NoSlotError` if the caller of the new call would then have the most itself.
        """
        largest = max(self._sizes, key=self._sizes.__getitem__, default=group)
        if self._sizes[largest] <= self._sizes[group] + 1:
            raise NoSlotError(is_late=False, is_share=self._has_its_share(group))
        turn = self._queue.newest_of(largest)
        self._drop(turn)
        if not turn.done():
            turn.set_exception(NoSlotError(is_late=False, is_share=self._has_its_share(largest)))

    def _drop(self, turn: asyncio.Future[None]) -> None:
        """Take a call out of the queue."""
        reader = self._queued.pop(turn)
        self._queue.remove(turn, reader)
        self._sizes[reader[0]] -= 1
        if not self._sizes[reader[0]]:
            del self._sizes[reader[0]]

    def _give_up(self, turn: asyncio.Future[None], reader: Reader) -> None:
        """Leave the queue. Give the slot on if the call got it at the moment at which it left."""
        if turn in self._queued:
            self._drop(turn)
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            self.leave(reader)

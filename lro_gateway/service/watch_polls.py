"""The polls of watches: each is a task while it is under way, and a timer until the next one."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Hashable
from contextvars import Context
from functools import partial
from typing import Final

from cachetools import LRUCache

from lro_gateway.backends.backend import Backend
from lro_gateway.background import BackgroundTasks
from lro_gateway.errors import Code, StatusError, unexpected_error
from lro_gateway.operations.operation import Operation
from lro_gateway.service.budget import Budgets
from lro_gateway.service.patience import Patience
from lro_gateway.service.polling import Poller, jittered
from lro_gateway.service.reads import Reads
from lro_gateway.service.shared_watches import SharedWatches
from lro_gateway.service.watch import NO_BURST, Watch

_MAX_POLLERS: Final = 1024
"""The maximum number of backends, or of callers' views of them, of which a poller is kept."""
_BURST: Final = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds before each of the first polls of an operation that will probably change soon."""


class WatchPolls:
    """Polls the operations of watches until they end.

    The first poll of a watch is a read, which callers share. `sharing` lets replicas share polls.
    """

    def __init__(
        self,
        tasks: BackgroundTasks,
        reads: Reads,
        budgets: Budgets,
        sharing: SharedWatches | None = None,
    ) -> None:
        self._tasks = tasks
        self._reads = reads
        self._budgets = budgets
        self._sharing = sharing
        self._pollers: LRUCache[Hashable, Poller] = LRUCache(_MAX_POLLERS)
        # A timer that keeps the context of the poll before it would take memory in each watch.
        self._nobody = Context()

    def begin(self, watch: Watch, *, ends_soon: bool = False) -> None:
        """Read the operation of a watch now, and poll it from then on."""
        watch.has_begun, watch.patience = False, None
        watch.burst = iter(_BURST) if ends_soon else NO_BURST
        self._start(watch)

    def hurry(self, watch: Watch) -> None:
        """Poll a watch at once and then often, because its operation will probably change soon."""
        if watch.has_ended:
            return
        watch.readers.renew()
        if watch.part is not None:
            watch.part.hurry()
        if watch.is_reading:
            # A restart would cancel the first read. After many restarts in a row, the read would
            # never end.
            watch.burst_is_due = True
            return
        self._cancel(watch)
        self.begin(watch, ends_soon=True)

    def end(self, watch: Watch) -> None:
        """Poll a watch no more."""
        self._cancel(watch)
        if watch.part is not None and self._sharing is not None:
            self._sharing.end(watch.part)
            watch.part = None

    def _cancel(self, watch: Watch) -> None:
        if watch.timer is not None:
            watch.timer.cancel()
        if watch.task is not None:
            watch.task.cancel()
        # Both refer to the watch.
        watch.timer = watch.task = None

    def _start(self, watch: Watch, wait: float = 0.0) -> None:
        watch.timer = None
        watch.task = self._tasks.start(self._run(watch, wait), watch.span.context)

    async def _run(self, watch: Watch, wait: float) -> None:
        """Poll once, or for as long as WaitOperation does the waiting."""
        following = None
        try:
            following = await self._poll(watch, wait)
        except StatusError as error:
            watch.fail(error)
        except Exception as error:  # noqa: BLE001 - unexpected_error logs it
            what = f"the watch of {watch.name!r} on {watch.backend.name!r}"
            watch.fail(unexpected_error(what, error))
        watch.task = None
        if following is not None:
            loop, (pause, wait) = asyncio.get_running_loop(), following
            watch.timer = loop.call_later(pause, self._start, watch, wait, context=self._nobody)

    async def _poll(self, watch: Watch, wait: float) -> tuple[float, float] | None:
        """Poll until the next poll is not due at once.

        Return the seconds until then and the `wait` of that poll, or None after the end. A poll is
        a WaitOperation of `wait` seconds, or a GetOperation if these are 0.
        """
        while True:
            pause = 0.0
            try:
                await self._read(watch, wait)
            except StatusError as error:
                pause = self._pause_after(watch, error)
            else:
                watch.patience = None
            if watch.sighting is None or not watch.has_begun:
                return pause, 0.0
            if watch.sighting.operation.done:
                return None
            more, wait = self._plan(watch, watch.sighting.operation)
            if pause + more:
                return pause + more, wait

    def _plan(self, watch: Watch, operation: Operation) -> tuple[float, float]:
        """Return the seconds until the next poll, and the `wait` of that poll."""
        within = next(watch.burst, math.inf)
        # A new operation may end before anybody else asks for it.
        if within == math.inf and watch.part is None and self._sharing is not None:
            self._share(self._sharing, watch)
        if watch.part is not None and not watch.part.leads:
            return watch.part.pause, 0.0
        interval = min(operation.rules.cadence.interval(operation.age), within)
        if self._poller(watch.backend).waits_for(watch.name):
            return 0.0, interval
        return jittered(interval), 0.0

    def _pause_after(self, watch: Watch, error: StatusError) -> float:
        known = watch.sighting.operation if watch.sighting is not None else None
        if watch.patience is None:
            watch.patience = Patience(knows_state=known is not None)
        pause = watch.patience.pause_after(error)
        if known is not None:
            watch.publish(known, error)
        if watch.has_begun and watch.part is not None:
            watch.part.failed()
        return pause

    async def _read(self, watch: Watch, wait: float) -> None:
        """Publish the newest state, unless another replica polls and has sent none."""
        if watch.sighting is None or not watch.has_begun:
            operation = await self._first(watch)
        else:
            known = watch.sighting.operation
            latest = await self._next(watch, known, wait)
            if latest is None:
                return
            # `reads` may have dropped the previous state of the operation, so use `known` here.
            operation = known.seen_again(self._reads.keep(watch.backend, watch.name, latest))
        watch.publish(operation)
        if watch.part is not None:
            watch.part.seen(operation)

    async def _first(self, watch: Watch) -> Operation:
        """Read the state with which the polls begin, or begin again after a change."""
        turn = partial(self._budgets.of(watch.backend).turn, watch.readers)
        watch.is_reading = True
        try:
            operation = await self._reads.get(watch.backend, watch.name, turn)
        finally:
            watch.is_reading = False
        watch.has_begun = True
        if watch.burst_is_due:
            watch.burst_is_due, watch.burst = False, iter(_BURST)
        return operation

    async def _next(self, watch: Watch, known: Operation, wait: float) -> Operation | None:
        """Return a state that was polled, or was told by another replica, or None if none was."""
        backend, name = watch.backend, watch.name
        if watch.part is not None and not watch.part.leads:
            if (told := await watch.part.told()) is None:
                return None
            if told:
                return await backend.told(name, told)
            await self._budgets.of(backend).turn(watch.readers)
            return await self._reads.newest(backend, name)
        try:
            return await self._poller(backend).next_state(name, known, watch.readers, wait)
        except StatusError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            return await self._reads.recall(backend, name, error)

    def _share(self, sharing: SharedWatches, watch: Watch) -> None:
        """Poll for the other replicas too, or hear from the one that polls."""
        watch.part = sharing.part(watch.backend, watch.name, partial(self._wake, watch))
        if watch.part is not None and watch.sighting is not None:
            watch.part.seen(watch.sighting.operation)

    def _wake(self, watch: Watch, *, hurries: bool) -> None:
        """Go on at once, because another replica has sent a state, or wants frequent polls."""
        if hurries:
            self.hurry(watch)
        elif watch.timer is not None:
            watch.timer.cancel()
            self._start(watch)

    def _poller(self, backend: Backend) -> Poller:
        poller = self._pollers.get(backend.key)
        if poller is None:
            poller = self._pollers[backend.key] = Poller(backend, self._budgets.of(backend))
        return poller

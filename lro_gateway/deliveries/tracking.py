"""Trackers: each follows one operation for everybody, and writes what happens into the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from lro_gateway.backends.backend import Backend
from lro_gateway.backends.router import Router
from lro_gateway.background import BackgroundTasks
from lro_gateway.deliveries.happenings import STALLED, Happening, happening, lost
from lro_gateway.errors import Code, StatusError
from lro_gateway.operations.operation import Operation
from lro_gateway.operations.stall import Expected, Stall
from lro_gateway.records.event_entries import Delivery, Event, Target, Tracked
from lro_gateway.service.watch import Watches
from lro_gateway.service.watch_bounds import TRACKERS

logger: Final = logging.getLogger(__name__)

_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 60.0
_FINAL: Final = frozenset({Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT})
_AT_ONCE: Final = 500
"""The number of operations that become followed in one transaction."""
_STOPPING: Final = "GATEWAY_SHUTTING_DOWN"


class EventLog(Protocol):
    """The log that trackers write."""

    async def track(self, target: Target) -> Tracked | None:
        """Make this process the tracker of an operation; return None if it has or had one."""

    async def track_all(self, unfollowed: Sequence[Tracked]) -> list[Tracked]:
        """Make this process the tracker of operations; return those that had none."""

    async def known(self, target: Target) -> Tracked | None:
        """Return what the tracker of an operation has told, if this process still is the tracker.

        Return None after the end of the operation.
        """

    async def emit(
        self, known: Tracked, event: Event, stage: str, percent: float | None
    ) -> list[Delivery] | None:
        """Write an event with its deliveries; return None if another process is the tracker."""


@dataclass(slots=True)
class _Course:
    """What a tracker has told so far, and the last state that it has seen.

    `changed` is when that state was new, in seconds of the loop. `is_stalled` is whether the last
    event was that the operation has stalled.
    """

    known: Tracked
    seen: Operation | None = None
    changed: float = 0.0
    is_stalled: bool = False

    def see(self, operation: Operation, now: float) -> None:
        """Note a state, which may be the same as before."""
        if self.seen is None or not operation.is_message_of(self.seen):
            self.seen, self.changed = operation, now


@dataclass(frozen=True, slots=True)
class Pace:
    """When trackers tell of an operation that only goes on.

    `interval` is the least number of seconds between two events of progress, unless the stage
    changes. `expected` tells how long operations of a method take on a backend.
    """

    interval: float
    expected: Callable[[str, str], Expected | None]


class Trackers:
    """The trackers of this process. `written` gets the deliveries of each event."""

    def __init__(
        self,
        tasks: BackgroundTasks,
        backends: Mapping[str, Backend],
        router: Router,
        watches: Watches,
        log: EventLog,
        written: Callable[[list[Delivery]], None],
        pace: Pace,
    ) -> None:
        self._tasks = tasks
        self._backends = backends
        self._router = router
        self._watches = watches
        self._log = log
        self._interval = pace.interval
        self._written = written
        self._expected = pace.expected
        self._running: dict[Target, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        """Return the number of operations that this process follows."""
        return len(self._running)

    def follows(self, target: Target) -> bool:
        """Return whether this process follows an operation now."""
        return target in self._running

    async def follow(self, target: Target) -> None:
        """Follow an operation unless some process does, or has seen its end."""
        backend = self._backends.get(target.backend)
        if backend is None or not self.can_follow(backend):
            return
        known = await self._log.track(target)
        if known is not None:
            self.resume([known])

    async def follow_all(self, unfollowed: Sequence[Tracked]) -> None:
        """Follow operations that nobody has followed so far."""
        wanted = [
            each
            for each in unfollowed
            if (backend := self._backends.get(each.target.backend)) and self.can_follow(backend)
        ]
        for at in range(0, len(wanted), _AT_ONCE):
            self.resume(await self._log.track_all(wanted[at : at + _AT_ONCE]))

    def can_follow(self, backend: Backend) -> bool:
        """Return whether all callers of a backend share its answers."""
        credentials = backend.endpoint.credentials
        return credentials is None or not credentials.tell_callers_apart

    def resume(self, tracked: Iterable[Tracked]) -> None:
        """Go on with operations that this process has taken over."""
        for known in tracked:
            if known.target not in self._running and known.target.backend in self._backends:
                task = self._tasks.start(self._track(_Course(known)))
                self._running[known.target] = task
                task.add_done_callback(partial(self._ended, known.target))

    def _ended(self, target: Target, _task: asyncio.Task[None]) -> None:
        del self._running[target]

    async def stop(self) -> None:
        """End all trackers. What they follow stays theirs until another process takes it over."""
        running = [*self._running.values()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _track(self, course: _Course) -> None:
        """Follow an operation through failures of its backend and of the store."""
        pause = _PAUSE
        while True:
            before = course.known
            try:
                await self._follow(course)
            except StatusError as error:
                if error.reason == _STOPPING:
                    return
                if error.code in _FINAL:
                    await self._write(course, lost(course.known, error))
                    return
                logger.warning("operation %s is not followed now: %s", before.target.name, error)
            except Exception:
                logger.exception("the tracker of operation %s failed", before.target.name)
            else:
                return
            pause = _PAUSE if course.known is not before else min(2 * pause, _LONGEST_PAUSE)
            await asyncio.sleep(pause)
            try:
                known = await self._log.known(before.target)
            except StatusError:
                continue
            if known is None:
                return
            # An event may be in the store although its write has failed.
            course.known = known

    async def _follow(self, course: _Course) -> None:
        """Write what happens until the operation ends, or another process follows it."""
        target = course.known.target
        backend = self._backends[target.backend]
        route = self._router.find(target.name, backend.name)
        loop = asyncio.get_running_loop()
        last = loop.time()
        async with aclosing(
            self._watches.follow(TRACKERS, backend, route.name, every=self._interval)
        ) as sightings:
            async for sighting in sightings:
                course.see(sighting.operation, loop.time())
                found = await happening(
                    course.known,
                    sighting.operation,
                    sighting.percent,
                    is_due=loop.time() - last >= self._interval,
                    stall=self._stall(course, loop.time()),
                )
                if found is not None:
                    if not await self._write(course, found):
                        return
                    last = loop.time()

    def _stall(self, course: _Course, now: float) -> Stall | None:
        """Return what is to tell of an operation that has stalled."""
        target, unchanged = course.known.target, now - course.changed
        expected = self._expected(target.backend, course.known.method)
        if course.is_stalled or expected is None or unchanged <= expected.seconds:
            return None
        return Stall(unchanged, expected)

    async def _write(self, course: _Course, found: Happening) -> bool:
        """Write an event; return False if another process follows the operation now."""
        after = found.known
        deliveries = await self._log.emit(course.known, found.event, after.stage, after.percent)
        if deliveries is None:
            return False
        course.known, course.is_stalled = after, found.event.kind == STALLED
        self._written(deliveries)
        return True

"""Trackers: each follows one operation for everybody, and writes what happens into the log."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from lro_gateway.backends.backend import Backend
from lro_gateway.backends.router import Router
from lro_gateway.background import BackgroundTasks
from lro_gateway.deliveries.happenings import (
    DONE,
    PROGRESS,
    STALLED,
    Happening,
    happening,
    kind_of,
    lost,
)
from lro_gateway.errors import Code, StatusError
from lro_gateway.operations.operation import Operation
from lro_gateway.operations.stall import Expected, Stall
from lro_gateway.records.event_entries import Delivery, Event, Target, Tracked
from lro_gateway.service.watch import Sighting, Watch
from lro_gateway.service.watch_bounds import TRACKERS
from lro_gateway.service.watches import Watches

logger: Final = logging.getLogger(__name__)

_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 60.0
_FINAL: Final = frozenset({Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT})
_AT_ONCE: Final = 500
"""The number of operations that become followed in one transaction."""
_READING: Final = 200
"""The number of operations of a backend that read their first states at a time after a takeover."""
_STOPPING: Final = "GATEWAY_SHUTTING_DOWN"
_STAGES: Final = 10
"""How many stages are told in each interval before they are due. A text may change all the time."""
_TICKS: Final = 10
"""How often in each interval the trackers look for operations that have not changed."""


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


class _Course:
    """What a tracker has told so far, and the last state that it has seen.

    `told`, `changed` and `looked` are times in seconds of the loop: of the last event, of the last
    new state and of the last look. `is_stalled` is whether the last event was that the operation
    has stalled. There is a `task` only while an event is written, or after a failure. `early` is
    the number of stages that were told `since` a time before they were due.
    """

    __slots__ = (
        *("_look", "changed", "early", "is_stalled", "known", "looked", "pause", "seen", "since"),
        *("task", "told", "watch"),
    )

    def __init__(self, known: Tracked, look: Callable[[_Course], None]) -> None:
        self._look = look
        self.known = known
        self.watch: Watch | None = None
        self.seen: Operation | None = None
        self.told = self.changed = self.since = 0.0
        self.early = 0
        self.looked = math.inf
        self.is_stalled = False
        self.task: asyncio.Task[None] | None = None
        self.pause = 0.0

    def look(self) -> None:
        """Look at the watch, which has changed."""
        self._look(self)

    def see(self, operation: Operation, now: float) -> None:
        """Note a state, which may be the same as before."""
        if self.seen is None or not operation.is_message_of(self.seen):
            self.changed = now
        self.seen = operation


@dataclass(slots=True)
class _Line:
    """The operations of one backend that were taken over, and have not begun yet.

    Only some of them read their first states at a time. Measured: if 10,000 did, the peak would
    stay in the memory of the process.
    """

    waiting: deque[_Course] = field(default_factory=deque)
    beginning: set[_Course] = field(default_factory=set)

    def go_on(self) -> None:
        """Let as many operations begin as may read at a time."""
        while self.waiting and len(self.beginning) < _READING:
            course = self.waiting.popleft()
            self.beginning.add(course)
            course.look()

    def leave(self, course: _Course) -> None:
        """Note that an operation has begun, has failed or has ended."""
        if course in self.beginning:
            self.beginning.remove(course)
            self.go_on()


@dataclass(frozen=True, slots=True)
class _News:
    """The kind of an event that is to be written, and the state that it tells."""

    kind: str
    sighting: Sighting
    stall: Stall | None

    async def of(self, known: Tracked, public_url: str) -> Happening:
        """Return the event."""
        operation, percent = self.sighting.operation, self.sighting.percent
        return await happening(self.kind, known, operation, percent, self.stall, public_url)


@dataclass(frozen=True, slots=True)
class Pace:
    """When trackers tell of an operation that only goes on.

    `interval` is the least number of seconds between two events of progress, unless the stage
    changes. `expected` tells how long operations of a method take on a backend. Events whose
    results are too large link to `public_url`, the address of the gateway, if it is known.
    """

    interval: float
    expected: Callable[[str, str], Expected | None]
    public_url: str = ""


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
        self._public_url = pace.public_url
        self._running: dict[Target, _Course] = {}
        self._lines: dict[str, _Line] = {}
        self._ticking: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Return the number of operations that this process follows."""
        return len(self._running)

    def follows(self, target: Target) -> bool:
        """Return whether this process follows an operation now."""
        names = {target.name, *target.names}
        return any(Target(target.backend, name) in self._running for name in names)

    async def follow(self, target: Target) -> None:
        """Follow an operation unless some process does, or has seen its end."""
        backend = self._backends.get(target.backend)
        if backend is None or not self.can_follow(backend):
            return
        known = await self._log.track(target)
        if known is not None and self._is_new(known):
            self._add(known).look()

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
        """Go on with operations that this process has taken over, some of a backend at a time."""
        for known in filter(self._is_new, tracked):
            line = self._lines.setdefault(known.target.backend, _Line())
            line.waiting.append(self._add(known))
        for line in self._lines.values():
            line.go_on()

    def _is_new(self, known: Tracked) -> bool:
        return known.target.backend in self._backends and not self.follows(known.target)

    def _add(self, known: Tracked) -> _Course:
        course = self._running[known.target] = _Course(known, self._look)
        if self._ticking is None:
            self._ticking = self._tasks.start(self._tick())
        return course

    async def stop(self) -> None:
        """End all trackers. What they follow stays theirs until another process takes it over."""
        tasks = [self._ticking, *(course.task for course in self._running.values())]
        ending = [task for task in tasks if task is not None]
        self._ticking = None
        self._lines.clear()
        for course in [*self._running.values()]:
            self._end(course)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _tick(self) -> None:
        """Look at operations that have not changed: they may have stalled, or progress is due."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._interval / _TICKS)
            latest = loop.time() - self._interval
            for course in [*self._running.values()]:
                if course.looked <= latest:
                    course.look()

    def _look(self, course: _Course) -> None:
        """Write what has happened, unless something is being written."""
        course.looked = asyncio.get_running_loop().time()
        self._note_beginning(course)
        if course.task is None and self._has_news(course):
            course.task = self._tasks.start(self._follow(course))

    def _has_news(self, course: _Course) -> bool:
        if course.watch is None or course.watch.failure is not None:
            return True
        try:
            return self._news(course, course.watch) is not None
        except Exception:  # noqa: BLE001 - it is raised again where it is logged
            return True

    def _end(self, course: _Course) -> None:
        self._leave(course)
        self._running.pop(course.known.target, None)

    def _leave(self, course: _Course) -> None:
        if course.watch is not None:
            self._watches.unlisten(TRACKERS, course.watch, course.look)
            course.watch = None
        self._has_begun(course)

    async def _follow(self, course: _Course) -> None:
        """Write what has happened, through failures of the backend and of the store."""
        target = course.known.target
        while (goes_on := await self._attempt(course)) is None:
            await asyncio.sleep(course.pause)
            try:
                known = await self._log.known(target)
            except StatusError:
                continue
            if known is None:
                break
            # An event may be in the store although its write has failed.
            course.known = known
        course.task = None
        if goes_on:
            self._note_beginning(course)
        else:
            self._end(course)

    def _note_beginning(self, course: _Course) -> None:
        """Let another operation of the backend begin, if this one has its first state."""
        if course.watch is not None and course.watch.version:
            self._has_begun(course)

    def _has_begun(self, course: _Course) -> None:
        line = self._lines.get(course.known.target.backend)
        if line is not None:
            line.leave(course)

    async def _attempt(self, course: _Course) -> bool | None:
        """Write what has happened; return whether more may happen, or None after a failure."""
        try:
            return await self._write_news(course)
        except StatusError as error:
            if error.reason == _STOPPING:
                return False
            logger.warning("operation %s is not followed now: %s", course.known.target.name, error)
        except Exception:
            logger.exception("the tracker of operation %s failed", course.known.target.name)
        self._leave(course)
        course.pause = min(2 * course.pause, _LONGEST_PAUSE) or _PAUSE
        return None

    async def _write_news(self, course: _Course) -> bool:
        """Write what has happened; return False after the end, or if another process follows."""
        try:
            watch = course.watch or self._begin(course)
            while (news := self._news(course, watch)) is not None:
                found = await news.of(self._named(course.known), self._public_url)
                if not await self._write(course, found) or found.event.kind == DONE:
                    return False
        except StatusError as error:
            if error.code not in _FINAL:
                raise
            await self._write(course, lost(self._named(course.known), error))
            return False
        return True

    def _begin(self, course: _Course) -> Watch:
        target = course.known.target
        backend = self._backends[target.backend]
        route = self._router.find(target.name, backend.name)
        course.told = asyncio.get_running_loop().time()
        course.watch = self._watches.listen(TRACKERS, backend, route.name, course.look)
        return course.watch

    def _news(self, course: _Course, watch: Watch) -> _News | None:
        """Return what is to be told now. Raises the failure of the watch."""
        if watch.failure is not None:
            raise watch.failure.with_traceback(None)
        sighting = watch.sighting
        if sighting is None:
            return None
        now = asyncio.get_running_loop().time()
        course.see(sighting.operation, now)
        stall = self._stall(course, now)
        if now - course.since >= self._interval:
            course.since, course.early = now, 0
        kind = kind_of(
            *(course.known, sighting.operation, sighting.percent, stall),
            is_due=now - course.told >= self._interval,
            may_hurry=course.early < _STAGES,
        )
        return None if kind is None else _News(kind, sighting, stall)

    def _stall(self, course: _Course, now: float) -> Stall | None:
        """Return what is to tell of an operation that has stalled."""
        target, unchanged = course.known.target, now - course.changed
        expected = self._expected(target.backend, course.known.method)
        if course.is_stalled or expected is None or unchanged <= expected.seconds:
            return None
        return Stall(unchanged, expected)

    def _named(self, known: Tracked) -> Tracked:
        """Return what is known of an operation, under the name that it has now.

        The store has the tracker under the name that the operation had when it began.
        """
        backend, name = known.target
        return replace(known, target=Target(backend, self._router.present_name(backend, name)))

    async def _write(self, course: _Course, found: Happening) -> bool:
        """Write an event; return False if another process follows the operation now."""
        after = replace(found.known, target=course.known.target)
        deliveries = await self._log.emit(course.known, found.event, after.stage, after.percent)
        if deliveries is None:
            return False
        course.known, course.is_stalled = after, found.event.kind == STALLED
        now = asyncio.get_running_loop().time()
        course.early += found.event.kind == PROGRESS and now - course.told < self._interval
        course.told, course.pause = now, 0.0
        self._written(deliveries)
        return True

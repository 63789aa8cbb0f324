"""Trackers: each follows one operation for everybody, and writes what happens into the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from lro_gateway.backends.backend import Backend
from lro_gateway.backends.router import Router
from lro_gateway.background import BackgroundTasks
from lro_gateway.deliveries.courses import Course, Line, News
from lro_gateway.deliveries.happenings import (
    DONE,
    PROGRESS,
    Happening,
    kind_of,
    lost,
)
from lro_gateway.errors import Code, StatusError
from lro_gateway.operations.stall import Expected, Stall
from lro_gateway.records.event_entries import Delivery, EventLog, Target, Tracked
from lro_gateway.records.owners import Owner
from lro_gateway.service.watch import Watch
from lro_gateway.service.watch_bounds import TRACKERS
from lro_gateway.service.watches import Watches

logger: Final = logging.getLogger(__name__)

_FINAL: Final = frozenset({Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT})
_AT_ONCE: Final = 100
"""The number of operations that are written in one transaction, for which a start may wait."""
_STOPPING: Final = "GATEWAY_SHUTTING_DOWN"
_STAGES: Final = 10
"""How many stages are told in each interval before they are due. A text may change all the time."""
_TICKS: Final = 10
"""How often in each interval the trackers look for operations that have not changed."""
_GATHERED: Final = 0.5
"""Seconds for which events of progress wait, so that many are written together.

Measured: alone, one takes 1.2 ms of computing on SQLite and 1.6 ms on PostgreSQL; so, 0.2 ms.
"""


@dataclass(frozen=True, slots=True)
class EventRules:
    """The rules by which trackers write events.

    `interval` is the least number of seconds between two events of progress, unless the stage
    changes. `expected` tells how long operations of a method take on a backend. Events link to
    `public_url`, the address of the gateway, if it is known. `begun` is called with each operation
    that this process is asked to follow, or takes over.
    """

    interval: float
    expected: Callable[[str, str], Expected | None]
    begun: Callable[[str, str], None]
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
        rules: EventRules,
    ) -> None:
        self._tasks = tasks
        self._backends = backends
        self._router = router
        self._watches = watches
        self._log = log
        self._interval = rules.interval
        self._written = written
        self._expected = rules.expected
        self._begun = rules.begun
        self._public_url = rules.public_url
        self._running: dict[Target, Course] = {}
        self._lines: dict[str, Line] = {}
        self._gathered: list[Course] = []
        """The operations whose progress is written soon, together."""
        self._ticking: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Return the number of operations that this process follows."""
        return len(self._running)

    def follows(self, target: Target) -> bool:
        """Return whether this process follows an operation now."""
        names = {target.name, *target.names}
        return any(Target(target.backend, name) in self._running for name in names)

    async def follow(self, target: Target, subscriber: Owner | None = None) -> None:
        """Follow an operation unless some process does, or has seen its end, or it has a NUL.

        If nobody has started it here, the journal adopts it for a `subscriber`.
        """
        backend = self._backends.get(target.backend)
        if backend is None or not self.can_follow(backend) or "\0" in target.name:
            return
        known = await self._log.track(target, subscriber)
        # It may have been adopted, although somebody follows it or has seen its end.
        self._begun(*target)
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
            self._begun(*known.target)
            line = self._lines.setdefault(known.target.backend, Line())
            line.waiting.append(self._add(known))
        for line in self._lines.values():
            line.go_on()

    def _is_new(self, known: Tracked) -> bool:
        return known.target.backend in self._backends and not self.follows(known.target)

    def _add(self, known: Tracked) -> Course:
        course = self._running[known.target] = Course(known, self._look)
        if self._ticking is None:
            self._ticking = self._tasks.start(self._tick())
        return course

    async def stop(self) -> None:
        """End all trackers.

        This process owns their operations until another process takes them over.
        """
        tasks = [self._ticking, *(course.task for course in self._running.values())]
        ending = [task for task in tasks if task is not None]
        self._ticking = None
        self._gathered.clear()
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

    def _look(self, course: Course) -> None:
        """Write what has happened, unless something is being written."""
        course.looked = asyncio.get_running_loop().time()
        self._note_beginning(course)
        if course.task is None and (kind := self._next_kind(course)) is not None:
            if kind == PROGRESS:
                self._gather(course)
            else:
                course.task = self._tasks.start(self._follow(course))

    def _next_kind(self, course: Course) -> str | None:
        """Return the kind of the event that is due now, or None. A failure is ""."""
        if course.watch is None:
            return ""
        try:
            news = self._news(course, course.watch)
        except Exception:  # noqa: BLE001 - it is raised again where it is logged
            return ""
        return None if news is None else news.kind

    def _gather(self, course: Course) -> None:
        """Let the progress of an operation be written with that of others."""
        if course.is_gathered:
            return
        if not self._gathered:
            pause = min(_GATHERED, self._interval / 2)
            asyncio.get_running_loop().call_later(pause, self._depart)
        course.is_gathered = True
        self._gathered.append(course)

    def _depart(self) -> None:
        """Write the progress of all that were gathered."""
        gathered, self._gathered = self._gathered, []
        for course in gathered:
            course.is_gathered = False
        idle = [each for each in gathered if each.task is None and self._has(each)]
        task = self._tasks.start(self._write_together(idle))
        for course in idle:
            course.task = task

    def _has(self, course: Course) -> bool:
        return self._running.get(course.known.target) is course

    async def _write_together(self, courses: Sequence[Course]) -> None:
        """Write the progress of operations, many in one transaction."""
        found: list[tuple[Course, Happening]] = []
        for course in courses:
            if (progress := await self._progress(course)) is None:
                course.task = self._tasks.start(self._follow(course))
            else:
                found.append((course, progress))
        for at in range(0, len(found), _AT_ONCE):
            await self._write_part(found[at : at + _AT_ONCE])

    async def _progress(self, course: Course) -> Happening | None:
        """Return the progress of an operation, or None if something else has happened meanwhile."""
        try:
            news = None if course.watch is None else self._news(course, course.watch)
            if news is None or news.kind != PROGRESS:
                return None
            return await self._happening(course, news)
        except Exception:  # noqa: BLE001 - `_follow` meets it again, and logs it
            return None

    async def _write_part(self, found: Sequence[tuple[Course, Happening]]) -> None:
        try:
            written = await self._write(found)
        except Exception as error:  # noqa: BLE001 - `_fail` logs it
            for course, _ in found:
                self._fail(course, error)
                course.task = self._tasks.start(self._follow(course, has_failed=True))
            return
        for (course, _), goes_on in zip(found, written, strict=True):
            course.task = None
            if goes_on:
                course.look()
            else:
                self._end(course)

    def _end(self, course: Course) -> None:
        self._leave(course)
        self._running.pop(course.known.target, None)

    def _leave(self, course: Course) -> None:
        if course.watch is not None:
            self._watches.unlisten(TRACKERS, course.watch, course.look)
            course.watch = None
        self._has_begun(course)

    async def _follow(self, course: Course, *, has_failed: bool = False) -> None:
        """Write what has happened, through failures of the backend and of the store."""
        target = course.known.target
        goes_on = None if has_failed else await self._attempt(course)
        while goes_on is None:
            await asyncio.sleep(course.pause)
            # An event may be in the store although its write has failed.
            with suppress(StatusError):
                if (known := await self._log.known(target)) is None:
                    break
                course.known = known
                goes_on = await self._attempt(course)
        course.task = None
        if goes_on:
            self._note_beginning(course)
        else:
            self._end(course)

    def _note_beginning(self, course: Course) -> None:
        """If this operation has its first state, let the next one of the backend begin."""
        if course.watch is not None and course.watch.version:
            self._has_begun(course)

    def _has_begun(self, course: Course) -> None:
        line = self._lines.get(course.known.target.backend)
        if line is not None:
            line.leave(course)

    async def _attempt(self, course: Course) -> bool | None:
        """Write what has happened; return whether more may happen, or None after a failure."""
        try:
            return await self._write_news(course)
        except StatusError as error:
            if error.reason == _STOPPING:
                return False
            self._fail(course, error)
        except Exception as error:  # noqa: BLE001 - `_fail` logs it
            self._fail(course, error)
        return None

    def _fail(self, course: Course, error: Exception) -> None:
        """Log a failure, and read the operation again after a pause."""
        name = course.known.target.name
        if isinstance(error, StatusError):
            logger.warning(
                "operation %s is not followed for now, and is read again soon: %s", name, error
            )
        else:
            logger.error("the tracker of operation %s failed", name, exc_info=error)
        self._leave(course)
        course.lengthen_pause()

    async def _write_news(self, course: Course) -> bool:
        """Write what has happened; return False after the end, or if another process follows."""
        try:
            watch = course.watch or self._begin(course)
            while (news := self._news(course, watch)) is not None:
                found = await self._happening(course, news)
                if not await self._write_one(course, found):
                    return False
        except StatusError as error:
            if error.code not in _FINAL:
                raise
            await self._write_one(course, lost(self._named(course.known), error))
            return False
        return True

    async def _happening(self, course: Course, news: News) -> Happening:
        return await news.of(self._named(course.known), self._public_url)

    def _begin(self, course: Course) -> Watch:
        target = course.known.target
        backend = self._backends[target.backend]
        route = self._router.find(target.name, backend.name)
        course.told = asyncio.get_running_loop().time()
        course.watch = self._watches.listen(TRACKERS, backend, route.name, course.look)
        return course.watch

    def _news(self, course: Course, watch: Watch) -> News | None:
        """Return the event that is due now, or None. Raises the failure of the watch."""
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
        return None if kind is None else News(kind, sighting, stall)

    def _stall(self, course: Course, now: float) -> Stall | None:
        """Return the stall of an operation, or None if it has not stalled since its last event."""
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

    async def _write_one(self, course: Course, found: Happening) -> bool:
        (goes_on,) = await self._write([(course, found)])
        return goes_on

    async def _write(self, found: Sequence[tuple[Course, Happening]]) -> list[bool]:
        """Write events; return False for each operation that ended, or that another follows."""
        written = await self._log.emit([course.emission(each) for course, each in found])
        now = asyncio.get_running_loop().time()
        goes_on = []
        for (course, each), deliveries in zip(found, written, strict=True):
            if deliveries is not None:
                course.note(each, now, self._interval)
                self._written(deliveries)
            goes_on.append(deliveries is not None and each.event.kind != DONE)
        return goes_on

"""Watches of operations: one poll loop for each operation, which any number of readers share."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Final

from cachetools import LRUCache

from lro_gateway.backends.backend import Backend
from lro_gateway.background import BackgroundTasks
from lro_gateway.errors import Code, StatusError, code_name, unexpected_error
from lro_gateway.operations.names import BackendName
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Reader
from lro_gateway.service.budget import Budgets, Readers
from lro_gateway.service.patience import Patience, is_out_of_reach
from lro_gateway.service.polling import Poller
from lro_gateway.service.reads import Key, Reads
from lro_gateway.service.shared_watches import Part, SharedWatches
from lro_gateway.service.shutdown import Shutdown, shutting_down
from lro_gateway.service.watch_bounds import WatchBounds
from lro_gateway.telemetry.spans import StreamSpan
from lro_gateway.telemetry.tracing import SharedSpan

_MAX_POLLERS: Final = 1024
"""The maximum number of backends, or of callers' views of them, of which a poller is kept."""
_BURST: Final = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds before each of the first polls of an operation that will probably change soon."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """The latest state of an operation.

    `outage` is the error of the latest poll if it failed. `percent` is the highest progress so far,
    from 0 to 100, so it never falls.
    """

    operation: Operation
    outage: StatusError | None = None
    percent: float | None = None

    @property
    def problem(self) -> str:
        """The state of the backend after a failed poll, such as `cannot be reached`, or ""."""
        if self.outage is None:
            return ""
        if is_out_of_reach(self.outage):
            return "cannot be reached"
        return f"answers {code_name(self.outage.status.code)}"

    def is_like(self, other: Sighting) -> bool:
        """Return whether this sighting has nothing new for a reader that has seen the other one."""
        return self.problem == other.problem and self.operation.is_message_of(other.operation)


@dataclass(frozen=True, slots=True)
class CallerStream:
    """A stream for a caller: its name in traces, and the check that must pass before it begins."""

    name: str
    authorize: Callable[[], Awaitable[object]]


class Watch:
    """One watched operation: its latest sighting, and the readers that wait for a newer one.

    Sightings are not queued. A slow reader misses the sightings between two of its reads.
    """

    __slots__ = (
        *("_waiting", "burst_is_due", "failure", "is_reading", "part", "readers", "sighting"),
        *("span", "task", "version"),
    )

    def __init__(self, span: SharedSpan) -> None:
        self.span = span
        self.sighting: Sighting | None = None
        self.failure: StatusError | None = None
        self.version = 0
        self.readers = Readers()
        self.is_reading = False
        self.burst_is_due = False
        self.task: asyncio.Task[None] | None = None
        self.part: Part | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def has_ended(self) -> bool:
        """Whether the watch polls no more, because the operation is done or the watch failed."""
        done = self.sighting is not None and self.sighting.operation.done
        return done or self.failure is not None

    def publish(self, operation: Operation, outage: StatusError | None = None) -> None:
        """Store a new sighting, and wake the readers if it differs from the one before."""
        known = self.sighting
        if known is not None and operation.is_message_of(known.operation):
            self.sighting = Sighting(operation, outage, known.percent)
        else:
            self.sighting = Sighting(operation, outage, _highest(known, operation))
        if known is None or not self.sighting.is_like(known):
            self._wake()

    def fail(self, failure: StatusError) -> None:
        """Raise this error in every reader."""
        self.failure = failure
        self._wake()

    def _wake(self) -> None:
        self.version += 1
        for waiter in self._waiting:
            _release(waiter)

    async def newer(self, version: int, every: float | None) -> int:
        """Wait at most `every` seconds for a version other than this; return the latest version."""
        if self.version == version:
            loop = asyncio.get_running_loop()
            # One future for each reader costs less than a task and a timeout for each, and there
            # may be thousands of readers.
            waiter = loop.create_future()
            self._waiting.add(waiter)
            timer = loop.call_later(every, _release, waiter) if every is not None else None
            try:
                await waiter
            finally:
                self._waiting.discard(waiter)
                if timer is not None:
                    timer.cancel()
        return self.version


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Watches:
    """The watches of a gateway. A watch starts with its first reader and ends with its last one."""

    def __init__(
        self,
        tasks: BackgroundTasks,
        reads: Reads,
        budgets: Budgets,
        shutdown: Shutdown,
        bounds: WatchBounds | None = None,
        sharing: SharedWatches | None = None,
    ) -> None:
        self._tasks = tasks
        self._sharing = sharing
        self._bounds = bounds or WatchBounds()
        self._reads = reads
        self._budgets = budgets
        self._shutdown = shutdown
        self._watches: dict[Key, Watch] = {}
        self._pollers: LRUCache[Hashable, Poller] = LRUCache(_MAX_POLLERS)

    def __len__(self) -> int:
        """Return the number of watched operations."""
        return len(self._watches)

    async def follow(
        self,
        reader: Reader,
        backend: Backend,
        name: BackendName,
        *,
        every: float | None = None,
        ends_soon: bool = False,
        stream: CallerStream | None = None,
    ) -> AsyncGenerator[Sighting]:
        """Yield the current state at once, then every newer one, until the operation is done.

        The latest sighting is repeated after `every` seconds without a newer one. Errors that
        `Patience` outlasts are yielded as the `outage` of a sighting once there is a state, and
        other errors are raised, such as TOO_MANY_WATCHES. A reader that stops early must close the
        generator. With `ends_soon` the operation is polled often at first. A `stream` has a span
        and metrics.
        """
        key = (backend.key, name)
        with StreamSpan("watch", stream.name) if stream is not None else nullcontext() as span:
            if stream is not None:
                await stream.authorize()
                # A stream may last for hours, and its check would stay in memory with it.
                stream = None
            watch = self._joined(reader, backend, name, ends_soon=ends_soon)
            watch.span.link(span)
            version = 0
            try:
                while True:
                    version = await watch.newer(version, every)
                    if watch.failure is not None:
                        # All readers raise this one error. Its traceback would keep their frames in
                        # memory.
                        raise watch.failure.with_traceback(None)
                    if (sighting := watch.sighting) is not None:
                        yield sighting
                        # While a slow reader had this one, the operation may have ended.
                        if sighting.operation.done:
                            return
            finally:
                self._bounds.leave(reader, backend.name)
                watch.readers.leave(reader)
                if not watch.readers:
                    self._end(key, watch)

    def _joined(
        self, reader: Reader, backend: Backend, name: BackendName, *, ends_soon: bool
    ) -> Watch:
        """Return the watch of an operation with one more reader. Start it if it is new."""
        if self._shutdown.has_begun:
            raise _shutting_down()
        self._bounds.enter(reader, backend.name)
        key = (backend.key, name)
        watch = self._watches.get(key)
        # Readers that have not seen the end still use an ended watch. A new reader gets a new one.
        if watch is None or watch.has_ended:
            watch = self._watches[key] = Watch(SharedSpan("poll", name))
            watch.task = self._start(watch, backend, name, _BURST if ends_soon else ())
        watch.readers.join(reader)
        return watch

    def expect_change(self, backend: Backend, name: BackendName) -> None:
        """Poll a watched operation at once and then often, because it will probably change soon."""
        watch = self._watches.get((backend.key, name))
        if watch is None or watch.task is None:
            return
        watch.readers.renew()
        if watch.part is not None:
            watch.part.hurry()
        if watch.is_reading:
            # A restart would cancel the first read. After many restarts in a row, the read would
            # never end.
            watch.burst_is_due = True
            return
        watch.task.cancel()
        watch.task = self._start(watch, backend, name, _BURST)

    def close(self) -> None:
        """Raise UNAVAILABLE in every reader, because the gateway stops."""
        for watch in [*self._watches.values()]:
            watch.fail(_shutting_down())

    def _start(
        self, watch: Watch, backend: Backend, name: BackendName, burst: Iterable[float]
    ) -> asyncio.Task[None]:
        return self._tasks.start(self._run(watch, backend, name, burst), watch.span.context)

    def _end(self, key: Key, watch: Watch) -> None:
        if self._watches.get(key) is watch:
            del self._watches[key]
        if watch.task is not None:
            watch.task.cancel()
        if watch.part is not None and self._sharing is not None:
            self._sharing.end(watch.part)
            watch.part = None
        watch.span.end(code_name(watch.failure.status.code) if watch.failure else "OK")
        # A cancelled task and an error refer to their frames, and the frames refer to the watch.
        # This line breaks that cycle. Otherwise the watch would stay in memory until the garbage
        # collector finds it.
        watch.task = watch.failure = None

    async def _run(
        self, watch: Watch, backend: Backend, name: BackendName, burst: Iterable[float]
    ) -> None:
        try:
            await self._poll(watch, backend, name, iter(burst))
        except StatusError as error:
            watch.fail(error)
        except Exception as error:  # noqa: BLE001 - unexpected_error logs it
            watch.fail(unexpected_error(f"the watch of {name!r} on {backend.name!r}", error))

    async def _poll(
        self, watch: Watch, backend: Backend, name: BackendName, burst: Iterator[float]
    ) -> None:
        operation = await self._first_read(watch, backend, name)
        if watch.part is not None:
            watch.part.seen(operation)
        if watch.burst_is_due:
            watch.burst_is_due, burst = False, iter(_BURST)
        patience = Patience()
        while not operation.done:
            try:
                within = next(burst, math.inf)
                # A new operation may end before anybody else asks for it.
                if within == math.inf and watch.part is None and self._sharing is not None:
                    self._share(self._sharing, watch, backend, name)
                latest = await self._next(watch, backend, name, operation, within)
            except StatusError as error:
                pause = patience.pause_after(error)
                watch.publish(operation, error)
                if watch.part is not None:
                    watch.part.failed()
                await asyncio.sleep(pause)
                continue
            patience = Patience()
            # `reads` may have dropped the previous state of the operation, so use `operation` here.
            operation = operation.seen_again(self._reads.keep(backend, name, latest))
            watch.publish(operation)
            if watch.part is not None:
                watch.part.seen(operation)

    def _share(
        self, sharing: SharedWatches, watch: Watch, backend: Backend, name: BackendName
    ) -> None:
        """Poll for the other replicas too, or hear from the one that polls."""
        watch.part = sharing.part(backend, name, partial(self.expect_change, backend, name))
        if watch.part is not None and watch.sighting is not None:
            watch.part.seen(watch.sighting.operation)

    async def _next(
        self,
        watch: Watch,
        backend: Backend,
        name: BackendName,
        operation: Operation,
        within: float,
    ) -> Operation:
        if watch.part is not None and (told := await watch.part.told()) is not None:
            if told:
                return await backend.told(name, told)
            await self._budgets.of(backend).turn(watch.readers)
            return await self._reads.newest(backend, name)
        poller = self._poller(backend)
        try:
            return await poller.next_state(name, operation, watch.readers, within=within)
        except StatusError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            return await self._reads.recall(backend, name, error)

    async def _first_read(self, watch: Watch, backend: Backend, name: BackendName) -> Operation:
        """Read the state with which the polls begin, or begin again after a change."""
        known = watch.sighting.operation if watch.sighting is not None else None
        patience = Patience(knows_state=known is not None)
        turn = partial(self._budgets.of(backend).turn, watch.readers)
        while True:
            watch.is_reading = True
            try:
                operation = await self._reads.get(backend, name, turn)
            except StatusError as error:
                pause = patience.pause_after(error)
                if known is not None:
                    watch.publish(known, error)
            else:
                watch.publish(operation)
                return operation
            finally:
                watch.is_reading = False
            await asyncio.sleep(pause)

    def _poller(self, backend: Backend) -> Poller:
        poller = self._pollers.get(backend.key)
        if poller is None:
            poller = self._pollers[backend.key] = Poller(backend, self._budgets.of(backend))
        return poller


def _highest(known: Sighting | None, operation: Operation) -> float | None:
    progress = operation.progress
    before = known.percent if known is not None else None
    if progress is None or before is None:
        return before if progress is None else progress.percent
    return max(before, progress.percent)


def _shutting_down() -> StatusError:
    return shutting_down("the operation goes on, so call again")

"""Watch: one poll loop per operation, any number of readers."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from lro_gateway.backends.backend import Backend
from lro_gateway.errors import Code, StatusError, status_error
from lro_gateway.operations.operation import Operation
from lro_gateway.service.polling import OUT_OF_REACH, Budget, Poller, jittered
from lro_gateway.service.reads import Key, Reads

logger: Final = logging.getLogger(__name__)

_FIRST_BACKOFF: Final = 0.5
_LONGEST_BACKOFF: Final = 15.0
_HURRY: Final = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between the first looks after a cancellation, which may take its time."""

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
"""Starts a task that ends when the gateway closes, if not before."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """The latest state of an operation, and why it could not be looked at since, if so.

    `percent` is the most that was seen of its progress: it never falls.
    """

    operation: Operation
    outage: StatusError | None = None
    percent: float | None = None

    def is_like(self, other: Sighting) -> bool:
        """Tell whether a reader of the other learns nothing new from this one."""
        same_outage = (self.outage is None) == (other.outage is None)
        return same_outage and self.operation.is_message_of(other.operation)


class Watch:
    """One operation under watch: what is known of it, and who waits for more.

    Nothing is queued: a reader that is slow sees the newest state next.
    """

    __slots__ = (
        *("_waiting", "failure", "is_hurried", "is_looking", "readers", "sighting", "task"),
        "version",
    )

    def __init__(self) -> None:
        self.sighting: Sighting | None = None
        self.failure: StatusError | None = None
        self.version = 0
        self.readers = 0
        self.is_looking = False
        self.is_hurried = False
        self.task: asyncio.Task[None] | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def has_ended(self) -> bool:
        """Whether nothing newer will come."""
        done = self.sighting is not None and self.sighting.operation.done
        return done or self.failure is not None

    def tell(self, operation: Operation, outage: StatusError | None = None) -> None:
        """Give the readers a new sighting, if it is another."""
        known = self.sighting
        if known is not None and operation.is_message_of(known.operation):
            self.sighting = Sighting(operation, outage, known.percent)
        else:
            self.sighting = Sighting(operation, outage, _peak(known, operation))
        if known is None or not self.sighting.is_like(known):
            self._wake()

    def fail(self, failure: StatusError) -> None:
        """End every reader with this error."""
        self.failure = failure
        self._wake()

    def _wake(self) -> None:
        self.version += 1
        for waiter in self._waiting:
            _release(waiter)

    async def newer(self, version: int, every: float | None) -> int:
        """Return the version once it is another than this, or after `every` seconds."""
        if self.version == version:
            loop = asyncio.get_running_loop()
            # One for each reader, and no timeout around it: there may be many thousands.
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
    """The watches of a gateway: each begins with its first reader and ends with its last."""

    def __init__(self, spawn: Spawn, reads: Reads) -> None:
        self.spawn = spawn
        self.reads = reads
        self._watches: dict[Key, Watch] = {}
        self._pollers: dict[str, Poller] = {}
        self._closing = False

    def __len__(self) -> int:
        """Return how many operations are watched."""
        return len(self._watches)

    async def follow(
        self, backend: Backend, name: str, *, every: float | None = None, hurried: bool = False
    ) -> AsyncGenerator[Sighting]:
        """Yield the current state at once, then every newer one, to the end of the operation.

        The same again whenever `every` seconds have brought nothing new. Raises what the first look
        meets, and later whatever is not about reaching the backend. To be closed by who stops
        before the end. `hurried` is for an operation that may end in a moment.
        """
        if self._closing:
            raise shutting_down()
        key = (backend.name, name)
        watch = self._watches.get(key)
        # One that has ended lasts while a slow reader has yet to see it, for that reader alone.
        if watch is None or watch.has_ended:
            watch = self._watches[key] = Watch()
            watch.task = self.spawn(self._run(watch, backend, name, _HURRY if hurried else ()))
        watch.readers += 1
        try:
            version = 0
            while True:
                version = await watch.newer(version, every)
                if watch.failure is not None:
                    # One error for all: with its traceback it would hold every reader's frames.
                    raise watch.failure.with_traceback(None)
                if watch.sighting is not None:
                    yield watch.sighting
                    if watch.sighting.operation.done:
                        return
        finally:
            watch.readers -= 1
            if not watch.readers:
                self._end(key, watch)

    def hurry(self, backend: Backend, name: str) -> None:
        """Have a watch look at once, and often for a moment: the operation is about to change."""
        watch = self._watches.get((backend.name, name))
        if watch is None or watch.task is None:
            return
        if watch.is_looking:
            # Cut off again and again by those who go on cancelling, no look would ever end.
            watch.is_hurried = True
            return
        watch.task.cancel()
        watch.task = self.spawn(self._run(watch, backend, name, _HURRY))

    def close(self) -> None:
        """End every reader with UNAVAILABLE: the gateway stops, the operations go on."""
        self._closing = True
        for watch in [*self._watches.values()]:
            watch.fail(shutting_down())

    def _end(self, key: Key, watch: Watch) -> None:
        if self._watches.get(key) is watch:
            del self._watches[key]
        if watch.task is not None:
            watch.task.cancel()
        # A cancelled task and an error hold their frames, and those the watch: without these lines
        # a watch would be a cycle, which lies about until a collection finds it.
        watch.task = watch.failure = None

    async def _run(
        self, watch: Watch, backend: Backend, name: str, hurry: Iterable[float] = ()
    ) -> None:
        try:
            await self._poll(watch, backend, name, iter(hurry))
        except StatusError as error:
            watch.fail(error)
        except Exception:
            # A mistake of ours in one watch must not end the gateway.
            logger.exception("the watch of %s on %s failed", name, backend.name)
            watch.fail(
                status_error(Code.INTERNAL, "the gateway failed; its log says why", "INTERNAL")
            )

    async def _poll(
        self, watch: Watch, backend: Backend, name: str, hurry: Iterator[float]
    ) -> None:
        operation = await self._first_look(watch, backend, name)
        if watch.is_hurried:
            watch.is_hurried, hurry = False, iter(_HURRY)
        poller = self._poller(backend)
        backoff = _FIRST_BACKOFF
        while not operation.done:
            try:
                within = next(hurry, math.inf)
                latest = await poller.next_state(name, operation, within=within)
            except StatusError as error:
                if error.code not in OUT_OF_REACH:
                    raise
                watch.tell(operation, error)
                await asyncio.sleep(jittered(backoff))
                backoff = min(2 * backoff, _LONGEST_BACKOFF)
                continue
            backoff = _FIRST_BACKOFF
            # Reads forget: of many thousands they know less than their watches do.
            operation = operation.seen_again(self.reads.keep(backend, name, latest))
            watch.tell(operation)

    async def _first_look(self, watch: Watch, backend: Backend, name: str) -> Operation:
        watch.is_looking = True
        try:
            operation = await self.reads.get(backend, name)
        finally:
            watch.is_looking = False
        watch.tell(operation)
        return operation

    def _poller(self, backend: Backend) -> Poller:
        poller = self._pollers.get(backend.name)
        if poller is None:
            budget = Budget(backend.watch_rules.polls_per_second)
            poller = self._pollers[backend.name] = Poller(backend, budget)
        return poller


def _peak(known: Sighting | None, operation: Operation) -> float | None:
    progress = operation.progress
    before = known.percent if known is not None else None
    if progress is None or before is None:
        return before if progress is None else progress.percent
    return max(before, progress.percent)


def shutting_down() -> StatusError:
    """Make the error for whoever waits when the gateway stops."""
    return status_error(
        Code.UNAVAILABLE,
        "the gateway is shutting down; the operation goes on: ask again",
        "GATEWAY_SHUTTING_DOWN",
    )

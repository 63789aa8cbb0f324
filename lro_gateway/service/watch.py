"""A watched operation: its latest state, and the readers that wait for a newer one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from lro_gateway.backends.backend import Backend
from lro_gateway.errors import StatusError, code_name
from lro_gateway.operations.names import BackendName
from lro_gateway.operations.operation import Operation
from lro_gateway.service.budget import Readers
from lro_gateway.service.patience import Patience, is_out_of_reach
from lro_gateway.service.reads import Key
from lro_gateway.service.shared_timers import SharedTimers, release
from lro_gateway.service.shared_watches import Part
from lro_gateway.telemetry.tracing import SharedSpan

NO_BURST: Final[Iterator[float]] = iter(())

Listener = Callable[[], None]
"""Is called after each new state or failure of a watch. It must not block, and not raise."""


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


class Watch:
    """One watched operation: its latest sighting, and the readers that wait for a newer one.

    Sightings are not queued. A slow reader misses the sightings between two of its reads. A watch
    has a `task` only while a poll is under way, and a `timer` between two polls, because there may
    be many thousands of watches.
    """

    __slots__ = (
        *("_listeners", "_waiting", "backend", "burst", "burst_is_due", "failure", "has_begun"),
        *("is_reading", "name", "part", "patience", "readers", "sighting", "span", "task", "timer"),
        "version",
    )

    def __init__(self, backend: Backend, name: BackendName) -> None:
        self.backend = backend
        self.name = name
        self.span = SharedSpan("poll", name)
        self.sighting: Sighting | None = None
        self.failure: StatusError | None = None
        self.version = 0
        self.readers = Readers()
        self.has_begun = False
        self.is_reading = False
        self.burst = NO_BURST
        self.burst_is_due = False
        self.patience: Patience | None = None
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.part: Part | None = None
        self._waiting: set[asyncio.Future[None]] | None = None
        self._listeners: tuple[Listener, ...] = ()

    @property
    def key(self) -> Key:
        """The key that all readers of the operation share."""
        return (self.backend.key, self.name)

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
        for waiter in self._waiting or ():
            release(waiter)
        for listener in self._listeners:
            listener()

    def listen(self, listener: Listener) -> None:
        """Call a listener after each change, which costs less memory than a reader that waits."""
        self._listeners += (listener,)

    def unlisten(self, listener: Listener) -> None:
        """Call a listener no more."""
        self._listeners = tuple(each for each in self._listeners if each != listener)

    async def newer(self, version: int, every: float | None, timers: SharedTimers) -> int:
        """Wait at most `every` seconds for a version other than this; return the latest version."""
        if self.version == version:
            # One future for each reader costs less than a task and a timeout for each, and there
            # may be thousands of readers.
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if self._waiting is None:
                self._waiting = set()
            self._waiting.add(waiter)
            due = timers.add(waiter, every) if every is not None else None
            try:
                await waiter
            finally:
                self._waiting.discard(waiter)
                if due is not None:
                    timers.remove(waiter, due)
        return self.version


def _highest(known: Sighting | None, operation: Operation) -> float | None:
    progress = operation.progress
    before = known.percent if known is not None else None
    if progress is None or before is None:
        return before if progress is None else progress.percent
    return max(before, progress.percent)

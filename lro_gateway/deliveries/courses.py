"""The course of a followed operation: the last event of its tracker, and its last state."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from lro_gateway.deliveries.happenings import PROGRESS, STALLED, Happening, happening
from lro_gateway.operations.operation import Operation
from lro_gateway.operations.stall import Stall
from lro_gateway.records.event_entries import Emission, Tracked
from lro_gateway.service.watch import Sighting, Watch

_READING: Final = 200
"""The number of operations of a backend that read their first states at a time after a takeover."""
_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 60.0


class Course:
    """The last event of a tracker, and the last state that it has seen.

    `told`, `changed` and `looked` are times in seconds of the loop: of the last event, of the last
    new state and of the last look. `is_stalled` is whether the last event was that the operation
    has stalled, and `is_gathered` whether its progress will soon be written with that of others.
    There is a `task` only while an event is written, or after a failure. `early` is the number of
    stages that were told `since` a time before they were due.
    """

    __slots__ = (
        *("_look", "changed", "early", "is_gathered", "is_stalled", "known", "looked", "pause"),
        *("seen", "since", "task", "told", "watch"),
    )

    def __init__(self, known: Tracked, look: Callable[[Course], None]) -> None:
        self._look = look
        self.known = known
        self.watch: Watch | None = None
        self.seen: Operation | None = None
        self.told = self.changed = self.since = 0.0
        self.early = 0
        self.looked = math.inf
        self.is_gathered = self.is_stalled = False
        self.task: asyncio.Task[None] | None = None
        self.pause = 0.0

    def look(self) -> None:
        """Look at the watch, which has changed."""
        self._look(self)

    def lengthen_pause(self) -> None:
        """Wait longer after each failure in a row."""
        self.pause = min(2 * self.pause, _LONGEST_PAUSE) or _PAUSE

    def emission(self, found: Happening) -> Emission:
        """Return the event as it is written."""
        return Emission(self.known, found.event, found.known.stage, found.known.percent)

    def note(self, found: Happening, now: float, interval: float) -> None:
        """Note that an event was written."""
        # The store has the tracker under the name that the operation had when it began.
        self.known = replace(found.known, target=self.known.target)
        kind = found.event.kind
        self.is_stalled = kind == STALLED
        self.early += kind == PROGRESS and now - self.told < interval
        self.told, self.pause = now, 0.0

    def see(self, operation: Operation, now: float) -> None:
        """Note a state, which may be the same as before."""
        if self.seen is None or not operation.is_message_of(self.seen):
            self.changed = now
        self.seen = operation


@dataclass(frozen=True, slots=True)
class News:
    """An event that is to be written: its kind, and the state in it."""

    kind: str
    sighting: Sighting
    stall: Stall | None

    async def of(self, known: Tracked, public_url: str) -> Happening:
        """Return the event."""
        operation, percent = self.sighting.operation, self.sighting.percent
        return await happening(self.kind, known, operation, percent, self.stall, public_url)


@dataclass(slots=True)
class Line:
    """The operations of one backend that were taken over, and have not begun yet.

    Only some of them read their first states at a time. Measured: if 10,000 did, the peak would
    stay in the memory of the process.
    """

    waiting: deque[Course] = field(default_factory=deque)
    beginning: set[Course] = field(default_factory=set)

    def go_on(self) -> None:
        """Let as many operations begin as may read at a time."""
        while self.waiting and len(self.beginning) < _READING:
            course = self.waiting.popleft()
            self.beginning.add(course)
            course.look()

    def leave(self, course: Course) -> None:
        """Note that an operation has begun, has failed or has ended."""
        if course in self.beginning:
            self.beginning.remove(course)
            self.go_on()

"""The health of the work: operations that have stalled, and a store that does not keep up."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from lro_gateway.errors import StatusError
from lro_gateway.records.activity import Activity
from lro_gateway.records.entries import now
from lro_gateway.records.working import History, Running
from lro_gateway.service.stalls import Method, Stalls
from lro_gateway.telemetry.metrics import OLDEST_CHANGE, STALLED, STORE_SWEEP_AGE, WORK_REASONS

logger: Final = logging.getLogger(__name__)

_INTERVAL: Final = 30.0
"""Seconds between two examinations."""
_FRESH: Final = 10.0
"""Seconds for which the result of an examination is reused."""
_HEARD: Final = dt.timedelta(hours=1)
"""An operation of which nothing was heard for so long says nothing about the work now."""
_SLOW: Final = 1.0
"""Seconds within which a store commits nearly all writes."""
_MAX_SWEEP_AGE: Final = 1200.0
"""Seconds after which the sweeper does not run, although it should run every five minutes."""


class Cause(enum.Enum):
    """A reason why the work is not healthy."""

    STALLED = "OPERATIONS_STALLED"
    SLOW = "STORE_SLOW"
    FAILING = "STORE_FAILING"
    NOT_SWEPT = "SWEEPER_NOT_RUNNING"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason. Only stalled operations have a backend, a method, their number and times.

    `unchanged` is for how many seconds the one of them that is longest without a change has had
    none, and `expected` is how many seconds the method takes.
    """

    cause: Cause
    message: str
    backend: str = ""
    method: str = ""
    count: int = 0
    unchanged: float = 0.0
    expected: float = 0.0


@dataclass
class WorkHealth:
    """Examines the work again and again, and whenever a monitor asks."""

    stalls: Stalls
    history: History
    activity: Activity
    _reasons: tuple[Reason, ...] = ()
    _found: tuple[Reason, ...] = ()
    """What the last examination has read from the store."""
    _examined: float | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _shown: set[Method] = field(default_factory=set)

    async def run(self) -> None:
        """Examine the work every 30 seconds, until the task is cancelled."""
        while True:
            await self.examine()
            await asyncio.sleep(_INTERVAL)

    async def reasons(self) -> Sequence[Reason]:
        """Return the reasons why the work is not healthy.

        What the store is read for is at most some seconds old, and how it writes is as it is now.
        """
        async with self._lock:
            if self._examined is None or time.monotonic() - self._examined >= _FRESH:
                await self.examine()
        return self._with_store(self._found)

    async def examine(self) -> None:
        """Find the reasons, and set the metrics. It raises nothing."""
        found: list[Reason] = []
        try:
            running = await self.history.running(now() - _HEARD)
            await self.stalls.learn(running)
            found += self._stalled(running)
        except StatusError as error:
            found.append(Reason(Cause.FAILING, error.message))
        reasons = self._with_store(found)
        if not self._reasons and reasons:
            logger.warning("the work is not healthy: %s", reasons[0].message)
        self._found, self._reasons, self._examined = tuple(found), reasons, time.monotonic()
        for cause in Cause:
            WORK_REASONS.set(int(any(each.cause is cause for each in reasons)), cause.value)

    def _with_store(self, found: Sequence[Reason]) -> tuple[Reason, ...]:
        """Return reasons, and those that the latest writes and sweeps give beside them."""
        causes = {each.cause for each in found}
        return (*found, *(each for each in self._of_store() if each.cause not in causes))

    def _stalled(self, running: Sequence[Running]) -> list[Reason]:
        oldest: defaultdict[Method, float] = defaultdict(float)
        for each in running:
            method = (each.backend, each.method)
            oldest[method] = max(oldest[method], each.unchanged)
        by_method: defaultdict[Method, list[Running]] = defaultdict(list)
        for each in self.stalls.stalled(running):
            by_method[each.backend, each.method].append(each)
        for method in self._shown | oldest.keys():
            STALLED.set(len(by_method.get(method, ())), *method)
            OLDEST_CHANGE.set(int(oldest.get(method, 0)), *method)
        self._shown |= oldest.keys()
        return [self._reason(method, stalled) for method, stalled in by_method.items()]

    def _reason(self, method: Method, stalled: Sequence[Running]) -> Reason:
        expected = self.stalls.expected(*method)
        return Reason(
            Cause.STALLED,
            "operations have not changed for longer than their method takes",
            *method,
            len(stalled),
            max(each.unchanged for each in stalled),
            expected.seconds if expected is not None else 0.0,
        )

    def _of_store(self) -> list[Reason]:
        found = []
        if self.activity.problem:
            found.append(Reason(Cause.FAILING, self.activity.problem))
        if self.activity.slowness > _SLOW:
            found.append(Reason(Cause.SLOW, f"writes take {self.activity.slowness:.1f} s"))
        swept = self.activity.opened if self.activity.swept is None else self.activity.swept
        age = time.monotonic() - swept
        STORE_SWEEP_AGE.set(int(age))
        if age > _MAX_SWEEP_AGE:
            found.append(Reason(Cause.NOT_SWEPT, f"no sweep has ended for {age:.0f} s"))
        return found

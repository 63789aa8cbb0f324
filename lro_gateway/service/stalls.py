"""Which running operations have not changed for longer than their methods usually take."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Final

from lro_gateway.operations.operation import Operation
from lro_gateway.operations.stall import Expected, Stall
from lro_gateway.records.entries import Journal
from lro_gateway.records.working import History, Running

_QUANTILE: Final = 0.95
_SAMPLES: Final = 200
_MIN_SAMPLES: Final = 10
_SHORTEST: Final = 60.0
"""Seconds that every learned time has at least, because polls come seconds apart."""
_LEARN_AGAIN: Final = 300.0
"""Seconds after which the durations of a method are read again."""
_MAX_LEARNED: Final = 1000

Method = tuple[str, str]
"""A backend's name, and a method's path."""


@dataclass(slots=True)
class _Learned:
    expected: Expected | None
    at: float


@dataclass
class Stalls:
    """Knows how long methods take, and marks operations that have stalled.

    `configured` has the times of methods by their patterns, by backend. Other times are learned.
    """

    journal: Journal
    history: History
    configured: Mapping[str, Mapping[str, timedelta]] = field(default_factory=dict)
    _learned: dict[Method, _Learned] = field(default_factory=dict)

    def observe(self, operation: Operation) -> Stall | None:
        """Record a state that a backend has answered, and return whether it has stalled."""
        self.journal.observe(operation)
        if operation.done:
            return None
        unchanged = self.journal.unchanged(operation)
        if unchanged is None:
            return None
        expected = self.expected(operation.backend, unchanged.method)
        seconds = operation.received - unchanged.since
        if expected is None or seconds <= expected.seconds or self.journal.has_moved(operation):
            return None
        self.journal.notice(operation, expected.seconds)
        return Stall(seconds, expected)

    def expected(self, backend: str, method: str) -> Expected | None:
        """Return how long operations of a method take, or None if this is not known yet."""
        for pattern, duration in self.configured.get(backend, {}).items():
            if fnmatchcase(method, pattern):
                return Expected(duration.total_seconds())
        learned = self._learned.get((backend, method))
        return None if learned is None else learned.expected

    async def learn(self, running: Sequence[Running]) -> None:
        """Read how long the methods of running operations have taken, if that is not known.

        Raises UNAVAILABLE if the store does not answer.
        """
        now = time.monotonic()
        for method in sorted({(each.backend, each.method) for each in running}):
            known = self._learned.get(method)
            if known is not None and now - known.at < _LEARN_AGAIN:
                continue
            if known is None and len(self._learned) >= _MAX_LEARNED:
                continue
            durations = await self.history.durations(*method, _SAMPLES)
            self._learned[method] = _Learned(learned(durations), now)

    def stalled(self, running: Sequence[Running]) -> list[Running]:
        """Return those of the running operations that have stalled."""
        found = []
        for each in running:
            expected = self.expected(each.backend, each.method)
            if expected is not None and each.unchanged > expected.seconds:
                found.append(each)
        return found


def learned(durations: Sequence[float]) -> Expected | None:
    """Return the 95th percentile of durations in seconds, or None if there are too few."""
    if len(durations) < _MIN_SAMPLES:
        return None
    at = math.ceil(_QUANTILE * len(durations)) - 1
    return Expected(max(_SHORTEST, sorted(durations)[at]), learned=True)

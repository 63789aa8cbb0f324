"""The latest writes of the store: how long they took, and whether they failed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from lro_gateway.telemetry.metrics import STORE_ERRORS, STORE_WRITES

_LATEST: Final = 100
_QUANTILE: Final = 0.95
_RECENT: Final = 600.0
"""Seconds after which a write says nothing about the present state of the store."""


@dataclass
class Activity:
    """The latest writes of a store, and its latest sweep.

    `problem` is the message of the latest write if it has failed, and `failures` counts the writes
    that have failed. `swept` is when the sweeper last ended a sweep, and `opened` is when the store
    was opened, both on the monotonic clock, which is `clock`.
    """

    problem: str = ""
    failures: int = 0
    clock: Callable[[], float] = time.monotonic
    opened: float = field(default_factory=time.monotonic)
    swept: float | None = None
    _latest: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_LATEST))

    @property
    def slowness(self) -> float:
        """The seconds within which 95 of 100 of the writes of the last minutes were committed."""
        since = self.clock() - _RECENT
        latest = sorted(seconds for at, seconds in self._latest if at > since)
        return latest[int(_QUANTILE * (len(latest) - 1))] if latest else 0.0

    def wrote(self, seconds: float) -> None:
        """Note a write that was committed."""
        self.problem = ""
        self._latest.append((self.clock(), seconds))
        STORE_WRITES.record(seconds)

    def failed(self, problem: str) -> None:
        """Note a write that has failed."""
        self.problem = problem
        self.failures += 1
        STORE_ERRORS.add()

    def has_swept(self) -> None:
        """Note that a sweep has ended."""
        self.swept = self.clock()

"""How the store writes: how long its latest transactions took, and whether they fail."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from lro_gateway.telemetry.metrics import STORE_ERRORS, STORE_WRITES

_LATEST: Final = 100
_QUANTILE: Final = 0.95


@dataclass
class Activity:
    """The latest writes of a store, and its latest sweep.

    `problem` is the message of the latest write if it has failed, and `failures` counts the writes
    that have failed. `swept` is when the sweeper last ended a sweep, and `opened` is when the store
    was opened, both on the monotonic clock.
    """

    problem: str = ""
    failures: int = 0
    opened: float = field(default_factory=time.monotonic)
    swept: float | None = None
    _latest: deque[float] = field(default_factory=lambda: deque(maxlen=_LATEST))

    @property
    def slowness(self) -> float:
        """The seconds within which 95 of 100 of the latest writes were committed."""
        latest = sorted(self._latest)
        return latest[int(_QUANTILE * (len(latest) - 1))] if latest else 0.0

    def wrote(self, seconds: float) -> None:
        """Note a write that was committed."""
        self.problem = ""
        self._latest.append(seconds)
        STORE_WRITES.record(seconds)

    def failed(self, problem: str) -> None:
        """Note a write that has failed."""
        self.problem = problem
        self.failures += 1
        STORE_ERRORS.add()

    def has_swept(self) -> None:
        """Note that a sweep has ended."""
        self.swept = time.monotonic()

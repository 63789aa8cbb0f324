"""What both load generators count: answers, and how long each took, after a warm-up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Final

from scripts.benchmark.lines import Message

_MOST_ANSWERS: Final = 200_000


@dataclass
class Tally:
    """One measurement: it begins after `warm_up` and lasts for `seconds`."""

    warm_up: float
    seconds: float
    answers: int = 0
    latencies: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start the clock."""
        self._begin = time.perf_counter() + self.warm_up
        self._end = self._begin + self.seconds

    def count(self, sent: float) -> bool:
        """Count an answer to what was sent then; return whether to go on."""
        now = time.perf_counter()
        self.answers += 1
        if self._begin <= now <= self._end:
            self.latencies.append(now - sent)
        return now < self._end and self.answers < _MOST_ANSWERS

    def report(self) -> Message:
        """Return the figures; times in milliseconds."""
        if len(self.latencies) < 2:
            raise RuntimeError(f"only {len(self.latencies)} answers in {self.seconds:g} s")
        percentiles = quantiles(self.latencies, n=100, method="inclusive")
        return {
            "answers": self.answers,
            "per_second": len(self.latencies) / self.seconds,
            "p50_ms": percentiles[49] * 1000,
            "p99_ms": percentiles[98] * 1000,
        }


async def drained(tally: Tally, work: Awaitable[object]) -> Message:
    """Wait for the work, for a bounded time, and report."""
    async with asyncio.timeout(tally.warm_up + tally.seconds + 15):
        await work
    return tally.report()

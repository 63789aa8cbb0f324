"""Very many watches in one process: the memory of each, and the processor time of all."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from scripts.benchmark.processes import Program, program
from scripts.benchmark.usage import cpu_seconds, resident_mb

KILOBYTES_TARGET: Final = 8.0
CPU_TARGET: Final = 0.5
LINEAR: Final = 1.25
"""How much more each of very many watches may cost than each of a tenth."""
_SETTLED: Final = 1.2
"""Cadences after which each watch, started within one of them, has looked at least twice."""


@dataclass(frozen=True, slots=True)
class Following:
    """So many operations watched by one process, with one reader each, on a cadence of `interval`.

    Memory is resident, beyond that of the same process with one watch; `cpu` is the share of one
    core. The looks that its backend saw in a second tell that the cadence was kept.
    """

    operations: int
    interval: float
    kilobytes_each: float
    cpu: float
    looks_per_second: float


async def measure_following(
    numbers: tuple[int, ...], interval: float, seconds: float
) -> list[Following]:
    """Follow each number of operations, in processes side by side; none where /proc is not."""
    measured = await asyncio.gather(*(_measure(number, interval, seconds) for number in numbers))
    return [following for following in measured if following is not None]


async def _measure(operations: int, interval: float, seconds: float) -> Following | None:
    async with (
        # A backend of its own, which has no WaitOperation: each look is a GetOperation.
        program("backend") as backend,
        program("followers", backend.served.address, f"{interval:g}s") as followers,
    ):
        await followers.ask(operations=1, within=0)
        at_first = resident_mb(followers.pid)
        if at_first is None:
            return None
        await followers.ask(operations=operations, within=interval)
        await asyncio.sleep((_SETTLED - 1) * interval)
        cpu, looks = await _rates(backend, followers, seconds)
        after = resident_mb(followers.pid) or 0.0
    kilobytes = (after - at_first) * 1024 / operations
    return Following(operations, interval, kilobytes, cpu, looks)


async def _rates(backend: Program, followers: Program, seconds: float) -> tuple[float, float]:
    """Return the processor time of the followers and the calls at their backend, each a second."""
    begin, calls = time.perf_counter(), (await backend.ask())["calls"]
    cpu = cpu_seconds(followers.pid) or 0.0
    await asyncio.sleep(seconds)
    cpu = (cpu_seconds(followers.pid) or 0.0) - cpu
    calls = (await backend.ask())["calls"] - calls
    elapsed = time.perf_counter() - begin
    return cpu / elapsed, calls / elapsed

"""How soon and how large: time from start to first answer, and resident memory."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import median
from typing import Final

from scripts.benchmark.exchange import ask_once
from scripts.benchmark.jobs import operation_name
from scripts.benchmark.processes import gateway, gateway_to, program
from scripts.benchmark.usage import resident_mb

PROTOCOLS: Final = ("rest", "mcp")
START_TARGET_SECONDS: Final = 1.5
MEMORY_TARGET_MB: Final = 110.0
BACKENDS: Final = 3


@dataclass(frozen=True, slots=True)
class Starts:
    """Seconds from the start of the process to its first right answer, over one protocol."""

    protocol: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the starts."""
        return median(self.seconds)

    @property
    def reached(self) -> bool:
        """Whether the target is."""
        return self.median <= START_TARGET_SECONDS


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident megabytes (2**20 bytes) at the first answer and after `requests`."""

    requests: int
    at_first: float
    after: float

    @property
    def reached(self) -> bool:
        """Whether the target is."""
        return self.after <= MEMORY_TARGET_MB


async def measure_starts(times: int) -> list[Starts]:
    """Start a gateway so many times for each protocol, in turn, with a backend that is up."""
    taken: dict[str, list[float]] = {protocol: [] for protocol in PROTOCOLS}
    async with program("backend") as backend:
        for _ in range(times):
            for protocol in PROTOCOLS:
                begin = time.perf_counter()
                async with gateway("--backend", f"backend={backend.served.address}") as running:
                    await ask_once(running.address, protocol, operation_name(0))
                    taken[protocol].append(time.perf_counter() - begin)
    return [Starts(protocol, tuple(seconds)) for protocol, seconds in taken.items()]


async def measure_memory(requests: int) -> Memory | None:
    """Ask a gateway with several backends for so many operations; None where /proc is not."""
    async with AsyncExitStack() as stack:
        backends = [await stack.enter_async_context(program("backend")) for _ in range(BACKENDS)]
        running = await stack.enter_async_context(
            gateway_to([backend.served.address for backend in backends])
        )
        names = [operation_name(number, f"b{number % BACKENDS}") for number in range(requests)]
        await ask_once(running.address, PROTOCOLS[0], names[0])
        at_first = resident_mb(running.pid)
        for number, name in enumerate(names[1:]):
            await ask_once(running.address, PROTOCOLS[number % 2], name)
        after = resident_mb(running.pid)
    return None if at_first is None or after is None else Memory(requests, at_first, after)

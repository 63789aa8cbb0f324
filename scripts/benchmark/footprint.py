"""The time from the start of a gateway to its first answer, and its resident memory."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from statistics import median
from typing import Final

from scripts.benchmark.processes import HAS_PROC, gateway, gateway_with, program
from scripts.benchmark.report import Part, at_most, spread
from scripts.benchmark.requests import ask_once, operation_name

PROTOCOLS: Final = ("rest", "mcp")
START_TARGET_SECONDS: Final = 1.5
MEMORY_TARGET_MB: Final = 110.0
BACKENDS: Final = 3


async def measure_starts(times: int) -> Part:
    """Measure `times` starts of a gateway for each protocol, with a backend that is up.

    The time runs from the start of the process until its first correct answer.
    """
    starts: dict[str, list[float]] = {protocol: [] for protocol in PROTOCOLS}
    async with program("backend") as backend:
        for _ in range(times):
            for protocol in PROTOCOLS:
                begin = time.perf_counter()
                async with gateway("--backend", f"backend={backend.address}") as running:
                    await ask_once(running.address, protocol, operation_name(0))
                    starts[protocol].append(time.perf_counter() - begin)
    document, targets = [], []
    for protocol, seconds in starts.items():
        middle = median(seconds)
        name = f"start to first {protocol.upper()} answer, median of {times}"
        document.append({"protocol": protocol, "seconds": seconds, "median": middle})
        targets.append(at_most(name, START_TARGET_SECONDS, "s", middle, spread(seconds)))
    return Part({"starts": document}, targets=targets)


async def measure_memory(requests: int) -> Part:
    """Measure the memory of a gateway with several backends before and after `requests` reads.

    A megabyte is 2**20 bytes. Nothing is measured if the system has no /proc.
    """
    if not HAS_PROC:
        return Part({"memory": None})
    async with AsyncExitStack() as stack:
        backends = [await stack.enter_async_context(program("backend")) for _ in range(BACKENDS)]
        tables = [
            {"name": f"b{number}", "target": backend.address, "operations": [f"b{number}/**"]}
            for number, backend in enumerate(backends)
        ]
        running = await stack.enter_async_context(gateway_with(*tables))
        names = [operation_name(number, f"b{number % BACKENDS}") for number in range(requests)]
        await ask_once(running.address, PROTOCOLS[0], names[0])
        at_first = running.resident_mb()
        for number, name in enumerate(names[1:]):
            await ask_once(running.address, PROTOCOLS[number % 2], name)
        after = running.resident_mb()
    name = f"resident, {BACKENDS} backends, {requests:,} requests"
    growth = f"{at_first:.1f} to {after:.1f}"
    target = at_most(name, MEMORY_TARGET_MB, "MB", after, growth, ".1f")
    document = {"requests": requests, "at_first": at_first, "after": after}
    return Part({"memory": document}, targets=[target])

"""Measures the memory and the processor time of very many watches in one process.

As a program, this is a gateway without faces that watches any number of operations.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Final

import uvloop

from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import NameRequest
from scripts.benchmark.processes import HAS_PROC, Message, answer_lines, program
from scripts.benchmark.report import Part, Target, at_most, table
from scripts.benchmark.requests import operation_name

KILOBYTES_TARGET: Final = 8.0
CPU_TARGET: Final = 0.5
GROWTH_TARGET: Final = 1.25
"""From the fewest to the most watches, the cost of one watch may grow at most by this factor."""
_MOST: Final = 1_000_000
"""The bounds of watches. The benchmark measures more than one caller may have by default."""
_WARM_UP_INTERVALS: Final = 1.2
"""The number of intervals after which each watch has polled at least twice.

All watches are started within one interval.
"""


@dataclass(frozen=True, slots=True)
class Polling:
    """The cost of watching a number of operations in one process.

    Each operation has one reader and is polled every `interval` seconds. The memory is the growth
    of resident memory since the process had one watch. `cpu` is the share of one core.
    `polls_per_second` counts the calls at the backend, and shows that the interval was kept.
    """

    operations: int
    interval: float
    kilobytes_each: float
    cpu: float
    polls_per_second: float


async def measure_polling(numbers: tuple[int, ...], interval: float, seconds: float) -> Part:
    """Watch each number of operations in a process of its own, and measure all for `seconds`.

    Nothing is measured if the system has no /proc.
    """
    if not HAS_PROC:
        return Part({"following": []})
    results = await asyncio.gather(*(_measure(number, interval, seconds) for number in numbers))
    title = f"Watches of one process, every {interval:g} s"
    shown = table(title, ("operations", "KB each", "cores", "polls/s"))
    for each in results:
        memory, cpu, polls = each.kilobytes_each, each.cpu, each.polls_per_second
        shown.add_row(f"{each.operations:,}", f"{memory:.2f}", f"{cpu:.3f}", f"{polls:.0f}")
    targets = [target for each in results for target in _targets(each)]
    growth = _growth(results[0], results[-1])
    return Part({"following": [asdict(each) for each in results]}, [shown], [*targets, growth])


async def _measure(operations: int, interval: float, seconds: float) -> Polling:
    async with (
        # This backend has no WaitOperation, so the gateway polls by GetOperation.
        program("backend") as backend,
        program("polling", backend.address, f"{interval:g}s") as polling,
    ):
        await polling.ask(operations=1, within=0)
        at_first = polling.resident_mb()
        await polling.ask(operations=operations, within=interval)
        await asyncio.sleep((_WARM_UP_INTERVALS - 1) * interval)
        begin, calls = time.perf_counter(), (await backend.ask())["calls"]
        cpu = polling.cpu_seconds()
        await asyncio.sleep(seconds)
        cpu = polling.cpu_seconds() - cpu
        calls = (await backend.ask())["calls"] - calls
        elapsed = time.perf_counter() - begin
        kilobytes = (polling.resident_mb() - at_first) * 1024 / operations
    return Polling(operations, interval, kilobytes, cpu / elapsed, calls / elapsed)


def _targets(each: Polling) -> Iterator[Target]:
    cost = f"{each.operations:,} watched every {each.interval:g} s"
    yield at_most(f"{cost}, memory each", KILOBYTES_TARGET, "KB", each.kilobytes_each, form=".1f")
    yield at_most(f"{cost}, cores", CPU_TARGET, "", each.cpu)


def _growth(few: Polling, many: Polling) -> Target:
    """Compare the cost of one watch among many with the cost of one watch among few.

    The figure is the greater of two ratios: that of memory and that of processor time.
    """
    memory = many.kilobytes_each / few.kilobytes_each
    cpu = (many.cpu / many.operations) / (few.cpu / few.operations)
    name = f"each of {many.operations:,} watched / each of {few.operations:,}, memory and CPU"
    return at_most(name, GROWTH_TARGET, "", max(memory, cpu), f"{memory:.2f} and {cpu:.2f}")


class Readers:
    """Readers of watches, one for each operation."""

    def __init__(self, service: OperationService, group: asyncio.TaskGroup) -> None:
        self._service = service
        self._group = group
        self._tasks: list[asyncio.Task[None]] = []
        self._reading = 0
        self._progress = asyncio.Event()

    async def start(self, operations: int, within: float) -> None:
        """Start a reader for each operation, evenly over `within` seconds.

        Return when each reader has got a state.
        """
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for number in range(operations):
            await asyncio.sleep(max(0.0, begin + number * within / operations - loop.time()))
            self._tasks.append(self._group.create_task(self._read(number)))
        while self._reading < len(self._tasks):
            self._progress.clear()
            await self._progress.wait()

    async def _read(self, number: int) -> None:
        request = NameRequest(operation_name(number))
        async with aclosing(self._service.watch(ANONYMOUS, request)) as states:
            await anext(states)
            self._reading += 1
            self._progress.set()
            async for _ in states:
                pass

    async def stop(self) -> None:
        """Stop all readers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._reading = 0


async def main(target: str, interval: str) -> None:
    """Watch the number of operations that each line orders; stop the watches of the last line."""
    backend = {
        "name": "backend",
        "target": target,
        "max_watches": _MOST,
        "poll_intervals": ["1s", "5s", interval],
        # This limit is higher than the rate at which all watches together poll.
        "polls_per_second": 1000,
    }
    limits = {"max_watches": _MOST, "max_watches_per_principal": _MOST}
    config = GatewayConfig.model_validate({"backends": [backend], "limits": limits})
    async with Gateway.open(config) as gateway, asyncio.TaskGroup() as group:
        readers = Readers(gateway.service, group)

        async def follow(order: Message) -> Message:
            await readers.stop()
            await readers.start(order["operations"], order["within"])
            return {}

        await answer_lines(follow)
        await readers.stop()


if __name__ == "__main__":
    # Hide the warning that the gateway has no key for tokens, because this program makes none.
    logging.getLogger("lro_gateway").setLevel(logging.ERROR)
    uvloop.run(main(*sys.argv[1:]))

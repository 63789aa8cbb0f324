"""What reads cost while a gateway follows operations, beside a gateway that follows none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from scripts.benchmark.processes import Process, gateway_with, program
from scripts.benchmark.report import Part, Target, at_least
from scripts.benchmark.requests import GET, operation_name

LEAST: Final = 0.95
_FOLLOWED: Final = 1_000
_FIRST: Final = 1_000
"""The number of the first operation that is followed. The load generator reads others."""
_CONNECTIONS: Final = 16
_WARM_UP: Final = 0.2
_SECONDS: Final = 0.7
"""Short, so that what else the machine does is the same in both halves of a pair."""
_LIMIT: Final = 120.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of reads: their rate, and the CPU of the gateway.

    `cpu` is in seconds for each read, with all else that the gateway does. `elapsed` is the time
    of the measurement in seconds for each read.
    """

    per_second: float
    cpu: float
    elapsed: float


@dataclass(frozen=True, slots=True)
class Pair:
    """The two gateways, by whether they have trackers."""

    backend: Process
    load: Process
    gateways: Mapping[bool, Process]

    async def sample(self, protocol: str, *, with_trackers: bool) -> Sample:
        """Measure reads at one of the gateways."""
        gateway = self.gateways[with_trackers]
        begin, cpu = time.perf_counter(), gateway.cpu_seconds()
        report = await self.load.ask(
            protocol=protocol,
            job=GET.key,
            address=gateway.address,
            token="",
            connections=_CONNECTIONS,
            warm_up=_WARM_UP,
            seconds=_SECONDS,
        )
        answers = report["answers"]
        used, elapsed = gateway.cpu_seconds() - cpu, time.perf_counter() - begin
        return Sample(report["per_second"], used / answers, elapsed / answers)


def followed_names() -> list[str]:
    """Return the names of the operations that are followed."""
    return [operation_name(_FIRST + number) for number in range(_FOLLOWED)]


@asynccontextmanager
async def opened(url: str, other_url: str, deliveries: Mapping[str, Any]) -> AsyncIterator[Pair]:
    """Run both gateways, and a backend whose operations make progress.

    The store at `url` has the webhooks of `followed_names`. All operations are polled every 30 s,
    and each poll finds progress, which is an event.
    """
    async with AsyncExitStack() as stack:
        start = stack.enter_async_context
        backend = await start(program("backend", "progress"))
        load = await start(program("load"))
        configured = {"name": "b", "target": backend.address, "freshness": "0s"}
        gateways = {
            with_trackers: await start(
                gateway_with(
                    {**configured, "polls_per_second": 1000}, store=store, deliveries=deliveries
                )
            )
            for with_trackers, store in ((True, url), (False, other_url))
        }
        async with asyncio.timeout(_LIMIT):
            while (await backend.ask())["calls"] < _FOLLOWED:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        yield Pair(backend, load, gateways)


async def measure_reads(
    kind: str, url: str, other_url: str, pairs: int, deliveries: Mapping[str, Any]
) -> Part:
    """Measure so many pairs of reads over REST and over MCP."""
    samples: dict[tuple[str, bool], list[Sample]] = {
        (protocol, with_trackers): []
        for protocol in ("rest", "mcp")
        for with_trackers in (True, False)
    }
    async with opened(url, other_url, deliveries) as pair:
        for turn in range(pairs + 1):
            # All operations make progress, which trackers see when they poll next.
            await pair.backend.ask(change=True)
            for protocol in ("rest", "mcp"):
                # The order alternates, so that none always follows the other one.
                for with_trackers in (turn % 2 == 0, turn % 2 != 0):
                    found = await pair.sample(protocol, with_trackers=with_trackers)
                    # The first pair fills caches and makes connections.
                    if turn:
                        samples[protocol, with_trackers].append(found)
    targets = [
        target
        for protocol in ("rest", "mcp")
        for target in _targets(
            f"{kind}: {protocol.upper()} reads",
            samples[protocol, True],
            samples[protocol, False],
        )
    ]
    document = {
        f"{protocol} {'with' if with_trackers else 'without'}": [asdict(each) for each in found]
        for (protocol, with_trackers), found in samples.items()
    }
    return Part({f"reads {kind}": document}, targets=targets)


def _targets(name: str, beside: Sequence[Sample], alone: Sequence[Sample]) -> list[Target]:
    """Return the ratios of both gateways: of their rates, and of what is left of a core.

    Other processes slow both gateways, and trackers take more of the less that is left. So what
    counts on a busy machine is the CPU that a gateway with trackers uses beyond that of the same
    reads without them, as a part of one core.
    """
    pairs = [*zip(beside, alone, strict=True)]
    left = [1 - (one.cpu - other.cpu) / one.elapsed for one, other in pairs]
    each = f"{median(s.cpu for s in beside) * 1e6:.0f} and {median(s.cpu for s in alone) * 1e6:.0f}"
    trackers = f"beside {_FOLLOWED:,} trackers"
    return [
        at_least(f"{name}/s {trackers}", LEAST, [a.per_second / b.per_second for a, b in pairs]),
        at_least(f"{name} of a core {trackers}", LEAST, left, f"; {each} us"),
    ]

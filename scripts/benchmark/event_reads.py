"""What reads cost while a gateway follows operations, beside a gateway that follows none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
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
_AT_REST: Final = 30.0
"""Seconds in which all operations are polled once."""
_LIMIT: Final = 120.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of reads: their rate, and the seconds of CPU of the gateway for each.

    The CPU is without what the gateway uses at rest.
    """

    per_second: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Pair:
    """The two gateways: `with_trackers`, and the same one without operations to follow.

    `at_rest` are the cores that each uses while nobody reads.
    """

    backend: Process
    load: Process
    gateways: Mapping[bool, Process]
    at_rest: Mapping[bool, float]

    async def sample(self, protocol: str, *, with_trackers: bool) -> Sample:
        """Measure reads at one of the gateways, while all operations make progress."""
        gateway = self.gateways[with_trackers]
        await self.backend.ask(change=True)
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
        used = gateway.cpu_seconds() - cpu
        used -= self.at_rest[with_trackers] * (time.perf_counter() - begin)
        return Sample(report["per_second"], used / report["answers"])


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
        yield Pair(backend, load, gateways, await _at_rest(backend, gateways))


async def _at_rest(backend: Process, gateways: Mapping[bool, Process]) -> dict[bool, float]:
    """Return the cores that gateways use while nobody reads, and all operations make progress."""
    await backend.ask(change=True)
    begin = time.perf_counter()
    cpu = {key: each.cpu_seconds() for key, each in gateways.items()}
    await asyncio.sleep(_AT_REST)
    elapsed = time.perf_counter() - begin
    return {key: (each.cpu_seconds() - cpu[key]) / elapsed for key, each in gateways.items()}


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
            pair.at_rest,
        )
    ]
    document = {
        f"{protocol} {'with' if with_trackers else 'without'}": [
            {"per_second": each.per_second, "cpu": each.cpu} for each in found
        ]
        for (protocol, with_trackers), found in samples.items()
    }
    at_rest = {"with": pair.at_rest[True], "without": pair.at_rest[False]}
    return Part({f"reads {kind}": {**document, "cores_at_rest": at_rest}}, targets=targets)


def _targets(
    name: str, beside: Sequence[Sample], alone: Sequence[Sample], at_rest: Mapping[bool, float]
) -> list[Target]:
    """Return the ratios of both gateways: as they were, and as CPU tells of a whole core.

    Other processes slow both gateways, so a rate does not show which part of a core the trackers
    take. That part is what is left for reads of one core, by the CPU of each read.
    """
    rates = [one.per_second / other.per_second for one, other in zip(beside, alone, strict=True)]
    left = (1 - at_rest[True]) / (1 - at_rest[False])
    cpu = [left * other.cpu / one.cpu for one, other in zip(beside, alone, strict=True)]
    each = f"{median(s.cpu for s in beside) * 1e6:.0f} and {median(s.cpu for s in alone) * 1e6:.0f}"
    return [
        at_least(f"{name}/s beside {_FOLLOWED:,} trackers", LEAST, rates),
        at_least(f"{name} of a core beside {_FOLLOWED:,} trackers", LEAST, cpu, f"; {each} us"),
    ]

"""Events and webhooks: latency, receivers that hang, reads beside trackers, many operations."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles
from typing import Any, Final

import httpx
from sqlalchemy import Connection

from lro_gateway.records.database import Database
from lro_gateway.records.entries import now
from lro_gateway.records.event_entries import Selection, Subscription
from lro_gateway.records.event_rows import subscription_values
from lro_gateway.records.event_schema import SUBSCRIPTIONS, TRACKERS
from lro_gateway.records.location import Location
from lro_gateway.records.owners import Owner
from lro_gateway.records.upgrade import upgrade
from scripts.benchmark.event_reads import followed_names, measure_reads
from scripts.benchmark.processes import SCRATCH, Process, allow_files, gateway_with
from scripts.benchmark.report import Part, Target, at_most
from scripts.neighbourhood.work import PATH, Receiver, Work
from tests.postgresql import postgresql

P50_MS: Final = 50.0
P99_MS: Final = 500.0
LATER_MS: Final = 100.0
KILOBYTES: Final = 12.0
CORES: Final = 0.6
RECOVERY: Final = 60.0
_ENDPOINTS: Final = 200
_SPREAD: Final = 20.0
"""Seconds over which the operations of a round end."""
_AT_A_TIME: Final = 10
_LIMIT: Final = 120.0
_NEVER: Final = 1e9
_DELIVERIES: Final = {
    "allow_http": True,
    "allow_anonymous": True,
    "allowed_addresses": ["127.0.0.1"],
    "max_webhooks_per_principal": 1_000_000,
}
_BACKEND: Final = {"name": "b", "polls_per_second": 1000}


@asynccontextmanager
async def stores() -> AsyncIterator[dict[str, str]]:
    """Yield the URLs of an empty store of each kind."""
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as directory, postgresql() as server:
        yield {
            "SQLite": f"sqlite:///{directory}/store.sqlite3",
            "PostgreSQL": server.create_database(),
        }


async def measure_events(rounds: int, operations: int, seconds: float, reads: int) -> Part:
    """Measure latencies in so many pairs of rounds, and a gateway that follows `operations`.

    `reads` is the number of pairs of reads with trackers and without.
    """
    allow_files(10 * _ENDPOINTS)
    targets: list[Target] = []
    document: dict[str, Any] = {}
    if rounds:
        for kind in ("SQLite", "PostgreSQL"):
            async with stores() as urls:
                part = await _latencies(kind, urls[kind], rounds)
            targets += part.targets
            document |= part.document
    if reads:
        for kind in ("SQLite", "PostgreSQL"):
            async with stores() as urls, stores() as others:
                await _filled(urls[kind], followed_names())
                await _filled(others[kind], ())
                part = await measure_reads(kind, urls[kind], others[kind], reads, _DELIVERIES)
            targets += part.targets
            document |= part.document
    if operations:
        for kind in ("SQLite", "PostgreSQL"):
            async with stores() as urls:
                part = await _many(kind, urls[kind], operations, seconds)
            targets += part.targets
            document |= part.document
    return Part({"events": document}, targets=targets)


async def _latencies(kind: str, url: str, rounds: int) -> Part:
    work, receiver = Work(waits=True), Receiver(hanging=("/hangs",), failing=("/fails",))
    healthy: list[list[float]] = []
    beside: list[list[float]] = []
    used = 0.0
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(receiver.open(_ENDPOINTS))
        target = await stack.enter_async_context(work.open(0))
        backend = {**_BACKEND, "target": target}
        running = gateway_with(backend, store=url, deliveries=_DELIVERIES)
        gateway = await stack.enter_async_context(running)
        client = httpx.AsyncClient(base_url=f"http://{gateway.address}", timeout=_LIMIT)
        await stack.enter_async_context(client)
        for number in range(rounds):
            used -= gateway.cpu_seconds()
            healthy.append(await _round(client, work, receiver, f"a{number}", fails=False))
            used += gateway.cpu_seconds()
            beside.append(await _round(client, work, receiver, f"b{number}", fails=True))
    p50, p99 = _percentiles([latency for each in healthy for latency in each])
    later = [b - a for a, b in zip(_usual(healthy), _usual(beside), strict=True)]
    each_ms = used / (rounds * _ENDPOINTS) * 1e3
    return Part(
        {f"latency_ms {kind}": {"healthy": healthy, "beside": beside, "cpu_ms": each_ms}},
        targets=[
            at_most(f"{kind}: end of an operation to delivery, p50", P50_MS, "ms", p50),
            at_most(
                *(f"{kind}: end of an operation to delivery, p99", P99_MS, "ms", p99),
                f"{each_ms:.1f} ms of CPU each",
            ),
            at_most(
                f"{kind}: later beside 100 of 200 that hang or fail, p50 and p99",
                *(LATER_MS, "ms", max(later), f"{later[0]:.1f} and {later[1]:.1f}"),
            ),
        ],
    )


def _percentiles(values: Sequence[float]) -> tuple[float, float]:
    found = quantiles(values, n=100, method="inclusive")
    return median(values), found[98]


def _usual(rounds: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return the medians over rounds of their percentiles.

    In a comparison, one stall of the machine would decide about the 99th percentile of all rounds.
    """
    found = [_percentiles(each) for each in rounds]
    return median(each[0] for each in found), median(each[1] for each in found)


async def _round(
    client: httpx.AsyncClient, work: Work, receiver: Receiver, key: str, *, fails: bool
) -> list[float]:
    """Let 200 operations with one webhook each end, and return the latencies of half of them.

    If it `fails`, the receivers of the other half hang or fail.
    """
    names = [f"{PATH}{key}-{number}" for number in range(_ENDPOINTS)]
    paths = [_path(number, fails=fails) for number in range(_ENDPOINTS)]
    work.ends |= dict.fromkeys(names, _NEVER)
    places = asyncio.Semaphore(_AT_A_TIME)

    async def register(name: str, url: str) -> None:
        async with places:
            answer = await client.post(f"/v1/{name}:notify", json={"url": url})
            answer.raise_for_status()

    urls = [f"{url}{path}" for url, path in zip(receiver.urls, paths, strict=True)]
    await asyncio.gather(*map(register, names, urls))
    begin = time.monotonic() + 1
    work.end({name: begin + _SPREAD * place / _ENDPOINTS for place, name in enumerate(names)})
    keys = {
        f"{path} operation.done {name}": name
        for number, (path, name) in enumerate(zip(paths, names, strict=True))
        if number % 2
    }
    async with asyncio.timeout(_LIMIT):
        while keys.keys() - receiver.first.keys():  # noqa: ASYNC110 - the receiver counts for all
            await asyncio.sleep(0.05)
    return [(receiver.first[each] - work.ends[name]) * 1e3 for each, name in keys.items()]


def _path(number: int, *, fails: bool) -> str:
    if number % 2 or not fails:
        return f"/{number}"
    return f"/hangs/{number}" if number % 4 else f"/fails/{number}"


@dataclass
class _Seen:
    """The operations that the gateway has read since it started, and the number of reads."""

    names: set[str]
    reads: int = 0

    def polled(self, _door: int, name: str) -> None:
        self.names.add(name)
        self.reads += 1


async def _many(kind: str, url: str, operations: int, seconds: float) -> Part:
    """Start a gateway whose store has so many operations with webhooks, and measure it."""
    seen = _Seen(set())
    work = Work(seen.polled)
    work.ends = {f"{PATH}{number}": _NEVER for number in range(operations)}
    async with work.open(0) as target:
        backend = {**_BACKEND, "target": target, "poll_intervals": ["30s", "30s", "30s"]}
        await _filled(url, list(work.ends)[:1])
        async with gateway_with(backend, store=url, deliveries=_DELIVERIES) as gateway:
            await _until(seen, 1)
            at_first = gateway.resident_mb()
        await _filled(url, list(work.ends)[1:])
        seen.names.clear()
        begin = time.perf_counter()
        async with gateway_with(backend, store=url, deliveries=_DELIVERIES) as gateway:
            await _until(seen, operations)
            recovery, cpu_of_start = time.perf_counter() - begin, gateway.cpu_seconds()
            await asyncio.sleep(30)
            cores, rate = await _usage(gateway, seen, seconds)
            each = (gateway.resident_mb() - at_first) * 1024 / operations
    name = f"{kind}: {operations:,} operations with webhooks"
    return Part(
        {f"many {kind}": {"kb": each, "cores": cores, "recovery_s": recovery}},
        targets=[
            at_most(f"{name}, memory each", KILOBYTES, "KB", each, form=".1f"),
            at_most(f"{name}, cores", CORES, "", cores, f"{rate:.0f} polls/s"),
            at_most(
                *(f"{name}, restart to all followed", RECOVERY, "s", recovery),
                f"{cpu_of_start:.0f} s of CPU",
            ),
        ],
    )


async def _until(seen: _Seen, number: int) -> None:
    async with asyncio.timeout(2 * _LIMIT):
        while len(seen.names) < number:  # noqa: ASYNC110 - the backend counts for all
            await asyncio.sleep(0.05)


async def _usage(gateway: Process, seen: _Seen, seconds: float) -> tuple[float, float]:
    begin, cpu, reads = time.perf_counter(), gateway.cpu_seconds(), seen.reads
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - begin
    return (gateway.cpu_seconds() - cpu) / elapsed, (seen.reads - reads) / elapsed


async def _filled(url: str, operations: Sequence[str]) -> None:
    """Write running operations with a webhook each into a store."""
    database = Database(Location.parse(url))
    try:
        await database.write(upgrade)
        for at in range(0, len(operations), 1000):
            await database.write(partial(_insert, operations[at : at + 1000]))
    finally:
        await database.close()


def _insert(names: Sequence[str], connection: Connection) -> None:
    nobody = Owner("", "", "")
    subscriptions = [
        Subscription(
            *(f"wh_{name}", "rest", nobody, "", json.dumps({"groups": [], "scopes": []})),
            *("http://127.0.0.1:9/hook", ("",), Selection(("operation.done",), "b", name)),
        )
        for name in names
    ]
    connection.execute(
        SUBSCRIPTIONS.insert(), [subscription_values(each) for each in subscriptions]
    )
    row: dict[str, Any] = {
        "backend": "b",
        "method": "",
        "issuer": "",
        "subject": "",
        "tenant": "",
        "replica": "",
    }
    row |= {"number": 1, "state": "running", "stage": "", "percent": None, "changed": now()}
    connection.execute(TRACKERS.insert(), [{**row, "name": name} for name in names])

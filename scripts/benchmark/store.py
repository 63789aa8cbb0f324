"""What the store costs: memory, the time of a start, the journal, and very many rows."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles
from typing import Any, Final

from sqlalchemy import Connection

from lro_gateway.principal import Principal
from lro_gateway.records.database import Database
from lro_gateway.records.entries import JournalLimits, Query, Start, first_id, now
from lro_gateway.records.journal import SqlJournal
from lro_gateway.records.location import Location
from lro_gateway.records.schema import OPERATIONS
from lro_gateway.records.sweeper import Sweeper
from lro_gateway.records.upgrade import upgrade
from scripts.benchmark.processes import SCRATCH, gateway_with, program
from scripts.benchmark.report import Part, Target, at_most, spread
from scripts.benchmark.requests import START, ask_once

URL: Final = "LRO_GATEWAY_BENCH_STORE"
"""The environment variable with the URL of an empty database other than a file of SQLite."""
MOST_MEMORY_MB: Final = 12.0
MOST_SECONDS: Final = 0.15
LEAST_RATE: Final = {"sqlite": 0.6, "postgresql": 0.7}
MOST_PAGE_MS: Final = 30.0
MOST_HELD_UP_MS: Final = 50.0
_CONNECTIONS: Final = 16
_WARM_UP: Final = 0.3
_PAGES: Final = 200
_CHUNK: Final = 5_000
_EXPIRED: Final = 20
"""One of so many rows has expired."""
_OWNER: Final = Principal("alice", "https://issuer.example", "acme", client="agent")


async def measure_store(rounds: int, seconds: float, rows: int) -> Part:
    """Measure gateways with and without a store, and a store with so many rows."""
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as directory:
        url = os.environ.get(URL) or f"sqlite:///{directory}/store.sqlite3"
        pairs = await _pairs(url, rounds, seconds)
        full = Location.parse(os.environ.get(URL) or f"sqlite:///{directory}/full.sqlite3")
        many = await _many_rows(full, rows)
    return Part(
        {"store": {"kind": _kind(url), "rows": rows, **pairs.document, **many.document}},
        targets=[*pairs.targets, *many.targets],
    )


def _kind(url: str) -> str:
    return url.partition(":")[0]


@dataclass(frozen=True, slots=True)
class _Gateway:
    """What was measured of one gateway. The last two are of each start of an operation."""

    seconds: float
    resident_mb: float
    per_second: float
    cpu_us: float


async def _pairs(url: str, rounds: int, seconds: float) -> Part:
    without: list[_Gateway] = []
    with_store: list[_Gateway] = []
    async with program("backend") as backend:
        for turn in range(rounds):
            order = [("none", without), (url, with_store)]
            for store, found in order if turn % 2 == 0 else reversed(order):
                found.append(await _gateway(backend.address, store, seconds))
    pairs = list(zip(without, with_store, strict=True))
    later = [b.seconds - a.seconds for a, b in pairs]
    larger = [b.resident_mb - a.resident_mb for a, b in pairs]
    rates = [b.per_second / a.per_second for a, b in pairs]
    cpu = [a.cpu_us / b.cpu_us for a, b in pairs]
    least = LEAST_RATE[_kind(url)]
    return Part(
        {"start_s": later, "resident_mb": larger, "rates": rates, "cpu": cpu},
        targets=[
            at_most("store: later first answer", MOST_SECONDS, "s", median(later), spread(later)),
            at_most("store: memory", MOST_MEMORY_MB, "MB", median(larger), spread(larger), ".1f"),
            _at_least("journal: starts/s, with / without", least, rates),
            _at_least("journal: CPU of a start, without / with", least, cpu),
        ],
    )


def _at_least(name: str, least: float, values: list[float]) -> Target:
    middle = median(values)
    return Target(name, f">= {least:g}", f"{middle:.2f}", spread(values), middle >= least)


async def _gateway(address: str, store: str, seconds: float) -> _Gateway:
    begin = time.perf_counter()
    backend = {"name": "backend", "target": address, "freshness": "0s"}
    async with gateway_with(backend, store=store) as running, program("load") as load:
        first = time.perf_counter() - begin
        await ask_once(running.address, "rest", START.subject(0), START)
        resident, cpu = running.resident_mb(), running.cpu_seconds()
        report = await load.ask(
            protocol="rest",
            job=START.key,
            address=running.address,
            token="",
            connections=_CONNECTIONS,
            warm_up=_WARM_UP,
            seconds=seconds,
        )
        cpu = running.cpu_seconds() - cpu
        return _Gateway(first, resident, report["per_second"], cpu / report["answers"] * 1e6)


async def _many_rows(location: Location, rows: int) -> Part:
    async with _journal(location) as (database, journal):
        begin = time.perf_counter()
        for chunk in _chunks(rows):
            await database.write(partial(_insert, chunk))
        filled = time.perf_counter() - begin
        pages = [await _timed(journal.page(Query(_OWNER, 20))) for _ in range(_PAGES)]
        sweeping = asyncio.create_task(Sweeper(database, journal.expiring).sweep())
        meanwhile = []
        while not sweeping.done():
            meanwhile.append(await _timed(journal.begin(_start())))
        deleted = await sweeping
        # The longest of more starts would be longer, on a machine that does other work too.
        alone = [await _timed(journal.begin(_start())) for _ in meanwhile]
    worst, usual = max(meanwhile), max(alone)
    document = {
        "filled_s": filled,
        "page_ms": pages,
        "begin_ms": {"alone": usual, "while sweeping": worst, "swept": deleted},
    }
    p99 = quantiles(pages, n=100)[-1]
    return Part(
        document,
        targets=[
            at_most(f"first page of {rows:,} rows, p99", MOST_PAGE_MS, "ms", p99, spread(pages)),
            at_most(
                f"a start while {deleted:,} rows are swept, longest, over {usual:.1f} ms alone",
                MOST_HELD_UP_MS,
                "ms",
                max(0.0, worst - usual),
                f"p99 {quantiles(meanwhile, n=100)[-1]:.1f} ms",
            ),
        ],
    )


def _insert(rows: list[dict[str, Any]], connection: Connection) -> None:
    connection.execute(OPERATIONS.insert(), rows)


async def _timed(call: Any) -> float:
    begin = time.perf_counter()
    await call
    return (time.perf_counter() - begin) * 1e3


@asynccontextmanager
async def _journal(location: Location) -> AsyncIterator[tuple[Database, SqlJournal]]:
    database = Database(location)
    await database.write(upgrade)
    journal = SqlJournal(database, JournalLimits())
    running = asyncio.create_task(journal.run())
    try:
        yield database, journal
    finally:
        await journal.close()
        await running
        await database.close()


def _start() -> Start:
    soon = now() + dt.timedelta(minutes=1)
    return Start(_OWNER, "b", "acme.v1.Jobs/RunJob", "0" * 64, soon)


def _chunks(rows: int) -> Iterator[list[dict[str, Any]]]:
    """Yield finished rows, the oldest first. Some of them have expired."""
    recent, old = now() - dt.timedelta(days=20), now() - dt.timedelta(days=40)
    for first in range(0, rows, _CHUNK):
        yield [
            _row(number, old if number < rows // _EXPIRED else recent)
            for number in range(first, min(first + _CHUNK, rows))
        ]


def _row(number: int, begin: dt.datetime) -> dict[str, Any]:
    time_ = begin + dt.timedelta(milliseconds=number)
    return {
        "id": f"{first_id(time_)}7{number:019x}",
        "issuer": _OWNER.issuer,
        "subject": _OWNER.subject,
        "tenant": _OWNER.tenant,
        "client": _OWNER.client,
        "backend": "b",
        "name": f"projects/p/operations/{number}",
        "method": "acme.v1.Jobs/RunJob",
        "request_digest": "0" * 64,
        "state": "succeeded",
        "started": time_,
        "answer_by": time_,
        "changed": time_,
        "seen": time_,
        "finished": time_,
    }

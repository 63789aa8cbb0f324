"""What the store costs: memory, the time of a start, the journal, and very many rows."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from statistics import median, quantiles
from typing import Any, Final

from sqlalchemy import Connection

from lro_gateway.access.identity.static_tokens import new_token
from lro_gateway.principal import Principal
from lro_gateway.records.checkpoints import checkpoint_for_ever
from lro_gateway.records.database import Database
from lro_gateway.records.entries import JournalLimits, Query, Start, first_id, now
from lro_gateway.records.journal import SqlJournal
from lro_gateway.records.location import Location
from lro_gateway.records.schema import OPERATIONS
from lro_gateway.records.sweeper import Sweeper
from lro_gateway.records.upgrade import upgrade
from scripts.benchmark.processes import SCRATCH, Process, gateway_with, program
from scripts.benchmark.report import Part, Target, at_least, at_most, spread
from scripts.benchmark.requests import GET_STARTED, START, ask_once, operation_name
from tests.postgresql import postgresql

MOST_MEMORY_MB: Final = 12.0
MOST_SECONDS: Final = 0.15
LEAST_RATE: Final = {"SQLite": 0.6, "PostgreSQL": 0.7}
LEAST_READS: Final = 0.9
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
    targets: list[Target] = []
    document: dict[str, Any] = {"rows": rows}
    for kind in ("SQLite", "PostgreSQL"):
        async with _urls(kind) as new, program("backend") as backend:
            address = backend.address
            parts = [
                await _first_answers(kind, address, new(), rounds),
                await _starts(kind, address, new(), rounds, seconds),
                await _reads(kind, address, new(), rounds, seconds),
                await _many_rows(kind, Location.parse(new()), rows),
            ]
        targets += [each for part in parts for each in part.targets]
        document[kind] = {key: value for part in parts for key, value in part.document.items()}
    return Part({"store": document}, targets=targets)


@asynccontextmanager
async def _urls(kind: str) -> AsyncIterator[Callable[[], str]]:
    """Yield a function that returns the URL of a store which is empty."""
    if kind == "PostgreSQL":
        with postgresql(is_durable=True) as server:
            yield server.create_database
        return
    numbers = itertools.count()
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as directory:
        yield lambda: f"sqlite:///{directory}/store-{next(numbers)}.sqlite3"


async def _first_answers(kind: str, address: str, url: str, rounds: int) -> Part:
    """Measure gateways without and with a store from their start to their first answer.

    The first one with a store makes its tables.
    """
    found: dict[str, list[tuple[float, float, float]]] = {"none": [], url: []}
    for turn in range(rounds):
        for store in list(found) if turn % 2 == 0 else reversed(found):
            begin = time.perf_counter()
            async with gateway_with(_backend(address), store=store) as running:
                await ask_once(running.address, "rest", operation_name(0))
                first = time.perf_counter() - begin
                found[store].append((first, running.cpu_seconds(), running.resident_mb()))
    pairs = [
        [b - a for a, b in zip(*pair, strict=True)] for pair in zip(*found.values(), strict=True)
    ]
    later, cpu, larger = ([pair[at] for pair in pairs] for at in range(3))
    return Part(
        {"first_answer_s": later, "first_answer_cpu_s": cpu, "resident_mb": larger},
        targets=[
            at_most(f"{kind}: later first answer", MOST_SECONDS, "s", median(later), spread(later)),
            at_most(f"{kind}: its computing", MOST_SECONDS, "s of CPU", median(cpu), spread(cpu)),
            at_most(f"{kind}: memory", MOST_MEMORY_MB, "MB", median(larger), spread(larger), ".1f"),
        ],
    )


def _backend(address: str, **settings: str) -> dict[str, str]:
    return {"name": "backend", "target": address, "freshness": "0s", **settings}


async def _starts(kind: str, address: str, url: str, rounds: int, seconds: float) -> Part:
    """Measure starts in gateways without and with a journal, in turn."""
    async with (
        gateway_with(_backend(address)) as without,
        gateway_with(_backend(address), store=url) as with_journal,
        program("load") as load,
    ):
        for each in (without, with_journal):
            await ask_once(each.address, "rest", START.subject(0), START)
        order = {"protocol": "rest", "job": START.key, "token": "", "seconds": seconds}
        rates, cpu = await _ratios(load, without, with_journal, rounds, order)
    least = LEAST_RATE[kind]
    return Part(
        {"start_rates": rates, "start_cpu": cpu},
        targets=[
            at_least(f"{kind}: starts/s, with a journal / without", least, rates),
            at_least(f"{kind}: computing of a start, without / with", least, cpu),
        ],
    )


async def _reads(kind: str, address: str, url: str, rounds: int, seconds: float) -> Part:
    """Measure reads over MCP without a store, and with one that shows each caller its own."""
    token, entry = new_token("alice", tenant="acme")
    with tempfile.NamedTemporaryFile("w", prefix=SCRATCH, suffix=".toml") as file:
        file.write(f"{entry.line}\n")
        file.flush()
        auth = {"tokens": file.name}
        async with (
            gateway_with(_backend(address), auth=auth) as without,
            gateway_with(_backend(address, visibility="owner"), auth=auth, store=url) as owned,
            program("load") as load,
        ):
            for number in range(_CONNECTIONS):
                await ask_once(owned.address, "rest", START.subject(number), START, token)
            order = {"protocol": "mcp", "job": GET_STARTED.key, "token": token, "seconds": seconds}
            rates, cpu = await _ratios(load, without, owned, rounds, order)
    return Part(
        {"read_rates": rates, "read_cpu": cpu},
        targets=[
            at_least(f"{kind}: get_operation/s, by owner / without", LEAST_READS, rates),
            at_least(f"{kind}: computing of get_operation, without / by owner", LEAST_READS, cpu),
        ],
    )


async def _ratios(
    load: Process, without: Process, with_store: Process, rounds: int, order: Mapping[str, Any]
) -> tuple[list[float], list[float]]:
    """Return the answers per second with a store over those without, and of computing the inverse.

    Each round has both gateways, one after the other.
    """
    rates, computing = [], []
    for turn in range(rounds):
        found: dict[int, tuple[float, float]] = {}
        for each in (without, with_store) if turn % 2 == 0 else (with_store, without):
            before = each.cpu_seconds()
            report = await load.ask(
                **order, address=each.address, connections=_CONNECTIONS, warm_up=_WARM_UP
            )
            used = each.cpu_seconds() - before
            found[each.pid] = report["per_second"], used / report["answers"]
        (rate, used), (rate_with, used_with) = found[without.pid], found[with_store.pid]
        rates.append(rate_with / rate)
        computing.append(used / used_with)
    return rates, computing


async def _many_rows(kind: str, location: Location, rows: int) -> Part:
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
            at_most(
                *(f"{kind}: first page of {rows:,} rows, p99", MOST_PAGE_MS, "ms", p99),
                f"p50 {median(pages):.1f} ms",
            ),
            at_most(
                f"{kind}: a start while {deleted:,} rows are swept, over {usual:.1f} ms alone",
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
    copying = asyncio.create_task(checkpoint_for_ever(database))
    try:
        yield database, journal
    finally:
        copying.cancel()
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

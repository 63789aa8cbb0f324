"""Rows that have expired are deleted, in small batches, on both databases."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest
import sqlalchemy as sa

from lro_gateway.records import database as database_module
from lro_gateway.records import sweeper as module
from lro_gateway.records.database import Database
from lro_gateway.records.entries import JournalLimits, Knowledge, Query, now
from lro_gateway.records.journal import SqlJournal
from lro_gateway.records.location import Location
from lro_gateway.records.sweeper import Expiring, Sweeper
from lro_gateway.records.upgrade import upgrade
from tests.postgresql import PostgreSql
from tests.records.test_journal import ALICE, start, state_of

_LIMITS = JournalLimits(retention=dt.timedelta(days=30), max_rows=3)
_PAIRS = sa.Table(
    "pairs",
    sa.MetaData(),
    sa.Column("a", sa.Integer, primary_key=True),
    sa.Column("b", sa.Integer, primary_key=True),
)


@pytest.fixture
async def database(location: Location) -> AsyncIterator[Database]:
    """Open a database with the tables of the store."""
    if location.file is not None:
        location.file.parent.mkdir()
    opened = Database(location)
    await opened.write(upgrade)
    yield opened
    await opened.close()


@pytest.fixture
async def journal(database: Database) -> AsyncIterator[SqlJournal]:
    """Run a journal that keeps three rows for 30 days."""
    opened = SqlJournal(database, _LIMITS)
    running = asyncio.create_task(opened.run())
    yield opened
    await opened.close()
    await running


async def _started(journal: SqlJournal, name: str, age: dt.timedelta, heard: dt.timedelta) -> None:
    """Record an operation that was started and last heard of so long ago."""
    given = start(started=now() - age, id=f"{_millis(age):012x}7{'0' * 19}")
    await journal.begin(given)
    known = await Knowledge.of(state_of(name))
    await journal.settle(given, replace(known, seen=now() - heard))


def _every(*_: object) -> sa.ColumnElement[bool]:
    return sa.true()


def _millis(age: dt.timedelta) -> int:
    return int((now() - age).timestamp() * 1000)


async def _names(journal: SqlJournal) -> list[str | None]:
    return [each.name for each in (await journal.page(Query(ALICE, 100))).entries]


async def test_what_was_not_heard_of_for_the_retention_is_deleted(
    database: Database, journal: SqlJournal
) -> None:
    """An operation that is older, and still runs, stays."""
    day = dt.timedelta(days=1)
    await _started(journal, "old", 40 * day, 31 * day)
    await _started(journal, "running", 41 * day, day)
    await _started(journal, "new", 2 * day, 2 * day)
    assert await Sweeper(database, journal.expiring).sweep() == 1
    assert await _names(journal) == ["new", "running"]


async def test_of_too_many_rows_the_oldest_are_deleted(
    database: Database, journal: SqlJournal
) -> None:
    """A store then has a size that an operator can plan."""
    for number in range(5):
        age = dt.timedelta(hours=number)
        await _started(journal, f"{number}", age, age)
    sweeper = Sweeper(database, journal.expiring)
    assert [await sweeper.sweep() for _ in range(2)] == [2, 0]
    assert await _names(journal) == ["0", "1", "2"]


async def test_many_rows_are_deleted_in_batches(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table may have a key of several columns."""
    await database.write(_PAIRS.create)
    rows = [{"a": number % 7, "b": number} for number in range(100)]
    await database.write(lambda connection: connection.execute(_PAIRS.insert(), rows).close())
    monkeypatch.setattr(module, "_LONGEST", 60.0)
    sizes: list[int] = []
    keys = module.keys_of

    def counted(*given: object) -> object:
        found = keys(*given)  # type: ignore[arg-type]
        sizes.append(len(found))
        return found

    monkeypatch.setattr(module, "keys_of", counted)
    expiring = Expiring(_PAIRS, lambda *_: _PAIRS.c.b < 95)
    assert await Sweeper(database, [expiring]).sweep() == 95
    assert sizes == [10, 20, 40, 25, 0]
    count = sa.select(sa.func.count()).select_from(_PAIRS)
    assert await database.read(lambda connection: connection.scalar(count)) == 5


@pytest.mark.parametrize(
    ("size", "took", "following"),
    [(10, 0.001, 20), (150, 0.001, 200), (100, 0.004, 100), (100, 0.02, 50), (10, 0.02, 10)],
)
def test_a_batch_takes_five_milliseconds(size: int, took: float, following: int) -> None:
    """A start waits for one batch at most."""
    assert module.fitting(size, took) == following


async def test_one_replica_sweeps_at_a_time(server: PostgreSql) -> None:
    """The others leave the rows to it."""
    location = Location.parse(server.create_database())
    database = Database(location)
    await database.write(_PAIRS.create)
    rows = [{"a": 1, "b": 1}]
    await database.write(lambda connection: connection.execute(_PAIRS.insert(), rows).close())
    sweeper = Sweeper(database, [Expiring(_PAIRS, _every)])
    with closing(psycopg.connect(location.dsn)) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (module.ADVISORY_LOCK,))
        assert await sweeper.sweep() == 0
        other.rollback()
    assert await sweeper.sweep() == 1
    await database.close()


async def test_a_store_that_does_not_answer_ends_no_sweeper(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, and sweeps again later."""
    monkeypatch.setattr(module, "_INTERVAL", 0.0)
    monkeypatch.setattr(database_module, "_PATIENCE", 0.0)
    said: asyncio.Queue[str] = asyncio.Queue()

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.put_nowait(record.getMessage())

    missing = Expiring(_PAIRS, _every)
    handler = Listening()
    module.logger.addHandler(handler)
    sweeping = asyncio.create_task(Sweeper(database, [missing]).run())
    try:
        for _ in range(2):
            assert "expired rows stay in the store for now" in await said.get()
    finally:
        sweeping.cancel()
        module.logger.removeHandler(handler)

"""The rows of starts are the same on both databases, however many are written together."""

from __future__ import annotations

import asyncio
import datetime as dt
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from lro_gateway.errors import Code, status_error
from lro_gateway.principal import Principal
from lro_gateway.records import statements
from lro_gateway.records.archive import SqlArchive
from lro_gateway.records.archived import ArchiveLimits
from lro_gateway.records.batches import Batches, Write
from lro_gateway.records.database import Database
from lro_gateway.records.entries import EntryState, Key, Knowledge, Start
from lro_gateway.records.location import Location
from lro_gateway.records.recording import Recording
from lro_gateway.records.schema import ARCHIVE, METADATA, OPERATIONS
from tests.postgresql import PostgreSql

TIME = dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.timezone(dt.timedelta(hours=2)))
CALLER = Principal('"é\\\n%s', "https://issuer", "", client="?")
COPY = {"view": "v", "message": b"\x00\xff", "json": b'{"a": "\\u0000"}', "omitted": 7}
ENDED = Knowledge("é/1", EntryState.SUCCEEDED, 99.5, TIME, TIME)
FAILED = Knowledge('"2', EntryState.FAILED, None, TIME, TIME, 5, "%s\\")
RUNNING = Knowledge("3", EntryState.RUNNING, 1.0, TIME)
UNKNOWN = Knowledge.unknown(status_error(Code.UNKNOWN, "lost", "LOST"))
KEY = Key("d" * 64, "f" * 64, "", dt.timedelta(hours=1))


def start(request: str | None = None, key: Key | None = None) -> Start:
    """Return a start that is about to be sent."""
    return Start(CALLER, "b", "m", "0" * 64, TIME, request, key)


class Store:
    """A new store, into which the writes of starts go in batches."""

    def __init__(self, location: Location) -> None:
        if location.file is not None:
            location.file.parent.mkdir()
        self.database = Database(location)
        self.recording = Recording(self.database.dialect)
        self.batches = Batches(self.database)
        self.copies = SqlArchive(self.database, ArchiveLimits()).insert

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Store]:
        """Make the tables, and write batches until the context ends."""
        await self.database.write(METADATA.create_all)
        running = asyncio.create_task(self.batches.run())
        yield self
        self.batches.close()
        await running
        await self.database.close()

    def copy(self, given: Start) -> Write:
        """Return the write of the copy of an operation."""
        return self.copies, {"of": given.id, **COPY, "archived": TIME}

    async def rows(self) -> list[Sequence[object]]:
        """Return all rows, those of the archive last, in the order of their ids."""

        def read(connection: Connection) -> list[Sequence[object]]:
            return [
                tuple(row)
                for table in (OPERATIONS, ARCHIVE)
                for row in connection.execute(sa.select(table).order_by(table.c.id))
            ]

        return await self.database.read(read)

    async def clear(self) -> None:
        """Delete all rows."""
        for table in (OPERATIONS, ARCHIVE):
            await self.database.write(partial(_delete, table))

    async def round_trips(self, *writes: Write) -> int:
        """Write a batch, and return how often PostgreSQL was asked."""
        with tempfile.TemporaryFile("w+") as file:
            await self.database.write(lambda each: _driver(each).trace(file.fileno()))
            await self.batches.write(*writes)
            await self.database.write(lambda each: _driver(each).untrace())
            file.seek(0)
            return sum("ReadyForQuery" in line for line in file)


def _delete(table: sa.Table, connection: Connection) -> None:
    connection.execute(table.delete())


def _driver(connection: Connection) -> Any:
    driver: Any = connection.connection.driver_connection
    return driver.pgconn


@pytest.fixture
async def store(location: Location) -> AsyncIterator[Store]:
    """Return a new store, on each kind of database."""
    async with Store(location).open() as opened:
        yield opened


async def test_a_batch_of_starts_and_answers_is_as_the_same_writes_one_by_one(store: Store) -> None:
    """PostgreSQL gets the batch as one statement, with the copies of what has ended."""
    starts = [start(), start("{}"), start(), start(), start(key=KEY)]
    answers = [ENDED, FAILED, RUNNING, UNKNOWN, ENDED]
    insert = statements.insert(store.database.dialect)
    for given, known in zip(starts, answers, strict=True):
        await store.batches.write((insert, statements.start_row(given)))
        await store.batches.write((statements.SETTLE, statements.known_row(given.id, known)))
        if known is ENDED:
            await store.batches.write(store.copy(given))
    alone = await store.rows()
    await store.clear()
    assert len(alone) == 7

    answered: list[Write] = []
    for given, known in zip(starts, answers, strict=True):
        copies = [store.copy(given)] if known is ENDED else []
        answered += store.recording.answered(given, known, copies)
    await store.batches.write(*map(store.recording.begun, starts))
    # A transaction may run again after its COMMIT, and other starts may be in its batch.
    for _ in range(2):
        await store.batches.write(*answered, store.recording.begun(start()))
    assert [row for row in await store.rows() if row[0] in {each[0] for each in alone}] == alone


async def test_a_start_that_is_written_again_stays_as_it_is(store: Store) -> None:
    """Nothing of its answer is lost, and it does not begin again."""
    given = start()
    await store.batches.write(store.recording.begun(given))
    await store.batches.write(*store.recording.answered(given, ENDED, [store.copy(given)]))
    before = await store.rows()
    await store.batches.write(store.recording.begun(replace(given, method="another")))
    assert await store.rows() == before


async def test_the_answer_of_a_start_whose_key_has_a_repeat_writes_nothing(store: Store) -> None:
    """The repeat has removed its row."""
    await store.batches.write(
        *store.recording.answered(start(key=KEY), ENDED, [store.copy(start())])
    )
    assert await store.rows() == []


async def test_a_batch_of_starts_is_one_round_trip_to_postgresql(server: PostgreSql) -> None:
    """PostgreSQL commits it with its answer. What else is in a batch makes it a transaction."""
    async with Store(Location.parse(server.create_database())).open() as store:
        first, second = start(), start()
        begun, answered = store.recording.begun, store.recording.answered
        await store.batches.write(begun(start()))
        assert await store.round_trips(begun(first), begun(second)) == 1
        ended = answered(first, ENDED, [store.copy(first)])
        assert await store.round_trips(*ended, begun(start())) == 1
        removed = (statements.REMOVE, statements.removed_row(second.id))
        assert await store.round_trips(begun(start()), removed) > 1
        assert len(await store.rows()) == 5


async def test_a_batch_that_is_refused_leaves_the_next_transaction_whole(store: Store) -> None:
    """A start that the database refuses is not there, and nor is half of what fails after it."""
    refused, row = store.recording.begun(start())
    with pytest.raises(sa.exc.IntegrityError):
        await store.batches.write((refused, {**row, "subject": None}))

    def half(connection: Connection) -> None:
        connection.execute(OPERATIONS.insert(), row)
        connection.execute(OPERATIONS.insert(), row)

    with pytest.raises(sa.exc.IntegrityError):
        await store.database.write(half)
    assert await store.rows() == []

"""Commits to a file of SQLite only write its log, and what they wrote is copied beside them."""

from __future__ import annotations

import asyncio
import datetime as dt
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from lro_gateway.principal import ANONYMOUS
from lro_gateway.records.database import Database
from lro_gateway.records.entries import Start, now
from lro_gateway.records.location import Location
from lro_gateway.records.opening import open_store
from lro_gateway.records.schema import ARCHIVE, METADATA

_SIZE = 2**16
_ROWS = 100
"""So many copies of this size fill 1600 pages. By default, SQLite copies after 1000."""


def _fill(number: int, connection: Connection) -> None:
    row = {"id": str(number), "view": "", "json": b"", "omitted": 0, "archived": now()}
    connection.execute(ARCHIVE.insert(), {**row, "message": bytes(_SIZE)})


async def _fill_all(database: Database) -> None:
    for number in range(_ROWS):
        await database.write(partial(_fill, number))


async def test_no_commit_copies_the_log_and_a_checkpoint_does(tmp_path: Path) -> None:
    """A start would wait for a copy. A database that was closed has no log."""
    file = tmp_path / "store.sqlite3"
    log = file.with_name(f"{file.name}-wal")
    database = Database(Location(file))
    await database.write(METADATA.create_all)
    await _fill_all(database)
    assert file.stat().st_size < _ROWS * _SIZE < log.stat().st_size
    await database.checkpoint()
    assert file.stat().st_size > _ROWS * _SIZE
    length = log.stat().st_size
    await database.write(lambda connection: connection.execute(ARCHIVE.delete()).close())
    assert log.stat().st_size == length, "the log began again"
    await database.close()
    assert not log.exists()


async def test_an_open_store_copies_by_itself(tmp_path: Path) -> None:
    """Otherwise the log would grow until a commit has to copy it."""
    file = tmp_path / "store.sqlite3"
    async with open_store(Location(file)) as store:
        for _ in range(_ROWS):
            end = now() + dt.timedelta(minutes=1)
            await store.journal.begin(Start(ANONYMOUS, "b", "m", "", end, "x" * _SIZE))
        async with asyncio.timeout(60):
            # Nobody tells of the copy.
            while file.stat().st_size < _ROWS * _SIZE:  # noqa: ASYNC110
                await asyncio.sleep(0)


async def test_a_checkpoint_of_postgresql_or_of_nothing_does_nothing(location: Location) -> None:
    """PostgreSQL has its own, and a gateway that writes nothing need not look."""
    if location.file is not None:
        location.file.parent.mkdir()
    database = Database(location)
    await database.checkpoint()
    await database.write(METADATA.create_all)
    await database.checkpoint()
    await database.close()

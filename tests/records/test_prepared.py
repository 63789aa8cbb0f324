"""Statements in the SQL of a database, whose values are converted as SQLAlchemy would."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa

from lro_gateway.records.archive import SqlArchive
from lro_gateway.records.archived import ArchiveLimits
from lro_gateway.records.database import Database
from lro_gateway.records.location import Location
from lro_gateway.records.prepared import Prepared, cursor_of
from lro_gateway.records.schema import ARCHIVE, METADATA, OPERATIONS

_TIME = dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.timezone(dt.timedelta(hours=2)))
_ROW = {
    "id": "1",
    "issuer": "é%s",
    "subject": "?",
    "tenant": ":x",
    "client": "",
    "backend": "b",
    "method": "m",
    "request_digest": "",
    "state": "running",
    "percent": 1.5,
    "started": _TIME,
    "answer_by": _TIME,
    "changed": _TIME,
    "seen": _TIME,
}


async def test_rows_are_as_those_that_sqlalchemy_writes(location: Location) -> None:
    """A time of another zone, a number and any text come back as they were given."""
    if location.file is not None:
        location.file.parent.mkdir()
    database = Database(location)
    insert = OPERATIONS.insert()

    def work(connection: sa.Connection) -> list[tuple[object, ...]]:
        METADATA.create_all(connection)
        prepared = Prepared(insert, _ROW, connection.dialect)
        connection.execute(insert, {**_ROW, "id": "0"})
        with cursor_of(connection) as cursor:
            prepared.execute(cursor, [_ROW])
            prepared.execute(cursor, [{**_ROW, "id": "2"}, {**_ROW, "id": "3"}])
        columns = [OPERATIONS.c[name] for name in _ROW if name != "id"]
        return [tuple(row) for row in connection.execute(sa.select(*columns))]

    rows = await database.write(work)
    assert rows == [tuple(value for name, value in _ROW.items() if name != "id")] * 4
    await database.close()


async def test_an_error_is_sqlalchemys_and_does_not_show_the_values(location: Location) -> None:
    """PostgreSQL tells it at the end of the statements. The transaction can be rolled back."""
    if location.file is not None:
        location.file.parent.mkdir()
    database = Database(location)
    await database.write(METADATA.create_all)

    def twice(connection: sa.Connection) -> None:
        prepared = Prepared(OPERATIONS.insert(), _ROW, connection.dialect)
        with cursor_of(connection) as cursor:
            prepared.execute(cursor, [_ROW, {**_ROW, "id": "2"}, {**_ROW, "id": "2"}])

    with pytest.raises(sa.exc.IntegrityError) as caught:
        await database.write(twice)
    assert str(_ROW["issuer"]) not in str(caught.value)
    count = sa.select(sa.func.count()).select_from(OPERATIONS)
    assert await database.read(lambda connection: connection.scalar(count)) == 0
    await database.close()


async def test_bytes_go_into_a_statement_that_selects(location: Location) -> None:
    """A copy of an operation has bytes, and its operation must be there."""
    if location.file is not None:
        location.file.parent.mkdir()
    database = Database(location)
    insert = SqlArchive(database, ArchiveLimits()).insert
    copy = {"of": "1", "view": "", "message": b"\x00\xff", "json": b"{}", "omitted": 0}

    def work(connection: sa.Connection) -> list[tuple[object, ...]]:
        METADATA.create_all(connection)
        connection.execute(OPERATIONS.insert(), _ROW)
        rows = [{**copy, "archived": _TIME}, {**copy, "of": "2", "archived": _TIME}]
        with cursor_of(connection) as cursor:
            Prepared(insert, rows[0], connection.dialect).execute(cursor, rows)
        return [tuple(row) for row in connection.execute(sa.select(ARCHIVE))]

    assert await database.write(work) == [("1", "", b"\x00\xff", b"{}", 0, _TIME)]
    await database.close()

"""Rows of a backend that got another name, on both databases."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest
import sqlalchemy as sa

from lro_gateway.principal import ANONYMOUS
from lro_gateway.records.changed_names import StoredNames
from lro_gateway.records.database import Database
from lro_gateway.records.entries import EntryState, Knowledge, Query, Start, now
from lro_gateway.records.event_schema import TRACKERS
from lro_gateway.records.location import Location
from lro_gateway.records.opening import open_store
from lro_gateway.records.renaming import rename
from tests.postgresql import PostgreSql

EAST = StoredNames({"east": "west"})
NAMES = ("jobs/1", "//east/jobs/2", "//eastern/jobs/3", "//west/jobs/4")


async def started(location: Location, *backends: str) -> None:
    """Record operations of backends, with each of the names."""
    async with open_store(location) as store:
        for backend in backends:
            for name in NAMES:
                start = Start(ANONYMOUS, backend, "acme.v1.Jobs/RunJob", "0" * 64, now())
                await store.journal.begin(start)
                known = Knowledge(name, EntryState.RUNNING, None, now())
                await store.journal.settle(start, known)


async def recorded(location: Location, **former: str) -> list[tuple[str, str | None]]:
    """Open the store with former names, and return its operations, the oldest first."""
    async with open_store(location, names=StoredNames(former)) as store:
        page = await store.journal.page(Query(ANONYMOUS, 20))
        return [(each.backend, each.name) for each in reversed(page.entries)]


async def test_the_operations_of_a_former_name_are_those_of_the_present_one(
    location: Location,
) -> None:
    """A name of another backend, and one that only begins alike, stay as they are."""
    await started(location, "east", "other")
    expected = [
        *(("west", name.replace("//east/", "//west/")) for name in NAMES),
        *(("other", name) for name in NAMES),
    ]
    assert await recorded(location, east="west") == expected
    assert await recorded(location, east="west") == expected
    assert await recorded(location) == expected


async def test_of_two_trackers_of_one_operation_one_stays(location: Location) -> None:
    """The gateway may have run with the present name before it knew the former one."""
    texts = {"method": "", "issuer": "", "subject": "", "tenant": "", "replica": "r", "stage": ""}
    row = {**texts, "number": 0, "state": "running", "changed": dt.datetime.now(dt.UTC)}
    names = [("east", "//east/jobs/1"), ("west", "//west/jobs/1"), ("east", "jobs/2")]
    async with open_store(location):
        pass
    database = Database(location)

    def insert(connection: sa.Connection) -> None:
        rows = [{**row, "backend": backend, "name": name} for backend, name in names]
        connection.execute(TRACKERS.insert(), rows)

    def found(connection: sa.Connection) -> list[tuple[str, str]]:
        query = sa.select(TRACKERS.c.backend, TRACKERS.c.name).order_by(TRACKERS.c.name)
        return [(each.backend, each.name) for each in connection.execute(query)]

    await database.write(insert)
    await rename(database, EAST)
    assert await database.read(found) == [("west", "//west/jobs/1"), ("west", "jobs/2")]
    await database.close()


async def test_replicas_that_start_together_rename_once(server: PostgreSql) -> None:
    """Each waits for the one before it, and none fails."""
    location = Location.parse(server.create_database())
    await started(location, "east")
    databases = [Database(location) for _ in range(4)]
    renames = (rename(each, EAST) for each in databases)
    await asyncio.gather(*renames)
    await asyncio.gather(*(each.close() for each in databases))
    assert {backend for backend, _ in await recorded(location)} == {"west"}


async def test_a_process_that_has_been_killed_does_not_hinder_a_new_name(
    server: PostgreSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts as running until it has been silent for a lease. Without rows, nobody waits."""
    monkeypatch.setattr("lro_gateway.records.renaming.LEASE", 1.0)
    location = Location.parse(server.create_database())
    await started(location, "east")
    database = Database(location)
    beat = sa.text("INSERT INTO replicas VALUES ('dead', now() + interval '1h')")
    await database.write(lambda connection: connection.execute(beat).close())
    await database.close()
    assert {backend for backend, _ in await recorded(location, east="west")} == {"west"}
    monkeypatch.setattr("lro_gateway.records.renaming.LEASE", 3600.0)
    assert {backend for backend, _ in await recorded(location, east="west")} == {"west"}

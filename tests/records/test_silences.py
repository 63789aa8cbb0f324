"""Which processes are dead, whatever happens to the clock of the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from lro_gateway.records import replicas as module
from lro_gateway.records.database import Database
from lro_gateway.records.location import Location
from lro_gateway.records.replicas import SqlReplicas
from lro_gateway.records.silences import Silences
from lro_gateway.records.upgrade import upgrade
from tests.postgresql import PostgreSql

LEASE = 8.0
STEPS = [-3600, 0, 3600]


class Process:
    """A process that shares a database. It has a clock, which is `now`."""

    def __init__(self, database: Database, replica: str) -> None:
        self.replicas = SqlReplicas(database, replica, 1)
        self.now = 0.0
        self.replicas.silences = Silences(LEASE, lambda: self.now)

    async def takes(self) -> list[str]:
        """Return the operations that the process takes over when it looks."""
        return [each.target.name for each in (await self.replicas.look()).tracked]


@asynccontextmanager
async def two(server: PostgreSql) -> AsyncIterator[tuple[Process, Process]]:
    """Yield a process, and one that follows an operation."""
    url = server.create_database()
    databases = [Database(Location.parse(url)) for _ in range(2)]
    try:
        await databases[0].write(upgrade)
        one, other = Process(databases[0], "one"), Process(databases[1], "other")
        for each in (one, other, one):
            await each.takes()
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(
                "INSERT INTO trackers VALUES"
                " ('b', 'jobs/1', '', '', '', '', 'other', 1, '', '', NULL, now(), NULL)"
            )
        yield one, other
    finally:
        for database in databases:
            await database.close()


def step(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Set the clock of the database."""
    interval: Any = sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    monkeypatch.setattr(module, "_NOW", sa.func.statement_timestamp() + interval)


@pytest.mark.parametrize("seconds", STEPS)
async def test_a_process_that_is_silent_for_a_lease_is_dead(
    server: PostgreSql, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Its work is taken over, also if the clock steps just then."""
    async with two(server) as (one, _):
        step(monkeypatch, seconds)
        one.now = LEASE / 2 - 0.1
        assert await one.takes() == []
        one.now = LEASE + 0.1
        assert await one.takes() == ["jobs/1"]


@pytest.mark.parametrize("seconds", STEPS)
async def test_a_process_that_beats_is_alive(
    server: PostgreSql, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """However old its last beat seems by the clock of the database."""
    async with two(server) as (one, other):
        step(monkeypatch, seconds)
        for turn in range(1, 11):
            one.now = other.now = turn * 2.0
            assert await one.takes() == []
            assert await other.takes() == []


async def test_the_clock_of_the_database_tells_a_new_process_who_is_dead(
    server: PostgreSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart would otherwise wait for a whole lease."""
    async with two(server) as (one, _):
        one.replicas.silences = Silences(LEASE)
        step(monkeypatch, LEASE + 1)
        assert await one.takes() == ["jobs/1"]

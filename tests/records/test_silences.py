"""Which processes are dead, whatever happens to the database and to its clock."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from lro_gateway.errors import StatusError
from lro_gateway.records import replicas as module
from lro_gateway.records.database import Database
from lro_gateway.records.location import Location
from lro_gateway.records.replicas import SqlReplicas
from lro_gateway.records.silences import Silences
from lro_gateway.records.upgrade import upgrade
from tests.postgresql import PostgreSql, postgresql

LEASE = 8.0
ROUND = 2.0
STEPS = [-3600, 0, 3600]


class Process:
    """A process that shares a database. It has a clock, which is `now`."""

    def __init__(self, database: Database, replica: str) -> None:
        self.replicas = SqlReplicas(database, replica, 1)
        self.id = replica
        self.now = 0.0
        self.replicas.silences = Silences(LEASE, lambda: self.now)

    async def takes(self) -> list[str]:
        """Return the operations that the process takes over from others when it looks."""
        names = [each.target.name for each in (await self.replicas.look()).tracked]
        return [name for name in names if name != f"jobs/{self.id}"]

    async def takes_until(self, until: float) -> list[str]:
        """Return the operations that the process takes over in its rounds until a time."""
        taken = list[str]()
        while self.now + ROUND < until:
            self.now += ROUND
            taken += await self.takes()
        self.now = until
        return taken + await self.takes()


@asynccontextmanager
async def processes(server: PostgreSql, *ids: str) -> AsyncIterator[tuple[str, list[Process]]]:
    """Yield the URL of a database and processes, of which each follows an operation `jobs/ID`."""
    url = server.create_database()
    databases = [Database(Location.parse(url)) for _ in ids]
    try:
        await databases[0].write(upgrade)
        found = [Process(*each) for each in zip(databases, ids, strict=True)]
        for each in (*found, found[0]):
            await each.takes()
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            for id_ in ids:
                await connection.execute(
                    "INSERT INTO trackers VALUES"
                    " ('b', %s, '', '', '', '', %s, 1, '', '', NULL, now(), NULL)",
                    [f"jobs/{id_}", id_],
                )
        yield url, found
    finally:
        for database in databases:
            await database.close()


@asynccontextmanager
async def two(server: PostgreSql) -> AsyncIterator[tuple[Process, Process]]:
    """Yield two processes, of which each follows an operation."""
    async with processes(server, "one", "other") as (_, (one, other)):
        yield one, other


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
        assert await one.takes_until(LEASE / 2 - 0.1) == []
        assert await one.takes_until(LEASE + 0.1) == ["jobs/other"]


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


@pytest.mark.parametrize("is_old", [False, True])
async def test_a_new_process_sees_for_itself_who_is_dead(
    server: PostgreSql, monkeypatch: pytest.MonkeyPatch, is_old: bool
) -> None:
    """For half of a lease if the clock of the database says so too, for it may have been away."""
    async with two(server) as (one, _):
        one.replicas.silences = Silences(LEASE, lambda: one.now)
        step(monkeypatch, LEASE + 1 if is_old else 0)
        assert await one.takes_until(0) == []
        assert await one.takes_until(LEASE / 2 - 0.1) == []
        assert await one.takes_until(LEASE / 2 + 0.1) == (["jobs/other"] if is_old else [])
        assert await one.takes_until(LEASE + 0.1) == ([] if is_old else ["jobs/other"])


async def away(server: PostgreSql, all_: Sequence[Process], how: signal.Signals) -> None:
    """Let the database be away for three leases, while all processes look."""
    looks = list[asyncio.Task[list[str]]]()
    if how is signal.SIGSTOP:
        server.freeze()
        looks = [asyncio.create_task(each.takes()) for each in all_]
    else:
        server.stop(how)
        for each in all_:
            with pytest.raises(StatusError, match="does not answer"):
                await each.takes()
    for each in all_:
        each.now += 3 * LEASE
    if how is signal.SIGSTOP:
        server.thaw()
    else:
        server.start()
    for look in looks:
        assert await look == []


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGSTOP])
async def test_after_an_outage_of_the_database_nobody_takes_the_others_for_dead(
    monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    """Not even the first one that is back. One that has died meanwhile is found out in time."""
    monkeypatch.setattr("lro_gateway.records.database._PATIENCE", 0.2)
    async with AsyncExitStack() as stack:
        server = stack.enter_context(postgresql())
        opened = stack.enter_async_context(processes(server, "one", "two", "dead"))
        _, (one, two_, dead) = await opened
        await away(server, [one, two_, dead], how)
        # The clock of the database says that all have been silent for long.
        step(monkeypatch, 3 * LEASE)
        assert await one.takes_until(one.now + LEASE - ROUND - 0.1) == []
        for each in (two_, dead):
            assert await each.takes() == []
        assert await one.takes_until(one.now + LEASE - 0.1) == []
        assert await two_.takes() == []
        assert await one.takes_until(one.now + ROUND + 0.1) == ["jobs/dead"]

"""The reasons why the work is not healthy that lie in the store."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from lro_gateway.errors import Code, StatusError, status_error
from lro_gateway.operations.begun import Begun
from lro_gateway.records.activity import Activity
from lro_gateway.records.database import Database
from lro_gateway.records.location import Location
from lro_gateway.records.opening import open_store
from lro_gateway.records.working import Running
from lro_gateway.service.stalls import Stalls
from lro_gateway.service.work_health import Cause, WorkHealth
from tests.gateways import serving
from tests.service.approved import AGENT, backend_of, office, reason_of

GONE = {"name": "b", "target": "127.0.0.1:1"}


@asynccontextmanager
async def examined(location: Location) -> AsyncIterator[tuple[WorkHealth, Activity]]:
    """Open a store whose health a test examines."""
    async with open_store(location) as store:
        stalls = Stalls(store.journal, store.history)
        yield WorkHealth(stalls, store.history, store.activity), store.activity


async def causes(health: WorkHealth) -> list[Cause]:
    """Return the reasons of a new examination."""
    await health.examine()
    return [each.cause for each in await health.reasons()]


async def test_a_store_that_works_is_healthy(location: Location) -> None:
    """Its writes take milliseconds."""
    async with examined(location) as (health, activity):
        assert await causes(health) == []
        assert 0 < activity.slowness < 5


def test_writes_that_were_slow_long_ago_are_forgotten() -> None:
    """A gateway that nobody has used since must not alarm a monitor all day."""
    now = 1000.0
    activity = Activity(clock=lambda: now)
    for seconds in (3.0, 4.0, 5.0):
        activity.wrote(seconds)
    assert activity.slowness == 4.0
    now += 601
    assert activity.slowness == 0.0
    activity.wrote(0.1)
    assert activity.slowness == 0.1


async def test_slow_and_failing_writes_and_a_sweeper_that_does_not_run_are_reasons(
    location: Location,
) -> None:
    """The next write that succeeds ends the failure."""
    async with examined(location) as (health, activity):
        activity.failed("the disk is full")
        assert await causes(health) == [Cause.FAILING]
        for _ in range(100):
            activity.wrote(3.0)
        assert await causes(health) == [Cause.SLOW]
        for _ in range(100):
            activity.wrote(0.001)
        activity.opened = time.monotonic() - 2000
        assert await causes(health) == [Cause.NOT_SWEPT]
        activity.has_swept()
        assert await causes(health) == []


async def test_a_monitor_learns_at_once_that_writes_fail(location: Location) -> None:
    """What is read from the store is reused for some seconds, and this is not."""
    async with examined(location) as (health, activity):
        assert await health.reasons() == ()
        activity.failed("the disk is full")
        assert [each.cause for each in await health.reasons()] == [Cause.FAILING]
        activity.wrote(0.001)
        assert await health.reasons() == ()


async def test_a_write_that_the_database_refuses_is_a_failure(tmp_path: Path) -> None:
    """A disk that is full fails so too."""
    (tmp_path / "state").mkdir()
    database = Database(Location(tmp_path / "state" / "store.sqlite3"))

    def fail(_connection: sa.Connection) -> None:
        raise sa.exc.OperationalError("INSERT", {}, Exception("database or disk is full"))

    with pytest.raises(StatusError):
        await database.write(fail)
    assert "disk is full" in database.activity.problem
    await database.write(lambda connection: connection.execute(sa.text("SELECT 1")).close())
    assert database.activity.problem == ""
    await database.close()


class Unreachable:
    """The history of a store that does not answer."""

    async def running(self, _since: dt.datetime) -> Sequence[Running]:
        """Fail as a database that is down."""
        raise status_error(Code.UNAVAILABLE, "connection refused", "STORE_UNAVAILABLE")

    async def durations(self, _backend: str, _method: str, _limit: int) -> Sequence[float]:
        """Return nothing, because no operation is known to run."""
        return ()

    async def begun(self, _backend: str, _names: Sequence[str]) -> Mapping[str, Begun]:
        """Return nothing, because nobody looks at an operation."""
        return {}

    async def numbers(self) -> Mapping[str, int]:
        """Return nothing, because only a start asks for it."""
        return {}

    async def names(self, _backend: str) -> Sequence[str]:
        """Return nothing, because only a start asks for it."""
        return ()


async def test_a_store_that_does_not_answer_is_a_reason(tmp_path: Path) -> None:
    """The examination itself needs it."""
    async with examined(Location(tmp_path / "state" / "store.sqlite3")) as (health, _):
        health.history = Unreachable()
        assert await causes(health) == [Cause.FAILING]


async def test_without_a_store_nobody_knows() -> None:
    """The status of the answer is 200, because nothing is known to be wrong."""
    async with serving(GONE) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.get("/healthz/operations")
    assert (answer.status_code, answer.json()) == (200, {"status": "unknown", "reasons": []})


def _damage(file: Path) -> None:
    """Overwrite a store, and the part of it that is still in its log, with ones."""
    for each in (file, file.with_name(f"{file.name}-wal")):
        with each.open("r+b") as opened:
            opened.write(b"\xff" * each.stat().st_size)


async def test_a_file_that_is_damaged_stops_no_read_of_a_backend(tmp_path: Path) -> None:
    """What needs the store says so, and the monitor too."""
    async with backend_of() as backend, office(tmp_path, backend, approval=[]) as place:
        name = (await place.ask())["name"]
        _damage(tmp_path / "store.sqlite3")
        assert (await place.get(AGENT, name))["done"] is True
        listed = await place.call(AGENT, "GET", "/v1/operations:mine")
        assert (listed.status_code, reason_of(listed)) == (503, "STORE_UNAVAILABLE")
        assert "the gateway's store does not answer: " in listed.json()["error"]["message"]
        assert (await place.get(AGENT, name))["done"] is True
        assert place.gateway.work_health is not None
        await place.gateway.work_health.examine()
        health = await place.call(AGENT, "GET", "/healthz/operations")
        assert (health.status_code, health.json()["status"]) == (503, "failing")
        assert {"reason": "STORE_FAILING"} in health.json()["reasons"]

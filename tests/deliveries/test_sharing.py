"""Replicas that share the work, and a process that is unsure of what it has."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lro_gateway.deliveries import courses
from lro_gateway.deliveries.happenings import DONE, STARTED
from lro_gateway.errors import Code, status_error
from lro_gateway.records.event_entries import Selection
from lro_gateway.records.event_log import SqlEvents
from lro_gateway.records.location import Location
from lro_gateway.records.outbox import SqlOutbox
from tests.deliveries.receiver import answering, receiving
from tests.deliveries.stages import ALICE, Demo, body_of, staged
from tests.postgresql import PostgreSql


async def test_another_replica_takes_over(tmp_path: Path, demo: Demo, server: PostgreSql) -> None:
    """What one replica has left, another one follows; and it hears of events of the other."""
    backend, gate = demo
    location = Location.parse(server.create_database())
    async with receiving(answering(200)) as receiver, AsyncExitStack() as stack:
        other = await stack.enter_async_context(staged(location, backend, tmp_path))
        async with staged(location, backend, tmp_path) as stage:
            name = await stage.start()
            made = await stage.hook(receiver, backend="demo", name=name)
            assert [len(each.deliveries.trackers) for each in (stage, other)] == [1, 0]
        gate.release()
        (received,) = await receiver.after(1)
        assert body_of(received, made)["data"]["operation"] == name


async def test_a_replica_that_counted_as_dead_leaves_everything_to_others(
    tmp_path: Path, demo: Demo, server: PostgreSql
) -> None:
    """It goes on with nothing that another one has taken, although it still runs."""
    backend, gate = demo
    url = server.create_database()
    location = Location.parse(url)
    async with (
        receiving(answering(200)) as receiver,
        staged(location, backend, tmp_path) as stage,
    ):
        name = await stage.start()
        made = await stage.hook(receiver, backend="demo", name=name)
        # Another process has taken over, because this one was silent for too long.
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute("INSERT INTO replicas VALUES ('another', now())")
            await connection.execute("UPDATE trackers SET replica = 'another'")
            await connection.execute("DELETE FROM replicas WHERE id <> 'another'")
        await stage.deliveries.sharing.take_over()
        assert len(stage.deliveries.trackers) == 0
        gate.release()
        assert (await stage.deliveries.deliveries(ALICE, made.subscription.id)) == ([], "")


async def test_a_process_that_cannot_show_in_time_that_it_runs_follows_nothing_meanwhile(
    tmp_path: Path, demo: Demo, server: PostgreSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may have taken over. It goes on with what the store then says that it has."""
    backend, _ = demo
    url = server.create_database()
    async with (
        staged(Location.parse(url), backend, tmp_path) as stage,
        await psycopg.AsyncConnection.connect(url) as connection,
    ):
        selection = Selection(backend="demo", name=await stage.start())
        await stage.deliveries.page(ALICE, selection, None)
        trackers, sharing = stage.deliveries.trackers, stage.deliveries.sharing
        assert len(trackers) == 1
        await connection.execute("LOCK TABLE replicas")
        monkeypatch.setattr(sharing._replicas, "lease", 0.1)  # noqa: SLF001 - seconds are too long
        taking = asyncio.create_task(sharing.take_over())
        async with asyncio.timeout(60):
            while len(trackers):
                await connection.execute("SELECT 1")
            monkeypatch.undo()
            await connection.rollback()
            await taking
            while not len(trackers):
                await connection.execute("SELECT 1")


async def test_a_process_shows_that_it_runs_although_its_writes_wait(
    tmp_path: Path, demo: Demo, server: PostgreSql
) -> None:
    """Otherwise all replicas would count each other as dead on a disk that is slow."""
    url = server.create_database()
    goes_on = threading.Event()
    async with (
        staged(Location.parse(url), demo[0], tmp_path) as stage,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
    ):
        replicas = stage.deliveries._records.replicas  # noqa: SLF001 - it has no other face
        await replicas.look()
        slow = asyncio.create_task(replicas._database.write(lambda _: goes_on.wait()))  # noqa: SLF001
        await connection.execute("UPDATE replicas SET beat = now() - interval '1 h'")
        await replicas.look()
        query = "SELECT count(*) FROM replicas WHERE beat > now() - interval '1 h'"
        (row,) = await (await connection.execute(query)).fetchall()
        goes_on.set()
        await slow
    assert row == (1,)


async def test_a_process_that_begins_to_stop_hands_over_although_requests_go_on(
    tmp_path: Path, demo: Demo, server: PostgreSql
) -> None:
    """The others hear of it, and follow its operations before it has ended."""
    backend, gate = demo
    location = Location.parse(server.create_database())
    async with (
        receiving(answering(200)) as receiver,
        staged(location, backend, tmp_path) as other,
        staged(location, backend, tmp_path) as stage,
    ):
        name = await stage.start()
        made = await stage.hook(receiver, backend="demo", name=name)
        stage.gateway.service.close()
        gate.release()
        (received,) = await receiver.after(1)
        assert body_of(received, made)["data"]["operation"] == name
        await other.deliveries.sender.drain()
        (delivery,), _ = await other.deliveries.deliveries(ALICE, made.subscription.id)
        assert delivery.attempts == 1


async def test_the_work_of_a_process_that_nobody_knows_is_taken_over(
    tmp_path: Path, demo: Demo, server: PostgreSql
) -> None:
    """A process may die between a write and the next sign that it runs."""
    backend, gate = demo
    url = server.create_database()
    async with (
        receiving(answering(200)) as receiver,
        staged(Location.parse(url), backend, tmp_path) as stage,
    ):
        name = await stage.start()
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(
                "INSERT INTO trackers VALUES"
                " ('demo', %s, '', '', '', '', 'nobody', 0, '', '', NULL, now(), NULL)",
                [name],
            )
        made = await stage.hook(receiver, backend="demo", name=name)
        await stage.deliveries.sharing.take_over()
        gate.release()
        (received,) = await receiver.after(1)
        assert body_of(received, made)["data"]["operation"] == name


def _losing(method: Callable[..., Awaitable[Any]], number: int) -> Callable[..., Awaitable[Any]]:
    """Return a method whose answer is lost on so many calls, although the work is done."""
    left = [number]

    async def losing(self: Any, *arguments: Any) -> Any:
        result = await method(self, *arguments)
        if left[0]:
            left[0] -= 1
            self._database.activity.failed("the connection is lost")
            raise status_error(Code.UNAVAILABLE, "the connection is lost", "STORE_UNAVAILABLE")
        return result

    return losing


async def test_a_write_whose_answer_is_lost_loses_no_event(
    location: Location, tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The follower goes on after the event that is in the store, and the event is delivered."""
    monkeypatch.setattr(courses, "_PAUSE", 0.01)
    monkeypatch.setattr(SqlEvents, "emit", _losing(SqlEvents.emit, 2))
    server, gate = demo
    async with receiving(answering(200)) as receiver, staged(location, server, tmp_path) as stage:
        name = await stage.start()
        made = await stage.hook(receiver, backend="demo", name=name, kinds=(STARTED, DONE))
        await stage.deliveries.sharing.take_over()
        await receiver.after(1)
        gate.release()
        await receiver.after(2)
        await stage.deliveries.sharing.take_over()
        assert [body_of(each, made)["name"] for each in receiver.received] == [STARTED, DONE]


async def test_what_was_taken_over_half_way_is_taken_over_again(
    location: Location, tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store may fail between a takeover and the look at the deliveries."""
    server, gate = demo
    async with receiving(answering(503)) as receiver:
        async with staged(location, server, tmp_path) as stage:
            name = await stage.start()
            made = await stage.hook(receiver, backend="demo", name=name)
            gate.release()
            await receiver.after(1)
        receiver.behavior = answering(200)
        monkeypatch.setattr(SqlOutbox, "of_ids", _losing(SqlOutbox.of_ids, 1))
        async with staged(location, server, tmp_path) as stage:
            await stage.deliveries.sharing.take_over()
            _, received = await receiver.after(2)
            assert body_of(received, made)["name"] == DONE

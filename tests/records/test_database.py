"""Transactions, and what they do while the database does not answer."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from lro_gateway.errors import StatusError
from lro_gateway.records import connecting
from lro_gateway.records import database as module
from lro_gateway.records.database import Database
from lro_gateway.records.location import Location
from tests.postgresql import PASSWORD, PostgreSql, postgresql

_TABLE = sa.Table("t", sa.MetaData(), sa.Column("n", sa.Integer, primary_key=True))


def _create(connection: sa.Connection) -> None:
    _TABLE.create(connection)


def _insert(connection: sa.Connection) -> None:
    connection.execute(_TABLE.insert().values(n=1))


def _insert_one(number: int, connection: sa.Connection) -> None:
    connection.execute(_TABLE.insert().values(n=number))


def _count(connection: sa.Connection) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(_TABLE)) or 0


@pytest.fixture
async def database(location: Location) -> AsyncIterator[Database]:
    """Open a database with one empty table."""
    if location.file is not None:
        location.file.parent.mkdir()
    opened = Database(location)
    await opened.write(_create)
    yield opened
    await opened.close()


async def test_a_write_is_committed_before_it_returns(database: Database) -> None:
    """Another connection finds it."""
    await database.write(_insert)
    assert await database.read(_count) == 1


async def test_a_write_that_fails_changes_nothing(database: Database) -> None:
    """What is wrong with the work is not repeated, and its values are in no error."""

    def twice(connection: sa.Connection) -> None:
        _insert(connection)
        _insert(connection)

    with pytest.raises(sa.exc.IntegrityError):
        await database.write(twice)
    assert await database.read(_count) == 0


async def test_works_that_wait_are_committed_together_in_a_file(database: Database) -> None:
    """One that fails fails alone, and each of the others is written once."""
    begun = 0
    goes_on = threading.Event()

    def count(_connection: sa.Connection) -> None:
        nonlocal begun
        begun += 1

    def wait(_connection: sa.Connection) -> None:
        goes_on.wait()

    sa.event.listen(sa.Engine, "begin", count)
    try:
        waiting = [database.write(wait)]
        waiting += [database.write(partial(_insert_one, number)) for number in (1, 2, 3, 1)]
        tasks = [asyncio.ensure_future(each) for each in waiting]
        # All works wait behind the first one before it ends.
        tasks[-1].get_loop().call_soon(goes_on.set)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in results[1:]] == [type(None)] * 3 + [sa.exc.IntegrityError]
        assert await database.read(_count) == 3
        before = begun
        goes_on.clear()
        waiting = [database.write(wait)]
        waiting += [database.write(partial(_insert_one, number)) for number in (4, 5, 6)]
        tasks = [asyncio.ensure_future(each) for each in waiting]
        tasks[-1].get_loop().call_soon(goes_on.set)
        await asyncio.gather(*tasks)
        # The thread may begin before all works wait, or afterwards.
        together = {1, 2} if database.dialect == "sqlite" else {4}
        assert begun - before in together
    finally:
        sa.event.remove(sa.Engine, "begin", count)


async def test_what_may_wait_lets_others_go_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of outcomes of deliveries would otherwise delay a start for a second."""
    monkeypatch.setattr(module, "_FEW", 1)
    order: list[str] = []
    runs, goes_on = threading.Event(), threading.Event()

    def work(name: str, _connection: sa.Connection) -> None:
        order.append(name)
        if name == "first":
            runs.set()
            goes_on.wait()

    writing = [asyncio.ensure_future(database.write(partial(work, "first"), may_wait=True))]
    await asyncio.to_thread(runs.wait)
    for name in ("later", "latest", "start"):
        writes = database.write(partial(work, name), may_wait=name != "start")
        writing.append(asyncio.ensure_future(writes))
    # All works wait behind the first one before it ends.
    asyncio.get_running_loop().call_soon(goes_on.set)
    await asyncio.gather(*writing)
    assert order == ["first", "start", "later", "latest"]


async def test_what_may_wait_has_its_turn_in_a_flood(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deliveries would otherwise stop for as long as operations start without a pause."""
    monkeypatch.setattr(module, "_LONG", 0.0)
    queued = threading.Semaphore(0)

    def flood(_connection: sa.Connection) -> None:
        # The next one waits already when this one ends.
        queued.acquire()

    writing = [asyncio.ensure_future(database.write(flood)) for _ in range(2)]
    later = asyncio.ensure_future(database.write(_insert, may_wait=True))
    while not later.done():
        writing.append(asyncio.ensure_future(database.write(flood)))
        await asyncio.sleep(0)
        queued.release()
    queued.release(len(writing))
    await asyncio.gather(*writing)
    assert await database.read(_count) == 1


async def test_a_file_that_another_program_has_locked_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup may lock the file for a moment. Reads go on meanwhile, and a write fails in time."""
    monkeypatch.setattr(module, "_BUSY", 10)
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    database = Database(Location(tmp_path / "store.sqlite3"))
    await database.write(_create)
    other = sqlite3.connect(tmp_path / "store.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StatusError, match="database is locked"):
        await database.write(_insert)
    assert await database.read(_count) == 0
    other.execute("ROLLBACK")
    other.close()
    monkeypatch.setattr(module, "_PATIENCE", 30.0)
    await database.write(_insert)
    assert await database.read(_count) == 1
    await database.close()


async def test_no_copy_goes_into_a_file_that_has_taken_the_place_of_the_store(
    tmp_path: Path,
) -> None:
    """What was committed is still there once the store is put back."""
    file, moved = tmp_path / "store.sqlite3", tmp_path / "moved"
    database = Database(Location(file))
    await database.write(_create)
    await database.write(_insert)
    file.rename(moved)
    file.write_bytes(b"another file")
    await database.checkpoint()
    with pytest.raises(StatusError, match="was moved, deleted or replaced"):
        await database.read(_count)
    assert file.read_bytes() == b"another file"
    moved.replace(file)
    assert await database.read(_count) == 1
    await database.close()
    again = Database(Location(file))
    assert await again.read(_count) == 1
    await again.close()


async def test_a_server_that_crashes_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is down a write fails, without the password. Afterwards the next one works."""
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    with postgresql(is_durable=True) as server:
        database = Database(Location.parse(server.create_database()))
        await database.write(_create)
        server.stop(signal.SIGQUIT)
        for call in (database.write(_insert), database.read(_count)):
            with pytest.raises(StatusError) as caught:
                await call
            assert caught.value.reason == "STORE_UNAVAILABLE"
            assert PASSWORD not in str(caught.value)
        server.start()
        monkeypatch.setattr(module, "_PATIENCE", 30.0)
        await database.write(_insert)
        assert await database.read(_count) == 1
        await database.close()


async def test_works_that_wait_behind_one_that_failed_are_not_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Otherwise each caller would wait for the tries of all callers before it, one by one."""
    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    connect, tries, all_wait = psycopg.connect, [], threading.Event()

    def counted(**parameters: Any) -> Any:
        tries.append(parameters)
        all_wait.wait()
        return connect(**parameters)

    monkeypatch.setattr(psycopg, "connect", counted)
    database = Database(Location.parse(f"postgresql:///store?host={tmp_path}"))
    calls = [asyncio.create_task(database.write(_insert)) for _ in range(20)]
    await asyncio.sleep(0)
    all_wait.set()
    failed = await asyncio.gather(*calls, return_exceptions=True)
    assert [each.reason for each in failed if isinstance(each, StatusError)] == [
        "STORE_UNAVAILABLE"
    ] * len(calls)
    # The only try is that of the first one.
    assert len(tries) == 1
    with pytest.raises(StatusError):
        await database.write(_insert)
    assert len(tries) == 2
    await database.close()


async def test_a_lost_connection_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that restarted between two calls is noticed by no caller."""
    monkeypatch.setattr(module, "_PATIENCE", 30.0)
    with postgresql() as server:
        database = Database(Location.parse(server.create_database()))
        await database.write(_create)
        server.stop(signal.SIGQUIT)
        server.start()
        await database.write(_insert)
        assert await database.read(_count) == 1
        await database.close()


async def test_a_process_that_stops_in_a_transaction_holds_up_the_others_for_a_moment(
    server: PostgreSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends its transaction, and its work runs again when the process goes on."""
    monkeypatch.setattr(connecting, "_SESSION", "SET idle_in_transaction_session_timeout = '2s'")
    location = Location.parse(server.create_database())
    stopped, other = Database(location), Database(location)
    await stopped.write(_create)
    goes_on = threading.Event()
    has_inserted = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(connection: sa.Connection) -> None:
        _insert(connection)
        loop.call_soon_threadsafe(has_inserted.set)
        goes_on.wait()
        connection.execute(_TABLE.delete())

    writing = asyncio.create_task(stopped.write(stop))
    await has_inserted.wait()
    await other.write(_insert)
    await other.write(lambda connection: connection.execute(_TABLE.delete()).close())
    goes_on.set()
    await writing
    assert await other.read(_count) == 0
    for each in (stopped, other):
        await each.close()


async def test_what_a_process_tells_another_one_hears(
    server: PostgreSql, caplog: pytest.LogCaptureFixture
) -> None:
    """With the payload, and the end of a listener is not logged."""
    database = Database(Location.parse(server.create_database()))
    heard: asyncio.Queue[str] = asyncio.Queue()
    listening = asyncio.create_task(database.listen("channel", heard.put_nowait))

    def tell(connection: sa.Connection) -> None:
        connection.execute(sa.text("NOTIFY channel, 'something'"))

    # It may have missed something before.
    assert await heard.get() == ""
    await database.write(tell)
    assert await heard.get() == "something"
    listening.cancel()
    await asyncio.wait([listening])
    await database.close()
    assert caplog.records == []

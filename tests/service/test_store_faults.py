"""What callers see while the store fails, and what it has afterwards."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2

from lro_gateway.records import database, entries
from lro_gateway.records.location import Location
from lro_gateway.records.opening import open_store
from tests import factory
from tests.contrary import Answer, ContraryBackend
from tests.gateways import serving
from tests.postgresql import PostgreSql, postgresql

_METHOD = factory.method("DeleteMachine").path
_REASONS = {"STORE_UNAVAILABLE", "START_NOT_RECORDED"}


@dataclass
class Callers:
    """Clients of a gateway: the names that they got, and the reasons of their errors."""

    client: httpx.AsyncClient
    names: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Start an operation, and keep what the caller got."""
        answer = await self.client.post(f"/v1/{_METHOD}", json={"name": "machines/1"})
        body = answer.json()
        if answer.is_success:
            self.names.append(body["name"])
        else:
            assert answer.status_code == 503, body
            self.reasons.append(body["error"]["details"][0]["reason"])
            self.messages.append(body["error"]["message"])
        self._moved.set()

    async def start_for_ever(self) -> None:
        """Start one operation after the other."""
        while True:
            await self.start()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on what the callers got holds."""
        async with asyncio.timeout(60):
            while not condition():
                self._moved.clear()
                await self._moved.wait()

    async def read(self) -> int:
        """Return the status of a read, which needs no store."""
        return (await self.client.get("/v1/operations/0")).status_code

    async def recorded(self) -> set[str]:
        """Return the names in the journal."""
        found: set[str] = set()
        query: dict[str, Any] = {"pageSize": 100}
        while True:
            body = (await self.client.get("/v1/operations:mine", params=query)).json()
            found |= {each["name"] for each in body["operations"] if "name" in each}
            query["pageToken"] = body.get("nextPageToken")
            if not query["pageToken"]:
                return found


@asynccontextmanager
async def calling(location: Location) -> AsyncIterator[Callers]:
    """Serve a gateway with a store, in front of a backend whose operations run for ever."""
    started: list[str] = []

    async def start(_request: Any, _context: Any) -> Answer:
        started.append(f"operations/{len(started)}")
        return _operation(started[-1])

    async def get(request: Any, _context: Any) -> Answer:
        return _operation(request.name)

    async with (
        ContraryBackend.open(
            {"GetOperation": get},
            methods={_METHOD: start},
            reflection_versions=("v1",),
            pool=factory.pool(),
        ) as backend,
        serving({"name": "b", "target": backend.target}, store=location, sync_grace="0s") as url,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        callers = Callers(client)
        await callers.start()
        yield callers
        assert set(callers.names) <= await callers.recorded()
        assert set(callers.reasons) <= _REASONS


def _operation(name: str) -> Answer:
    found: Answer = operations_pb2.Operation(name=name)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Location:
    """Return the location of a new file of SQLite."""
    return Location(tmp_path / "store.sqlite3")


@dataclass
class Connections:
    """The connections of the store to its file. New ones execute the last pragma too."""

    opened: list[sqlite3.Connection] = field(default_factory=list)
    pragma: str = ""

    def execute(self, pragma: str) -> None:
        """Execute a pragma on all connections."""
        self.pragma = pragma
        for each in self.opened:
            # The store has closed the connections that have failed.
            with suppress(sqlite3.ProgrammingError):
                each.execute(pragma).close()


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Connections:
    """Collect the connections of the store to its file."""
    found = Connections()
    prepare = database._prepare_sqlite  # noqa: SLF001 - the place where all connections pass

    def prepared(connection: Any, record: Any) -> None:
        prepare(connection, record)
        if found.pragma:
            connection.execute(found.pragma).close()
        found.opened.append(connection)

    monkeypatch.setattr(database, "_prepare_sqlite", prepared)
    return found


async def test_a_server_that_crashes_under_load_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While it is down, starts fail before the backend gets them, and reads go on."""
    monkeypatch.setattr(database, "_PATIENCE", 0.2)
    with postgresql(is_durable=True) as server:
        async with calling(Location.parse(server.create_database())) as callers:
            running = [asyncio.create_task(callers.start_for_ever()) for _ in range(4)]
            await callers.until(lambda: len(callers.names) > 20)
            await asyncio.to_thread(server.stop, signal.SIGQUIT)
            await callers.until(lambda: len(callers.reasons) > 4)
            assert await callers.read() == 200
            await asyncio.to_thread(server.start)
            before = len(callers.names)
            await callers.until(lambda: len(callers.names) > before + 20)
            for task in running:
                task.cancel()
            await asyncio.wait(running)


async def test_a_full_disk_is_told_and_room_is_enough(
    file: Location, connections: Connections
) -> None:
    """A database that may not grow fails as one on a full disk does."""
    async with calling(file) as callers:
        # SQLite takes the present size if it is larger.
        connections.execute("PRAGMA max_page_count=1")
        while len(callers.reasons) < 2:
            await callers.start()
        assert "database or disk is full" in callers.messages[0]
        assert await callers.read() == 200
        assert await callers.recorded() >= set(callers.names)
        connections.execute(f"PRAGMA max_page_count={2**32 - 2}")
        started = len(callers.names)
        await callers.start()
        assert len(callers.names) == started + 1


@dataclass
class Disk:
    """A small file system of its own."""

    path: Path

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self) -> None:
        """Leave no room."""
        with self._ballast.open("ab", buffering=0) as file, suppress(OSError):
            for size in (2**20, 4096):
                with suppress(OSError):
                    while file.write(b"x" * size):
                        pass

    def free(self) -> None:
        """Leave the room that there was before."""
        self._ballast.unlink()


@pytest.fixture
def disk() -> Iterator[Disk]:
    """Mount a small disk, which only root can do."""
    path = Path(tempfile.mkdtemp(prefix="lro-disk-", dir="/tmp"))
    path.chmod(0o755)
    try:
        mount = ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(path)]
        if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode != 0:
            pytest.skip("this user cannot mount a file system; the test before this one needs none")
        try:
            yield Disk(path)
        finally:
            subprocess.run(["umount", str(path)], check=True)
    finally:
        path.rmdir()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_disk_that_is_full_under_load_loses_nothing(disk: Disk, kind: str) -> None:
    """What is acknowledged is recorded, reads go on, and starts do once there is room again."""
    with ExitStack() as stack:
        location = Location(disk.path / "store.sqlite3")
        if kind == "postgresql":
            server = stack.enter_context(postgresql(is_durable=True, place=disk.path))
            location = Location.parse(server.create_database())
        async with calling(location) as callers:
            running = [asyncio.create_task(callers.start_for_ever()) for _ in range(4)]
            await callers.until(lambda: len(callers.names) > 20)
            disk.fill()
            await callers.until(lambda: len(callers.reasons) > 4)
            assert re.search(r"is full|No space left on device", " ".join(callers.messages))
            assert await callers.read() == 200
            disk.free()
            before = len(callers.names)
            await callers.until(lambda: len(callers.names) > before + 20)
            for task in running:
                task.cancel()
            await asyncio.wait(running)


async def test_a_lock_of_another_process_is_waited_for_and_told(
    file: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is over when the other process ends its transaction."""
    monkeypatch.setattr(database, "_BUSY", 50)
    monkeypatch.setattr(database, "_PATIENCE", 0.0)
    async with calling(file) as callers:
        assert file.file is not None
        with closing(sqlite3.connect(file.file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await callers.start()
            assert callers.messages == ["the gateway's store does not answer: database is locked"]
            assert await callers.read() == 200
            assert await callers.recorded() == set(callers.names)
            other.execute("ROLLBACK")
        monkeypatch.setattr(database, "_PATIENCE", 30.0)
        await callers.start()
        assert len(callers.names) == 2


async def test_a_file_that_cannot_be_written_for_a_while_is_opened_again(
    file: Location, connections: Connections
) -> None:
    """The connection to it could stay one that only reads."""
    async with calling(file) as callers:
        connections.execute("PRAGMA query_only=ON")
        await callers.start()
        assert "attempt to write a readonly database" in callers.messages[0]
        assert await callers.read() == 200
        connections.pragma = ""
        while len(callers.names) < 2:
            await callers.start()
        # Each connection fails once at most.
        assert len(callers.reasons) <= len(connections.opened)


async def test_what_would_go_into_a_deleted_file_is_refused(file: Location) -> None:
    """SQLite itself would write on into the file that nobody can open any more."""
    async with calling(file) as callers:
        assert file.file is not None
        moved = file.file.with_name("moved")
        file.file.rename(moved)
        await callers.start()
        assert "was moved, deleted or replaced; put it back" in callers.messages[0]
        file.file.write_bytes(b"another file")
        await callers.start()
        assert await callers.read() == 200
        assert (len(callers.names), len(callers.reasons)) == (1, 2)
        moved.replace(file.file)
        await callers.start()
        assert len(callers.names) == 2


def _vacuum(connection: sqlite3.Connection, target: Path) -> None:
    connection.execute("VACUUM INTO ?", (str(target),))


def _backup(connection: sqlite3.Connection, target: Path) -> None:
    # The command `.backup` of sqlite3 does the same.
    with closing(sqlite3.connect(target)) as other:
        connection.backup(other)


@pytest.mark.parametrize("back_up", [_vacuum, _backup])
async def test_a_backup_of_a_running_gateway_has_all_that_was_acknowledged(
    file: Location, back_up: Callable[[sqlite3.Connection, Path], None]
) -> None:
    """It is restored as docs/operating.md says: the gateway stops, and the file is replaced."""
    async with calling(file) as callers:
        assert file.file is not None
        with closing(sqlite3.connect(file.file)) as other:
            back_up(other, file.file.with_name("backup"))
        names = set(callers.names)
        await callers.start()
    file.file.write_bytes(b"no database any more" * 1000)
    file.file.with_name("backup").replace(file.file)
    async with calling(file) as restored:
        assert names <= await restored.recorded()


async def test_a_dump_of_a_running_gateway_is_restored(server: PostgreSql, tmp_path: Path) -> None:
    """`pg_dump` waits for nobody, and `pg_restore` makes the tables in an empty database."""
    dump = str(tmp_path / "store.dump")
    source = server.create_database()
    async with calling(Location.parse(source)) as callers:
        await asyncio.to_thread(server.run, "pg_dump", "-Fc", "-f", dump, source)
        names = set(callers.names)
        await callers.start()
    target = server.create_database()
    await asyncio.to_thread(server.run, "pg_restore", "--no-owner", "-d", target, dump)
    async with calling(Location.parse(target)) as restored:
        assert names <= await restored.recorded()


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_clock_that_is_stepped_loses_nothing(
    location: Location, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that another replica takes for abandoned meanwhile is recorded all the same."""
    step = 0.0
    clock = SimpleNamespace(
        time=lambda: time.time() + step,
        time_ns=lambda: time.time_ns() + int(step * 1e9),
    )
    monkeypatch.setattr(entries, "time", clock)
    async with calling(location) as callers:
        step = dt.timedelta(hours=hours).total_seconds()
        await callers.start()
        if location.dsn:
            async with open_store(location):
                await callers.start()
        step = 0.0
        await callers.start()
        assert not callers.reasons
        body = (await callers.client.get("/v1/operations:mine")).json()
        assert {each["state"] for each in body["operations"]} == {"running"}

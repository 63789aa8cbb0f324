"""An open store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lro_gateway.records.location import Location, StoreError
from lro_gateway.records.opening import examine, open_store
from lro_gateway.records.upgrade import LATEST
from tests.postgresql import PASSWORD, PostgreSql

_PAGE = 4096
"""The size of a page of a file of SQLite, in bytes."""
_SQLITE = "sqlalchemy.dialects.sqlite"


async def test_a_store_is_created_and_found_again(location: Location) -> None:
    """The second start finds the schema of the first."""
    async with open_store(location) as created:
        assert created.before is None
    async with open_store(location) as found:
        assert found.before == found.version == LATEST


async def test_an_examination_creates_nothing(location: Location) -> None:
    """It tells what a start would do."""
    assert await examine(location) == "new"
    assert location.file is None or not location.file.exists()
    async with open_store(location):
        assert await examine(location) == f"schema {LATEST}"


async def test_a_file_that_cannot_be_created_is_found(tmp_path: Path) -> None:
    """A path through a file has no directory."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be created by this user"):
        await examine(Location(tmp_path / "file" / "store.sqlite3"))


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """The gateway overwrites no file of another program."""
    file = tmp_path / "store.sqlite3"
    file.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="file is not a database"):
        async with open_store(Location(file)):
            pass
    assert file.read_bytes() == b"not a database" * 100


async def test_a_damaged_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """Wherever the damage is that the start meets, there is a sentence and no traceback."""
    file = tmp_path / "store.sqlite3"
    beside = [file.with_name(f"store.sqlite3-{each}") for each in ("wal", "shm")]
    async with open_store(Location(file)):
        pass
    content = file.read_bytes()
    pages = len(content) // _PAGE
    refusals = []
    for page in range(1, pages, 4):
        damaged = content[: page * _PAGE] + b"\xff" * (len(content) - page * _PAGE)
        file.write_bytes(damaged)
        try:
            async with open_store(Location(file)):
                pass
        except StoreError as error:
            refusals.append(str(error))
        for each in beside:
            each.unlink(missing_ok=True)
    assert len(refusals) > pages // 8
    what = "restore a backup, or move the file away to begin with an empty store"
    for text in refusals:
        assert text.startswith(f"SQLite at {file}: the gateway's store does not answer: "), text
        assert text.endswith(f"; {what}"), text


async def test_a_refused_login_is_reported_without_the_password(
    server: PostgreSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the wrong password nor the right one is in the error."""
    monkeypatch.setattr("lro_gateway.records.database._PATIENCE", 0.1)
    wrong = Location.parse(server.dsn().replace(PASSWORD, "hunter2"))
    with pytest.raises(StoreError, match="password authentication failed") as caught:
        async with open_store(wrong):
            pass
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__!r}"


def test_a_gateway_without_a_store_imports_no_database_library() -> None:
    """The import would take 0.2 s and 12 MB."""
    code = (
        "import sys, lro_gateway.commands.serving\n"
        "print({'sqlalchemy', 'alembic', 'psycopg'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


def test_a_store_imports_the_dialect_of_its_database_alone(location: Location) -> None:
    """Those of others would take up to 2 MB, and the ORM or Alembic far more."""
    code = (
        "import asyncio, sys\n"
        "from lro_gateway.records.location import Location\n"
        "from lro_gateway.records.opening import open_store\n"
        "async def run():\n"
        "    async with open_store(Location.parse(sys.argv[1])) as store:\n"
        "        await store.events.replicas.look()\n"
        "asyncio.run(run())\n"
        "names = ['sqlalchemy.dialects.sqlite', 'sqlalchemy.dialects.postgresql', 'psycopg',"
        " 'sqlalchemy.orm', 'sqlalchemy.ext', 'alembic']\n"
        "print(*(name for name in names if name in sys.modules))"
    )
    url = location.dsn or f"sqlite:///{location.file}"
    command = [sys.executable, "-c", code, url]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = "sqlalchemy.dialects.postgresql psycopg" if location.dsn else _SQLITE
    assert ran.stdout == f"{expected}\n"

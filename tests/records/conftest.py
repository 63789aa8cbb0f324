"""The databases on which the tests of the store run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lro_gateway.records.location import Location
from tests.postgresql import PostgreSql, postgresql


@pytest.fixture(scope="session")
def server() -> Iterator[PostgreSql]:
    """Run one PostgreSQL server for all tests of a process."""
    with postgresql() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """Return the location of a store that does not exist yet, on each kind of database."""
    if request.param == "sqlite":
        return Location(tmp_path / "state" / "store.sqlite3")
    running: PostgreSql = request.getfixturevalue("server")
    return Location.parse(running.create_database())

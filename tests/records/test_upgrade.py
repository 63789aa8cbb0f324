"""The schema of a database, and its versions."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from lro_gateway.records.database import Database
from lro_gateway.records.location import Location, StoreError
from lro_gateway.records.opening import examine, open_store
from lro_gateway.records.schema import METADATA, REVISIONS
from lro_gateway.records.upgrade import LATEST, migrate, upgrade, version_of
from tests.postgresql import PostgreSql


@pytest.fixture
async def database(location: Location) -> AsyncIterator[Database]:
    """Open a database without tables."""
    if location.file is not None:
        location.file.parent.mkdir()
    opened = Database(location)
    yield opened
    await opened.close()


def _differences(connection: sa.Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    # Alembic's own table is not in the metadata.
    return [
        each for each in compare_metadata(context, METADATA) if "alembic_version" not in str(each)
    ]


async def test_the_migrations_make_the_same_tables(database: Database) -> None:
    """A database that was upgraded step by step has the tables of a new one."""

    def migrated(connection: sa.Connection) -> None:
        for version in REVISIONS:
            migrate(connection, version)
            assert version_of(connection) == version

    await database.write(migrated)
    assert await database.read(_differences) == []
    assert await database.write(upgrade) == LATEST


async def test_a_migration_may_compute_for_longer_than_other_transactions(
    server: PostgreSql,
) -> None:
    """The server would otherwise end it on a slow machine, and the gateway would not start."""
    database = Database(Location.parse(server.create_database()))
    shown = sa.text("SHOW idle_in_transaction_session_timeout")

    def migrated(connection: sa.Connection) -> Any:
        migrate(connection, LATEST)
        return connection.scalar(shown)

    assert await database.write(migrated) == "2min"
    assert await database.write(lambda connection: connection.scalar(shown)) == "3s"
    await database.close()


async def test_a_new_file_has_the_options_of_a_migrated_one(tmp_path: Path) -> None:
    """These options of tables are only of SQLite, and Alembic does not compare them."""
    works: dict[str, Callable[[sa.Connection], object]] = {
        "new": upgrade,
        "migrated": partial(migrate, version=LATEST),
    }
    found: list[dict[str, set[str]]] = []
    for name, work in works.items():
        database = Database(Location(tmp_path / name))
        await database.write(work)
        found.append(await database.read(_options))
        await database.close()
    new, migrated = found
    assert new == migrated
    assert new["operations"] == {"WITHOUT ROWID"}
    assert new["events"] == {"AUTOINCREMENT"}


def _options(connection: sa.Connection) -> dict[str, set[str]]:
    tables = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    known = ("WITHOUT ROWID", "AUTOINCREMENT")
    return {name: {each for each in known if each in sql} for name, sql in tables}


async def test_an_earlier_version_can_write_into_a_later_schema(database: Database) -> None:
    """While replicas of two versions run, the earlier one knows no new column."""

    def columns(connection: sa.Connection) -> dict[str, dict[str, bool]]:
        inspector = sa.inspect(connection)
        return {
            table: {
                str(each["name"]): bool(each["nullable"]) or each["default"] is not None
                for each in inspector.get_columns(table)
            }
            for table in inspector.get_table_names()
        }

    def compared(connection: sa.Connection) -> list[object]:
        migrate(connection, "0007")
        before = columns(connection)
        migrate(connection, LATEST)
        after = columns(connection)
        return [
            (table, name)
            for table, known in before.items()
            for name in {*known, *after.get(table, {})}
            if name not in after.get(table, {}) or (name not in known and not after[table][name])
        ]

    assert await database.write(compared) == []


_SAMPLES: Final[Mapping[type[Any], Any]] = {
    sa.Boolean: True,
    sa.Float: 1.5,
    sa.Integer: 7,
    sa.LargeBinary: b"bytes",
    sa.DateTime: dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
    sa.String: "text",
}


def _rows(connection: sa.Connection) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of all tables but that of the version."""
    tables = sa.MetaData()
    tables.reflect(connection)
    return {
        name: [{**row} for row in connection.execute(sa.select(table)).mappings()]
        for name, table in tables.tables.items()
        if name != "alembic_version"
    }


@pytest.mark.parametrize("version", REVISIONS[:-1])
async def test_the_rows_of_each_earlier_version_stay(database: Database, version: str) -> None:
    """Each of their values, in every table. What is new has a value too, where it must."""

    def upgraded(connection: sa.Connection) -> list[dict[str, list[dict[str, Any]]]]:
        migrate(connection, version)
        tables = sa.MetaData()
        tables.reflect(connection)
        for table in tables.sorted_tables:
            values = {
                column.name: value
                for column in table.columns
                for kind, value in _SAMPLES.items()
                if isinstance(column.type, kind)
            }
            if table.name != "alembic_version":
                connection.execute(table.insert().values(values))
        before = _rows(connection)
        assert upgrade(connection) == version
        return [before, _rows(connection)]

    before, after = await database.write(upgraded)
    assert before
    for table, rows in before.items():
        kept = [{name: row[name] for name in rows[0]} for row in after[table]]
        assert (table, kept) == (table, rows)


async def test_a_new_database_gets_all_tables(database: Database) -> None:
    """Its version is the latest, so no migration runs on it later."""
    assert await database.write(upgrade) is None
    assert await database.read(_differences) == []
    assert await database.write(upgrade) == LATEST


def test_each_version_has_a_migration() -> None:
    """The list of versions, which a start reads without Alembic, is Alembic's own."""
    configuration = Config()
    path = files("lro_gateway.records") / "migrations"
    configuration.set_main_option("script_location", str(path))
    revisions = ScriptDirectory.from_config(configuration).walk_revisions()
    assert [each.revision for each in revisions] == [*reversed(REVISIONS)]


async def test_a_newer_schema_refuses_to_start(location: Location) -> None:
    """An older program could write rows that the newer one reads wrongly."""
    async with open_store(location):
        pass
    database = Database(location)
    changed = sa.text("UPDATE alembic_version SET version_num = '9999'")
    await database.write(lambda connection: connection.execute(changed).close())
    await database.close()
    with pytest.raises(StoreError, match="has version 9999, and this program knows none after"):
        async with open_store(location):
            pass


@pytest.mark.parametrize(
    ("made", "table"),
    [
        (["CREATE TABLE operations (x integer)"], "operations"),
        (
            [
                "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
                "INSERT INTO alembic_version VALUES ('ae1027a6acf2')",
            ],
            "alembic_version",
        ),
    ],
)
async def test_a_database_of_another_program_is_refused(
    location: Location, made: list[str], table: str
) -> None:
    """The gateway changes none of its tables, and says which one it has met."""
    if location.file is not None:
        location.file.parent.mkdir(exist_ok=True)
    database = Database(location)

    def make(connection: sa.Connection) -> None:
        for each in made:
            connection.execute(sa.text(each))

    await database.write(make)
    await database.close()
    for opening in (open_store(location).__aenter__, lambda: examine(location)):
        with pytest.raises(StoreError, match=f"its table {table} is of another program"):
            await opening()


async def test_a_schema_without_a_table_is_refused(location: Location) -> None:
    """An examination finds it too, and nothing fails later, in the middle of a call."""
    async with open_store(location):
        pass
    database = Database(location)
    changed = sa.text("DROP TABLE approvals")
    await database.write(lambda connection: connection.execute(changed).close())
    await database.close()
    for opening in (open_store(location).__aenter__, lambda: examine(location)):
        with pytest.raises(StoreError, match="it has no table approvals, although its schema"):
            await opening()


async def test_replicas_that_start_together_upgrade_once(server: PostgreSql) -> None:
    """The first of them creates the tables, and the others wait and find them."""
    location = Location.parse(server.create_database())
    databases = [Database(location) for _ in range(4)]
    found = await asyncio.gather(*(each.write(upgrade) for each in databases))
    await asyncio.gather(*(each.close() for each in databases))
    assert sorted(map(str, found)) == [LATEST, LATEST, LATEST, "None"]


async def test_the_same_indexes_have_conditions_in_both_ways(database: Database) -> None:
    """An index of all rows would cost each write, and each finished operation."""

    def conditions(connection: sa.Connection) -> dict[str, str]:
        inspector = sa.inspect(connection)
        return {
            str(index["name"]): str(condition)
            for table in METADATA.tables
            for index in inspector.get_indexes(table)
            for option, condition in index.get("dialect_options", {}).items()
            if option.endswith("_where")
        }

    def both(connection: sa.Connection) -> tuple[dict[str, str], dict[str, str]]:
        upgrade(connection)
        made = conditions(connection)
        METADATA.drop_all(connection)
        connection.execute(sa.text("DELETE FROM alembic_version"))
        migrate(connection, LATEST)
        return made, conditions(connection)

    made, migrated = await database.write(both)
    assert made == migrated
    assert made["operations_unfinished"].strip("()") == "finished IS NULL"

"""Brings the schema of a database to the version of this program.

A new database gets its tables at once. Only an older one needs Alembic, which takes half a second
to import.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from lro_gateway.records.event_schema import EVENTS
from lro_gateway.records.importing import imported
from lro_gateway.records.location import StoreError
from lro_gateway.records.schema import REVISIONS

LATEST: Final = REVISIONS[-1]
"""The version of this program."""
_VERSION: Final = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), primary_key=True),
)
_OWN_VERSION: Final = re.compile(r"[0-9]{4}\Z")
"""Matches the versions of all gateways. Alembic makes longer ones by default."""
_TIME_TO_COMPUTE: Final = sa.text("SET LOCAL idle_in_transaction_session_timeout = '2min'")
"""Lets this transaction wait for its process, which computes between two statements.

Alembic is imported and reads its scripts meanwhile. With a tenth of a core that takes longer than
the three seconds of other transactions (`records/connecting`).
"""
_ADVISORY_LOCK: Final = 0x6C726F67
"""The key of PostgreSQL's lock that replicas hold while they upgrade: `lrog`."""


def version_of(connection: Connection) -> str | None:
    """Return the version of the schema, or None if the database has none.

    Raises `StoreError` if this program does not know the version, if tables are missing, or if
    another program has made tables of these names.
    """
    tables = {*sa.inspect(connection).get_table_names()}
    found = (
        connection.scalar(sa.select(_VERSION.c.version_num)) if _VERSION.name in tables else None
    )
    taken = sorted(EVENTS.metadata.tables.keys() & tables)
    if (found is None and taken) or not _OWN_VERSION.match(found or REVISIONS[0]):
        what = f"table {taken[0] if found is None else _VERSION.name}"
        raise StoreError(
            f"its {what} is of another program, or of a gateway that was interrupted; give the"
            " gateway a database of its own"
        )
    if found is not None and found not in REVISIONS:
        raise StoreError(
            f"its schema has version {found}, and this program knows none after {LATEST}; a newer"
            " lro-gateway has upgraded it, so run that version, or restore a backup"
        )
    if found == LATEST and (missing := sorted(EVENTS.metadata.tables.keys() - tables)):
        raise StoreError(
            f"it has no table {missing[0]}, although its schema has version {found}; restore a"
            " backup, or begin with an empty store"
        )
    return found


def upgrade(connection: Connection) -> str | None:
    """Bring the schema to the latest version, and return the version that it had.

    The connection is in a transaction, which its owner commits. Replicas that start together wait
    for the first of them.
    """
    hold_lock(connection)
    before = version_of(connection)
    if before is None:
        _VERSION.create(connection, checkfirst=True)
        # All tables are in the metadata of this table.
        EVENTS.metadata.create_all(connection)
        connection.execute(_VERSION.insert().values(version_num=LATEST))
    elif before != LATEST:
        migrate(connection, LATEST)
    return before


def hold_lock(connection: Connection) -> None:
    """Wait until no other replica changes the database as a whole, until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))


def migrate(connection: Connection, version: str) -> None:
    """Run Alembic's migrations from the version of the database to a later one."""
    if connection.dialect.name == "postgresql":
        connection.execute(_TIME_TO_COMPUTE)
    # The test of this module compares the result of all migrations with the tables.
    configuration: Any = imported("alembic.config").Config()
    run: Callable[[Any, str], None] = imported("alembic.command").upgrade
    configuration.set_main_option("script_location", str(files(__package__) / "migrations"))
    configuration.attributes["connection"] = connection
    run(configuration, version)

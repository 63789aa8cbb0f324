"""CheckDatabase: SQLite's integrity check of each table, then of the whole file."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from google.rpc import code_pb2

from lro_gateway.demo.databases import (
    Databases,
    damage_is_data_loss,
    is_damage,
    open_to_read,
)
from lro_gateway.demo.names import database_name
from lro_gateway.demo.operations import Progress
from lro_gateway.demo.refusals import RefusedError, refused
from lro_gateway.demo.threads import Threads
from lro_gateway.demo.v1 import database_admin_pb2 as pb

_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
_CHECK_TABLE = "SELECT integrity_check FROM pragma_integrity_check(?)"
_CHECK_FILE = "SELECT integrity_check FROM pragma_integrity_check"


@dataclass(frozen=True, slots=True)
class CheckJob:
    """Checks one database."""

    databases: Databases
    database_id: str

    async def __call__(self, progress: Progress[pb.CheckDatabaseMetadata]) -> pb.CheckReport:
        """Return a report if the database is sound. Raise DATA_LOSS with the problems if not."""
        name = database_name(self.database_id)
        path = self.databases.path(self.database_id)
        with damage_is_data_loss(name), closing(open_to_read(path)) as connection:
            report = await Threads(connection.interrupt).run(_outline, connection, name)
            problems = await _problems(connection, report.tables, progress)
        if problems:
            raise _data_loss(name, problems)
        return report


def _outline(connection: sqlite3.Connection, name: str) -> pb.CheckReport:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    tables = [table for (table,) in connection.execute(_TABLES)]
    return pb.CheckReport(name=name, tables=tables, page_count=pages)


async def _problems(
    connection: sqlite3.Connection,
    tables: Sequence[str],
    progress: Progress[pb.CheckDatabaseMetadata],
) -> list[pb.DamageReport.Problem]:
    threads = Threads(connection.interrupt)
    metadata = progress.metadata
    metadata.phase = metadata.CHECKING_TABLES
    metadata.total_tables = len(tables)
    problems: list[pb.DamageReport.Problem] = []
    for checked, table in enumerate(tables, 1):
        problems += await threads.run(_check, connection, table)
        metadata.tables_checked = checked
        metadata.problems_found = len(problems)
        metadata.progress_percent = 100 * checked // (len(tables) + 1)
        await progress.step()

    metadata.phase = metadata.CHECKING_FILE
    # The check of the file repeats the problems of tables, so it runs only if all tables are sound.
    if not problems:
        problems += await threads.run(_check, connection, "")
        metadata.problems_found = len(problems)
    await progress.step()
    return problems


def _check(connection: sqlite3.Connection, table: str) -> list[pb.DamageReport.Problem]:
    return [
        pb.DamageReport.Problem(table=table, description=description)
        for description in _complaints(connection, table)
        if description != "ok"
    ]


def _complaints(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    try:
        query, arguments = (_CHECK_TABLE, [table]) if table else (_CHECK_FILE, [])
        for (text,) in connection.execute(query, arguments):
            # SQLite reports problems of pages as lines of one text, under a heading with "***".
            yield from (line for line in text.splitlines() if not line.startswith("***"))
    except sqlite3.DatabaseError as error:
        # Some damage makes the check itself fail. The other tables can still be checked.
        if not is_damage(error):
            raise
        yield str(error)


def _data_loss(name: str, problems: list[pb.DamageReport.Problem]) -> RefusedError:
    return refused(
        code_pb2.DATA_LOSS,
        f"database {name!r} is damaged: {problems[0].description}",
        "DATABASE_DAMAGED",
        pb.DamageReport(name=name, problems=problems),
        name=name,
        problems=str(len(problems)),
    )

"""The rows of trackers: which operations nobody follows, among very many."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite

from lro_gateway.records.database import Database
from lro_gateway.records.entries import now
from lro_gateway.records.event_schema import TRACKERS
from lro_gateway.records.location import Location
from lro_gateway.records.opening import open_store
from lro_gateway.records.schema import OPERATIONS
from lro_gateway.records.tracking import UNFOLLOWED

FINISHED, RUNNING = 20_000, 3_000
"""The numbers of rows of the journal."""
_REMOVED = (
    "Rows Removed by Filter",
    "Rows Removed by Join Filter",
    "Rows Removed by Index Recheck",
)
OWNER = dict.fromkeys(("issuer", "subject", "tenant"), "")


def name_of(number: int, *, is_full: bool) -> str:
    """Return one of the two names of an operation."""
    return f"//b/jobs/{number}" if is_full else f"jobs/{number}"


def fill(connection: Connection) -> None:
    """Add operations that have ended, and operations that run and are followed, but for the last.

    Half of the trackers have the other name of the operation.
    """
    at = now()
    times = dict.fromkeys(("started", "answer_by", "changed", "seen"), at)
    last = FINISHED + RUNNING
    operations: list[dict[str, Any]] = [
        {
            **(OWNER | times),
            "id": f"{number:032x}",
            "client": "",
            "backend": "b",
            "name": name_of(number, is_full=number % 2 == 1),
            "method": "p.S/M",
            "request_digest": "",
            "state": "running" if number > FINISHED else "succeeded",
            "finished": None if number > FINISHED else at,
        }
        for number in range(1, last + 1)
    ]
    trackers = [
        {
            **OWNER,
            "backend": "b",
            "name": name_of(number, is_full=number % 4 > 1),
            "method": "p.S/M",
            "replica": "r",
            "number": 1,
            "state": "running",
            "stage": "",
            "changed": at,
        }
        for number in range(FINISHED + 1, last)
    ]
    connection.execute(OPERATIONS.insert(), operations).close()
    connection.execute(TRACKERS.insert(), trackers).close()
    if connection.dialect.name == "postgresql":
        # Its own worker does this within a minute.
        connection.execute(sa.text("ANALYZE")).close()


def read(plan: Mapping[str, Any]) -> int:
    """Return how many rows PostgreSQL has read for a plan that it has run, with its parts."""
    kept = plan["Actual Rows"] + sum(plan.get(key, 0) for key in _REMOVED)
    return int(kept * plan["Actual Loops"]) + sum(map(read, plan.get("Plans", ())))


def work_of(connection: Connection) -> int:
    """Look once, and return the number of rows that PostgreSQL reads, or of the steps of SQLite."""
    dialect = connection.dialect
    if dialect.name == "postgresql":
        query = str(UNFOLLOWED.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        explain = sa.text(f"EXPLAIN (ANALYZE, FORMAT JSON) {query.replace(':', chr(92) + ':')}")
        return read(connection.execute(explain).scalar_one()[0]["Plan"])
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 100

    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(count, 100)
    connection.execute(UNFOLLOWED).all()
    driver.set_progress_handler(None, 0)
    return steps


async def test_the_operations_that_nobody_follows_are_found_with_little_work(
    location: Location,
) -> None:
    """Each replica looks for them every two seconds, so a look must not read the whole journal.

    If it compared each operation with each tracker, these would be nine million comparisons.
    """
    async with open_store(location):
        pass
    database = Database(location)
    try:
        await database.write(fill)
        found = await database.read(lambda connection: connection.execute(UNFOLLOWED).all())
        work = await database.read(work_of)
    finally:
        await database.close()
    assert [row.name for row in found] == [name_of(FINISHED + RUNNING, is_full=False)]
    assert work < 100 * RUNNING


async def test_the_search_reads_only_what_runs(tmp_path: Path) -> None:
    """SQLite has no statistics, and would otherwise read the journal in the order of its ids."""
    location = Location(tmp_path / "store.sqlite3")
    async with open_store(location):
        pass
    database = Database(location)
    compiled = UNFOLLOWED.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    plan = sa.text(f"EXPLAIN QUERY PLAN {compiled}")
    try:
        steps = await database.read(lambda connection: connection.execute(plan).all())
    finally:
        await database.close()
    read = [row[3] for row in steps if row[3].startswith(("SCAN", "SEARCH"))]
    assert read[0] == "SCAN operations USING INDEX operations_unfinished"
    assert all("(backend=? AND name=?)" in each for each in read[1:])

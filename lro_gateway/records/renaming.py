"""Gives the rows of a backend that has another name now to the present name.

A process that runs with the former name would no longer find the rows. Then operations would have
no owners there, and it would show them to everybody.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Collection, Mapping
from functools import partial
from typing import Final

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from lro_gateway.records.database import Database
from lro_gateway.records.event_schema import EVENTS, REPLICAS, SUBSCRIPTIONS, TRACKERS
from lro_gateway.records.location import StoreError
from lro_gateway.records.replicas import LEASE
from lro_gateway.records.schema import APPROVALS, OPERATIONS
from lro_gateway.records.upgrade import hold_lock

logger: Final = logging.getLogger(__name__)

_NAMES: Final = {
    OPERATIONS: OPERATIONS.c.name,
    APPROVALS: APPROVALS.c.operation,
    EVENTS: EVENTS.c.name,
    TRACKERS: TRACKERS.c.name,
    SUBSCRIPTIONS: SUBSCRIPTIONS.c.name,
}
"""The tables with names of backends, and where each has the name of an operation."""
_PAUSE: Final = 0.5
"""Seconds between two looks at the beats of other processes. A beat comes every two seconds."""
_RUNNING: Final = (
    "backend {new!r} was {old!r} before, and {number} other processes that use this store run; one"
    " that still knows the backend as {old!r} would no longer find what the store has of its"
    " operations, and would show them to everybody; stop all of them, and then start them with the"
    " new name"
)


async def rename(database: Database, former: Mapping[str, str]) -> None:
    """Give the rows of each former name to the present one, in the names of operations too.

    It changes nothing if it runs again. Replicas that start together wait for the first of them.
    Raises `StoreError` if there are such rows and other processes run. One that has not ended in
    order counts as running until it has shown nothing for a lease.
    """
    began, first = time.monotonic(), None
    gone: Collection[str] = ()
    while beats := await database.write(partial(_rename, former, gone)):
        first = beats if first is None else first
        if running := beats.items() - first.items():
            old, new = next(iter(former.items()))
            raise StoreError(_RUNNING.format(old=old, new=new, number=len(running)))
        if time.monotonic() - began >= LEASE:
            gone = [*first]
        await asyncio.sleep(_PAUSE)


def _rename(
    former: Mapping[str, str], gone: Collection[str], connection: Connection
) -> Mapping[str, dt.datetime]:
    """Move the rows, unless other processes may run; then return their last beats."""
    hold_lock(connection)
    moved = {old: new for old, new in former.items() if _has_rows(old, connection)}
    others = sa.select(REPLICAS.c.id, REPLICAS.c.beat).where(REPLICAS.c.id.not_in(gone))
    beats = {row.id: row.beat for row in connection.execute(others)} if moved else {}
    if not beats:
        _move(moved, connection)
    return beats


def _has_rows(backend: str, connection: Connection) -> bool:
    found = (sa.exists().where(table.c.backend == backend) for table in _NAMES)
    return bool(connection.scalar(sa.select(sa.or_(*found))))


def _move(former: Mapping[str, str], connection: Connection) -> None:
    for old, new in former.items():
        _drop_second_trackers(old, new, connection)
        numbers = {
            table.name: connection.execute(
                table.update()
                .where(table.c.backend == old)
                .values({"backend": new, name.name: _renamed(name, old, new)})
            ).rowcount
            for table, name in _NAMES.items()
        }
        if any(numbers.values()):
            moved = ", ".join(f"{number} {table}" for table, number in numbers.items() if number)
            logger.info("backend %r was %r before: the store has moved %s", new, old, moved)


def _renamed(name: ColumnElement[str], old: str, new: str) -> ColumnElement[str]:
    """Return the expression of a name in which `//old/` has become `//new/`."""
    prefix = f"//{old}/"
    rest = sa.func.substr(name, len(prefix) + 1)
    begins = sa.func.substr(name, 1, len(prefix)) == prefix
    return sa.case((begins, sa.literal(f"//{new}/", sa.Text).concat(rest)), else_=name)


def _drop_second_trackers(old: str, new: str, connection: Connection) -> None:
    """Remove the trackers of a former name whose operations the present one tracks already."""
    present = TRACKERS.alias()
    is_twice = sa.exists().where(
        present.c.backend == new, present.c.name == _renamed(TRACKERS.c.name, old, new)
    )
    connection.execute(TRACKERS.delete().where(TRACKERS.c.backend == old, is_twice))

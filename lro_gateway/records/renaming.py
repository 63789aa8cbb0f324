"""Moves the rows of operations that have another name now, or whose backend has one.

A process that runs with the former name would no longer find the rows. Then operations would have
no owners there, and it would show them to everybody.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Final

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from lro_gateway.operations.names import NameMapping
from lro_gateway.records.changed_names import Retranslation, StoredNames
from lro_gateway.records.database import Database
from lro_gateway.records.entries import recorded_names, storable
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
_OLD: Final = sa.bindparam("old_name", type_=sa.Text)
_NEW: Final = sa.bindparam("new_name", type_=sa.Text)
_PAUSE: Final = 0.5
"""Seconds between two looks at the beats of other processes. A beat comes every two seconds."""
_RUNNING: Final = (
    "{change}, and {number} other processes that use this store run; one that still has the former"
    " configuration would no longer find what the store has of the operations of this backend, and"
    " would show them to everybody; stop all of them, and then start them with the new"
    " configuration"
)


async def rename(database: Database, names: StoredNames) -> None:
    """Give the rows of each former name to the present one.

    It changes nothing if it runs again. Replicas that start together wait for the first of them.
    Raises `StoreError` if there are such rows and other processes run. One that has not ended in
    order counts as running until it has shown nothing for a lease.
    """
    began, first = time.monotonic(), None
    gone: Collection[str] = ()
    while (found := await database.write(partial(_rename, names, gone))) is not None:
        change, beats = found
        first = beats if first is None else first
        if running := beats.items() - first.items():
            raise StoreError(_RUNNING.format(change=change, number=len(running)))
        if time.monotonic() - began >= LEASE:
            gone = [*first]
        await asyncio.sleep(_PAUSE)


def _rename(
    names: StoredNames, gone: Collection[str], connection: Connection
) -> tuple[str, Mapping[str, dt.datetime]] | None:
    """Move the rows, unless other processes may run.

    Then return a sentence about what is to be moved, and the last beats of the others.
    """
    hold_lock(connection)
    former = {old: new for old, new in names.former.items() if _has_rows(old, connection)}
    others = sa.select(REPLICAS.c.id, REPLICAS.c.beat).where(REPLICAS.c.id.not_in(gone))
    beats = {row.id: row.beat for row in connection.execute(others)}
    for old, new in former.items():
        if beats:
            return f"backend {new!r} was {old!r} before", beats
        _move(old, new, connection)
    for backend, retranslation in names.retranslated.items():
        changes = _changes(backend, retranslation, connection)
        if changes and beats:
            return f"the names of operations of backend {backend!r} have changed", beats
        _retranslate(backend, changes, connection)
    return None


def _has_rows(backend: str, connection: Connection) -> bool:
    found = (sa.exists().where(table.c.backend == backend) for table in _NAMES)
    return bool(connection.scalar(sa.select(sa.or_(*found))))


def _move(old: str, new: str, connection: Connection) -> None:
    _drop_second_trackers(old, new, connection)
    numbers = {
        table.name: connection.execute(
            table.update()
            .where(table.c.backend == old)
            .values({"backend": new, name.name: _renamed(name, old, new)})
        ).rowcount
        for table, name in _NAMES.items()
    }
    moved = ", ".join(f"{number} {table}" for table, number in numbers.items() if number)
    logger.info("backend %r was %r before: the store has moved %s", new, old, moved)


def _changes(backend: str, retranslation: Retranslation, connection: Connection) -> dict[str, str]:
    """Return the present names of operations by the names that the store has."""
    if not retranslation.former:
        return {}
    found: dict[str, str] = {}
    for table, column in _NAMES.items():
        of = (table.c.backend == backend, _may_match(column, backend, retranslation.former))
        for name in connection.execute(sa.select(column).where(*of).distinct()).scalars():
            present = storable(retranslation.present(name))
            if present not in recorded_names(backend, name):
                found[name] = present
    return found


def _may_match(
    name: ColumnElement[str], backend: str, former: Sequence[NameMapping]
) -> ColumnElement[bool]:
    """Return whether a name begins as those of former patterns do, in one of its forms."""
    begins = {each.gateway.prefix for each in former}
    begins |= {f"//{backend}/{each.backend.prefix}" for each in former}
    return sa.or_(*(sa.func.substr(name, 1, len(text)) == text for text in begins))


def _retranslate(backend: str, changes: Mapping[str, str], connection: Connection) -> None:
    """Give the rows of operations to their present names."""
    if not changes:
        return
    present = TRACKERS.alias()
    is_twice = sa.exists().where(present.c.backend == backend, present.c.name == _NEW)
    of = (TRACKERS.c.backend == backend, TRACKERS.c.name == _OLD)
    rows = [{"old_name": old, "new_name": new} for old, new in changes.items()]
    connection.execute(TRACKERS.delete().where(*of, is_twice), rows)
    for table, name in _NAMES.items():
        of = (table.c.backend == backend, name == _OLD)
        connection.execute(table.update().where(*of).values({name.name: _NEW}), rows)
    logger.info(
        "backend %r: %d operations in the store had other names before, and have the present ones"
        " now",
        backend,
        len(changes),
    )


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

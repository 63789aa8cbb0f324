"""The rows of trackers in a database: an operation has one, whatever its name is or was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from lro_gateway.records.entries import recorded_names
from lro_gateway.records.event_entries import Tracked
from lro_gateway.records.event_rows import owner_values, tracked_of
from lro_gateway.records.event_schema import TRACKERS
from lro_gateway.records.owners import Owner
from lro_gateway.records.schema import OPERATIONS, insert_into
from lro_gateway.records.statements import WAS_STARTED, adopted_row

_T: Final = TRACKERS.c
_O: Final = OPERATIONS.c
_MOST: Final = 10_000
"""The number of operations that become followed at a time."""
_PREFIX: Final = sa.literal("//") + _O.backend + "/"
_OTHER: Final = sa.case(
    (
        sa.func.substr(_O.name, 1, sa.func.length(_PREFIX)) == _PREFIX,
        sa.func.substr(_O.name, sa.func.length(_PREFIX) + 1),
    ),
    else_=_PREFIX + _O.name,
)
"""The other name of an operation of the journal, as `recorded_names` has it."""


def _is_followed(name: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Return whether an operation of the journal has a tracker under a name."""
    of = (_T.backend == _O.backend, _T.name == name, _T.finished.is_(None))
    return sa.select(_T.name).where(*of).exists()


UNFOLLOWED: Final = (
    sa.select(_O.backend, _O.name, _O.method, _O.issuer, _O.subject, _O.tenant)
    .where(_O.finished.is_(None), _O.name.is_not(None), WAS_STARTED)
    # Measured on PostgreSQL: one condition for both names compares each operation with each
    # tracker, and two conditions are two hash joins.
    .where(~_is_followed(_O.name), ~_is_followed(_OTHER))
    # By the id itself, SQLite would read the whole table in its order, and not the index of the
    # operations that run.
    .order_by((_O.id + "").desc())
    .limit(_MOST)
)
"""Selects the running operations of the journal that nobody follows, the newest first."""


def track(
    replica: str, row: dict[str, Any], subscriber: Owner | None, connection: Connection
) -> Tracked | None:
    """Make a replica the tracker of an operation; return None if it has or had one.

    If the journal does not have it, a `subscriber` lets the journal adopt it.
    """
    names = recorded_names(row["backend"], row["name"])
    other = sa.select(_T.name).where(_T.backend == row["backend"], _T.name == names[1])
    if connection.scalar(other) is not None:
        # It was tracked under the name that it had with other backends in the configuration.
        row = {**row, "name": names[1]}
    started = connection.execute(
        sa.select(_O.method, _O.issuer, _O.subject, _O.tenant)
        .where(_O.backend == row["backend"], _O.name.in_(names))
        .order_by(_O.id)
        .limit(1)
    ).first()
    if started is None and subscriber is not None:
        adopted = adopted_row(subscriber, row["backend"], names[0])
        connection.execute(OPERATIONS.insert().values(adopted))
    # A subscriber has not started the operation, so it is not its owner.
    unknown = {"method": "", **owner_values(Owner("", "", ""))}
    row = {**row, **(started._asdict() if started is not None and started.method else unknown)}
    insert = insert_into(connection.dialect.name, TRACKERS).values(row).on_conflict_do_nothing()
    connection.execute(insert)
    is_of = (_T.backend == row["backend"]) & (_T.name == row["name"])
    # The lock of the row, and SQLite's one writer, keep the end of the operation from slipping
    # between a new subscription and its look at the log.
    known = connection.execute(sa.select(TRACKERS).where(is_of).with_for_update()).one()
    is_new = known.replica == replica and known.number == 0 and known.finished is None
    return tracked_of(known) if is_new else None


def track_all(
    replica: str, rows: Sequence[dict[str, Any]], connection: Connection
) -> list[Tracked]:
    """Insert rows of trackers, and return those that are new or were inserted by a run before."""
    others = {(each["backend"], recorded_names(each["backend"], each["name"])[1]) for each in rows}
    known = sa.select(_T.backend, _T.name).where(
        _T.backend.in_({backend for backend, _ in others}),
        _T.name.in_({name for _, name in others}),
    )
    tracked = others & {(row.backend, row.name) for row in connection.execute(known)}
    rows = [
        each
        for each in rows
        if (each["backend"], recorded_names(each["backend"], each["name"])[1]) not in tracked
    ]
    if not rows:
        return []
    insert = insert_into(connection.dialect.name, TRACKERS).on_conflict_do_nothing()
    connection.execute(insert, rows)
    wanted = {(each["backend"], each["name"]) for each in rows}
    query = sa.select(TRACKERS).where(
        _T.replica == replica,
        _T.finished.is_(None),
        _T.name.in_([each["name"] for each in rows]),
    )
    return [
        tracked_of(row)
        for row in connection.execute(query)
        if row.number == 0 and (row.backend, row.name) in wanted
    ]

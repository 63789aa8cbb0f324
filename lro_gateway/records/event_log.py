"""The log of events in a database, which the trackers of operations write."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from lro_gateway.principal import Principal
from lro_gateway.records import tracking
from lro_gateway.records.database import Database
from lro_gateway.records.entries import REPLACED, new_id, now
from lro_gateway.records.event_entries import (
    Delivery,
    Emission,
    Event,
    EventPage,
    OnTheirWay,
    Position,
    Selection,
    Target,
    Tracked,
)
from lro_gateway.records.event_rows import (
    delivery_values,
    event_of,
    event_values,
    owner_values,
    tracked_of,
)
from lro_gateway.records.event_schema import (
    DELIVERIES,
    EVENTS,
    IS_PENDING,
    TRACKERS,
)
from lro_gateway.records.outbox import inserted
from lro_gateway.records.owners import Owner
from lro_gateway.records.subscribers import subscribers

_E: Final = EVENTS.c
_T: Final = TRACKERS.c
_D: Final = DELIVERIES.c
_LAST: Final = 2**62
_SCANNED: Final = 2_000
"""The number of events among which one page searches."""
_SEARCHED: Final = 10_000
"""The number of events among which a new subscription searches for those that it has missed."""
_XID: Final[sa.ColumnElement[int]] = sa.literal_column("pg_current_xact_id()::text::bigint")
_SETTLED: Final[sa.ColumnElement[int]] = sa.literal_column(
    "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
)
"""Every transaction of PostgreSQL before this one has ended."""

# A statement that is made once takes a third of the time of one that is made for each event.
_NEXT: Final = TRACKERS.update().where(
    _T.backend == sa.bindparam("of_backend"),
    _T.name == sa.bindparam("of_name"),
    _T.replica == sa.bindparam("of_replica"),
    _T.number == sa.bindparam("of_number"),
)
_INSERT: Final = EVENTS.insert().values(transaction=0)
_INSERT_WITH_XID: Final = EVENTS.insert().values(transaction=_XID)
_NOTIFY: Final = sa.text("NOTIFY lro_gateway_events")
_NUMBERED: Final = sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
"""The greatest number that an event of SQLite has had. It may have expired."""
OLDEST_PENDING: Final = (
    sa.select(_E.id, _E.transaction, _E.sequence)
    .join_from(DELIVERIES, EVENTS, _D.event == _E.id)
    .where(_D.subscription == sa.bindparam("of_subscription"), IS_PENDING)
    .order_by(_E.transaction, _E.sequence)
    .limit(2)
)
"""The first two events that a subscription has not got yet."""
_SUBSCRIBE: Final = 0x6C726F65
"""The key of PostgreSQL's lock that a new subscription holds: `lroe`.

It waits for the events that are being written without a delivery for it, and then reads them.
"""


class _LostError(Exception):
    """Another process has become the tracker of an operation."""


class SqlEvents:
    """The log of one database. `replica` is the id of this process."""

    def __init__(self, database: Database, replica: str, version: int) -> None:
        self._database = database
        self._replica = replica
        self._version = version
        self._is_postgresql = database.dialect == "postgresql"

    async def track(self, target: Target, subscriber: Owner | None = None) -> Tracked | None:
        """Make this process the tracker of an operation; return None if it has or had one.

        The journal has the caller and the method that started the operation. If nobody has started
        it here, the journal adopts it for a `subscriber`.
        """
        row = self._row(target)
        work = partial(tracking.track, self._replica, row, subscriber)
        return await self._database.write(work, may_wait=True)

    async def track_all(self, unfollowed: Sequence[Tracked]) -> list[Tracked]:
        """Make this process the tracker of operations; return those that had none."""
        rows = [
            {**self._row(each.target), "method": each.method, **owner_values(each.owner)}
            # All processes lock rows in this order, so no two of them wait for each other.
            for each in sorted(unfollowed, key=lambda each: each.target)
        ]
        work = partial(tracking.track_all, self._replica, rows)
        return await self._database.write(work, may_wait=True)

    def _row(self, target: Target) -> dict[str, Any]:
        return {
            "backend": target.backend,
            "name": target.name,
            "replica": self._replica,
            "number": 0,
            "state": "",
            "stage": "",
            "percent": None,
            "changed": now(),
            "finished": None,
            "version": self._version,
        }

    async def known(self, target: Target) -> Tracked | None:
        """Return the last event of a tracker, or None if this process is the tracker no more.

        Return None after the end of the operation.
        """
        query = sa.select(TRACKERS).where(
            _T.backend == target.backend,
            _T.name == target.name,
            _T.replica == self._replica,
            _T.finished.is_(None),
        )
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else tracked_of(row)

    async def emit(self, news: Sequence[Emission]) -> list[list[Delivery] | None]:
        """Write events and their deliveries, and return the deliveries of each event.

        A result is None if another process has become the tracker of the operation. The first
        attempts of the deliveries have begun when this returns, so that they need no other
        transaction.
        """
        try:
            return await self._database.write(partial(self._emit_all, news), may_wait=True)
        except _LostError:
            works = [partial(self._emit, each) for each in news]
            return [await self._database.write(work, may_wait=True) for work in works]

    def _emit_all(
        self, news: Sequence[Emission], connection: Connection
    ) -> list[list[Delivery] | None]:
        """Write events if this process is the tracker of all operations, and raise if not."""
        # All processes lock rows in this order, so no two of them wait for each other.
        rows = [self._next(each) for each in sorted(news, key=lambda each: each.known.target)]
        if connection.execute(_NEXT, rows).rowcount != len(news):
            raise _LostError
        return [*self._append([each.event for each in news], connection)]

    def _emit(self, each: Emission, connection: Connection) -> list[Delivery] | None:
        if connection.execute(_NEXT, self._next(each)).rowcount != 1:
            # The transaction may run a second time although its first commit took effect.
            return self._appended(each.event, connection)
        return self._append([each.event], connection)[0]

    def _next(self, each: Emission) -> dict[str, Any]:
        known, event = each.known, each.event
        return {
            "of_backend": known.target.backend,
            "of_name": known.target.name,
            "of_replica": self._replica,
            "of_number": known.number,
            "number": event.number,
            "state": event.state,
            "stage": each.stage,
            "percent": each.percent,
            "changed": event.at,
            "finished": event.at if event.kind == "operation.done" else None,
        }

    def _appended(self, event: Event, connection: Connection) -> list[Delivery] | None:
        """Return the deliveries of an event that was written before, or None if it was not."""
        if connection.scalar(sa.select(_E.id).where(_E.id == event.id)) is None:
            return None
        query = sa.select(_D.id, _D.subscription).where(
            _D.event == event.id, _D.replica == self._replica, _D.state == "pending"
        )
        return [
            Delivery(row.id, row.subscription, event, attempts=1)
            for row in connection.execute(query)
        ]

    async def append(self, event: Event) -> list[Delivery]:
        """Write an event that has no tracker, and its deliveries, as `emit` does."""
        return await self._database.write(partial(self._append_once, event), may_wait=True)

    def _append_once(self, event: Event, connection: Connection) -> list[Delivery]:
        before = self._appended(event, connection)
        return self._append([event], connection)[0] if before is None else before

    def _append(self, events: Sequence[Event], connection: Connection) -> list[list[Delivery]]:
        """Write events and their deliveries, and return the deliveries of each event."""
        insert = _INSERT_WITH_XID if self._is_postgresql else _INSERT
        connection.execute(insert, [event_values(each) for each in events])
        if self._is_postgresql:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(_SUBSCRIBE)))
        deliveries = [
            [Delivery(new_id(), id_, event, attempts=1) for id_ in ids]
            for event, ids in zip(events, subscribers(connection, events), strict=True)
        ]
        if any(deliveries):
            rows = [
                delivery_values(each, self._replica, self._version)
                for of_event in deliveries
                for each in of_event
            ]
            ids = set(connection.execute(inserted(connection.dialect.name), rows).scalars())
            deliveries = [[each for each in found if each.id in ids] for found in deliveries]
        if self._is_postgresql:
            connection.execute(_NOTIFY)
        return deliveries

    async def unfollowed(self) -> list[Tracked]:
        """Return running operations of the journal that nobody follows, the newest first."""
        rows = await self._database.read(lambda c: c.execute(tracking.UNFOLLOWED).all())
        return [
            Tracked(
                Target(row.backend, row.name),
                row.method,
                Owner(row.issuer, row.subject, row.tenant),
            )
            for row in rows
            # The backend does not know the operation by the name that the store has.
            if REPLACED not in row.name
        ]

    async def after(
        self, position: Position, caller: Principal, selection: Selection, limit: int
    ) -> EventPage:
        """Return the next events that a selection of a caller has after a position.

        If the position is one that this log has not reached, for example because an older copy of
        the database was restored, the page is truncated and ends at the end of the log.
        """
        work = partial(self._after, position, caller, selection, limit)
        return await self._database.read(work)

    def _after(
        self,
        position: Position,
        caller: Principal,
        selection: Selection,
        limit: int,
        connection: Connection,
    ) -> EventPage:
        rows = _rows_after(position, selection)
        if self._is_postgresql:
            rows = rows.where(_E.transaction < _SETTLED)
        found = connection.execute(rows.order_by(_E.transaction, _E.sequence).limit(_SCANNED)).all()
        if not found and position > self._end(connection):
            return EventPage((), self._end(connection), truncated=True)
        events: list[Event] = []
        end = position
        for row in found:
            event = event_of(row)
            if selection.has(event, Owner.of(caller)):
                if len(events) == limit:
                    return EventPage(events, end, has_more=True)
                events.append(event)
            end = event.position
        return EventPage(events, end, has_more=len(found) == _SCANNED)

    async def end(self) -> Position:
        """Return a position that is before every event which is written from now on."""
        return await self._database.read(self._end)

    def _end(self, connection: Connection) -> Position:
        if self._is_postgresql:
            settled = connection.scalar(sa.select(_SETTLED))
            return Position(int(settled or 1) - 1, _LAST)
        return Position(0, connection.scalar(_NUMBERED) or 0)

    async def newest(
        self, position: Position, caller: Principal, selection: Selection, limit: int
    ) -> EventPage:
        """Return the newest events that a selection of a caller has after a position.

        They are all that were written before the call, also those that readers do not see yet. If
        there may be more, the page is truncated.
        """
        return await self._database.write(partial(self._newest, position, caller, selection, limit))

    def _newest(
        self,
        position: Position,
        caller: Principal,
        selection: Selection,
        limit: int,
        connection: Connection,
    ) -> EventPage:
        if self._is_postgresql:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SUBSCRIBE)))
        rows = _rows_after(position, selection).order_by(_E.transaction.desc(), _E.sequence.desc())
        found = connection.execute(rows.limit(_SEARCHED)).all()
        events = [event_of(row) for row in found]
        chosen = [each for each in events if selection.has(each, Owner.of(caller))]
        truncated = len(found) == _SEARCHED or len(chosen) > limit
        return EventPage(chosen[:limit][::-1], position, truncated)

    async def on_their_way(self, subscription: str) -> OnTheirWay:
        """Return which events a subscription has not got yet."""
        return await self._database.read(partial(self._on_their_way, subscription))

    def _on_their_way(self, subscription: str, connection: Connection) -> OnTheirWay:
        found = connection.execute(OLDEST_PENDING, {"of_subscription": subscription}).all()
        oldest = [(row.id, Position(row.transaction, row.sequence)) for row in found]
        return OnTheirWay(oldest, self._end(connection))

    async def last_of(self, target: Target) -> Event | None:
        """Return the newest event of an operation."""
        query = (
            sa.select(EVENTS)
            .where(_E.backend == target.backend, _E.name.in_(target.names))
            .order_by(_E.number.desc())
            .limit(1)
        )
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else event_of(row)


def _rows_after(position: Position, selection: Selection) -> sa.Select[Any]:
    here = sa.tuple_(_E.transaction, _E.sequence)
    rows = sa.select(EVENTS).where(here > sa.tuple_(*map(sa.literal, position)))
    if (target := selection.target) is not None:
        rows = rows.where(_E.backend == target.backend, _E.name.in_(target.names))
    return rows

"""The deliveries in a database: which are due, and how each attempt ended."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from lro_gateway.records.database import Database
from lro_gateway.records.entries import new_id, now
from lro_gateway.records.event_entries import (
    MEASURED,
    Delivery,
    DeliveryState,
    Event,
    Health,
    Outcome,
)
from lro_gateway.records.event_rows import delivery_of, delivery_values, event_of
from lro_gateway.records.event_schema import DELIVERIES, EVENTS, SUBSCRIPTIONS
from lro_gateway.records.newest import newest_first
from lro_gateway.records.schema import insert_into

_D: Final = DELIVERIES.c
_S: Final = SUBSCRIPTIONS.c
_ROWS: Final = sa.select(
    EVENTS,
    *(_D.id.label("delivery"), _D.subscription, _D.attempts, _D.due),
    *(_D.state.label("delivery_state"), _D.status, _D.error, _D.finished),
).join_from(DELIVERIES, EVENTS, _D.event == EVENTS.c.id)
_AT_ONCE: Final = 200
_MINE: Final = DELIVERIES.update().where(
    _D.id == sa.bindparam("of_id"), _D.replica == sa.bindparam("of_replica")
)


class SqlOutbox:
    """The deliveries of one database. `replica` is the id of this process."""

    def __init__(self, database: Database, replica: str, version: int) -> None:
        self._database = database
        self._replica = replica
        self._version = version

    async def claim(self, delivery: Delivery) -> bool:
        """Record that an attempt begins; return False if this process must not make it.

        Another process has then taken the delivery over, or it is not pending any more.
        """
        statement = (
            DELIVERIES.update()
            .where(
                _D.id == delivery.id,
                _D.replica == self._replica,
                _D.state == DeliveryState.PENDING.value,
                _D.attempts.in_([delivery.attempts - 1, delivery.attempts]),
            )
            .values(attempts=delivery.attempts)
        )
        return await self._changed(statement)

    async def settle(self, delivery: Delivery, outcome: Outcome) -> Health | None:
        """Record how an attempt ended, and return how those of the subscription end.

        If another process has the delivery now, nothing is recorded, and None is returned. If
        nothing was sent, only a loss counts, and None is returned.
        """
        return await self._database.write(partial(self._settle, delivery, outcome), may_wait=True)

    def _settle(
        self, delivery: Delivery, outcome: Outcome, connection: Connection
    ) -> Health | None:
        at = now()
        is_final = outcome.state is not DeliveryState.PENDING
        values: dict[str, Any] = {
            "state": outcome.state.value,
            "status": outcome.status,
            "error": outcome.error,
            "finished": at if is_final else None,
        }
        if not is_final and not outcome.is_sent:
            values["attempts"] = delivery.attempts - 1
        if outcome.again is not None:
            values["due"] = outcome.again
        of = {"of_id": delivery.id, "of_replica": self._replica}
        if connection.execute(_MINE, {**of, **values}).rowcount != 1:
            return None
        if not outcome.is_sent:
            if outcome.is_lost:
                lost = SUBSCRIPTIONS.update().where(_S.id == delivery.subscription)
                connection.execute(lost.values(lost=_S.lost + 1))
            return None
        return _measured(delivery.subscription, outcome, at, connection)

    async def add(self, event: Event, subscription: str) -> str | None:
        """Add a delivery of an event whose time is past; return its id, or None if there is one."""
        values = self._new(event, subscription)
        statement = inserted(self._database.dialect)
        return await self._written(lambda connection: connection.scalar(statement, values))

    async def replay(self, event: Event, subscription: str, begun: dt.datetime) -> str | None:
        """Add a delivery as `add` does, or make one due now that has ended before `begun`."""
        values = self._new(event, subscription)
        statement = _replayed(self._database.dialect)
        return await self._written(
            lambda connection: connection.scalar(statement, {**values, "begun": begun})
        )

    def _new(self, event: Event, subscription: str) -> dict[str, Any]:
        delivery = Delivery(new_id(), subscription, event)
        return delivery_values(delivery, self._replica, self._version)

    async def _written(self, work: Callable[[Connection], str | None]) -> str | None:
        return await self._database.write(work, may_wait=True)

    async def go_on(self, subscription: str, errors: Sequence[str]) -> list[str]:
        """Make deliveries due now that have ended with one of these errors; return their ids."""
        is_dead = _D.state == DeliveryState.DEAD.value
        return await self._renewed(
            _D.subscription == subscription, is_dead, _D.error.in_([*errors])
        )

    async def of_ids(self, ids: Sequence[str]) -> list[Delivery]:
        """Return deliveries, in the order of their ids."""
        found: list[Delivery] = []
        for at in range(0, len(ids), _AT_ONCE):
            query = _ROWS.where(_D.id.in_(ids[at : at + _AT_ONCE])).order_by(_D.id)
            found += await self._database.read(partial(_deliveries, query))
        return found

    async def page(
        self, subscription: str, before: str, limit: int, state: DeliveryState | None = None
    ) -> list[Delivery]:
        """Return deliveries of a subscription, the newest first, before an id."""
        query = newest_first(_ROWS, (_D.subscription, _D.id), [subscription], before=before)
        if state is not None:
            query = query.where(_D.state == state.value)
        query = query.limit(limit)
        return await self._database.read(partial(_deliveries, query))

    async def again(self, subscription: str, id_: str) -> list[Delivery]:
        """Make one delivery due now, and return it."""
        return await self._renew(_D.subscription == subscription, _D.id == id_)

    async def again_page(
        self, subscription: str, since: dt.datetime | None, after: str, limit: int
    ) -> tuple[list[Delivery], str]:
        """Make deliveries due now that have not arrived, and return them, the oldest first.

        These are dead, or wait for their next attempt. They are at most `limit`, after an id, and
        not older than `since`. The second result is the id before the next ones, if there are any.
        """
        waits = (_D.state == DeliveryState.PENDING.value) & (_D.due > now())
        where = [
            _D.subscription == subscription,
            _D.id > after,
            (_D.state == DeliveryState.DEAD.value) | waits,
        ]
        if since is not None:
            where.append(_D.created >= since)
        query = sa.select(_D.id).where(*where).order_by(_D.id).limit(limit + 1)
        ids = await self._database.read(lambda found: [*found.execute(query).scalars()])
        following = ids[limit - 1] if len(ids) > limit else ""
        return await self._renew(_D.id.in_(ids[:limit]), *where), following

    async def _renew(self, *where: Any) -> list[Delivery]:
        return await self.of_ids(await self._renewed(*where))

    async def _renewed(self, *where: Any) -> list[str]:
        statement = (
            DELIVERIES.update()
            .where(*where)
            .values(
                state=DeliveryState.PENDING.value,
                attempts=0,
                due=now(),
                finished=None,
                status=None,
                error="",
                replica=self._replica,
                version=self._version,
            )
            .returning(_D.id)
        )
        return await self._database.write(
            lambda found: [*found.execute(statement).scalars()], may_wait=True
        )

    async def _changed(self, statement: Any) -> bool:
        changed = await self._database.write(
            lambda connection: connection.execute(statement).rowcount, may_wait=True
        )
        return changed == 1


def _measured(id_: str, outcome: Outcome, at: dt.datetime, connection: Connection) -> Health | None:
    """Count an attempt of a subscription. After an hour the count begins again."""
    is_delivered = outcome.state is DeliveryState.DELIVERED
    values = {
        "of_id": id_,
        "at": at,
        "old": at - 2 * MEASURED,
        "lost_now": int(outcome.is_lost),
        "error": outcome.error,
    }
    if not is_delivered:
        values["throttled_now"] = outcome.throttled_until
    found = connection.execute(_DELIVERED if is_delivered else _FAILED, values).first()
    if found is None:
        return None
    if found.measured <= at - MEASURED:
        begin = SUBSCRIPTIONS.update().where(_S.id == id_)
        connection.execute(begin.values(measured=at, attempts=0, failures=0))
    return Health(found.failing, found.measured, found.attempts, found.failures)


def _counting(*, is_delivered: bool) -> Any:
    """Return the statement that counts an attempt. It is made once, because that costs most."""
    time = sa.bindparam("at", type_=_S.measured.type)
    since = sa.func.coalesce(_S.measured, time)
    is_old = since < sa.bindparam("old", type_=_S.measured.type)
    counted: dict[str, Any] = {
        "measured": sa.case((is_old, time), else_=since),
        "attempts": sa.case((is_old, 1), else_=_S.attempts + 1),
        "failures": sa.case((is_old, 0), else_=_S.failures) + (0 if is_delivered else 1),
        "lost": _S.lost + sa.bindparam("lost_now", type_=_S.lost.type),
        "failing": None if is_delivered else sa.func.coalesce(_S.failing, time),
    }
    if is_delivered:
        counted["delivered"] = time
    else:
        asked = sa.bindparam("throttled_now", type_=_S.throttled_until.type)
        counted["throttled_until"] = sa.func.coalesce(asked, _S.throttled_until)
    statement = SUBSCRIPTIONS.update().where(_S.id == sa.bindparam("of_id")).values(counted)
    return statement.returning(_S.failing, _S.measured, _S.attempts, _S.failures)


_DELIVERED: Final = _counting(is_delivered=True)
_FAILED: Final = _counting(is_delivered=False)


@cache
def inserted(dialect: str) -> Any:
    """Return the statement that inserts deliveries, except those that there are already.

    It returns the ids of the new ones.
    """
    insert = insert_into(dialect, DELIVERIES)
    once = insert.on_conflict_do_nothing(index_elements=["subscription", "event"])
    return once.returning(_D.id)


@cache
def _replayed(dialect: str) -> Any:
    """Return the statement that inserts a delivery, or begins again one that had ended by then."""
    insert = insert_into(dialect, DELIVERIES)
    renewed = ("replica", "state", "attempts", "due", "status", "error", "finished", "version")
    once = insert.on_conflict_do_update(
        index_elements=["subscription", "event"],
        set_={name: insert.excluded[name] for name in renewed},
        where=(_D.state != DeliveryState.PENDING.value)
        & (_D.created < sa.bindparam("begun", type_=_D.created.type)),
    )
    return once.returning(_D.id)


def _deliveries(query: Any, connection: Connection) -> list[Delivery]:
    return [delivery_of(row, event_of(row)) for row in connection.execute(query)]

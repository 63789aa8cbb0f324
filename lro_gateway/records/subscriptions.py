"""The webhooks in a database."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from lro_gateway.records.database import Database
from lro_gateway.records.entries import now
from lro_gateway.records.event_entries import Subscription, SubscriptionState
from lro_gateway.records.event_rows import owner_values, subscription_of, subscription_values
from lro_gateway.records.event_schema import DELIVERIES, SUBSCRIPTIONS
from lro_gateway.records.owners import Owner

_S: Final = SUBSCRIPTIONS.c
# Each attempt of a delivery needs it, and to make it costs more than to execute it.
_BY_ID: Final = sa.select(SUBSCRIPTIONS).where(_S.id == sa.bindparam("of_id"))
_HISTORY: Final = frozenset({"created", "delivered", "failing", "error", "throttled_until"})
"""The columns that a renewal leaves as they are, because an attempt may change them meanwhile."""


class SqlSubscriptions:
    """The subscriptions of one database, which all replicas read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, subscription: Subscription, most: int) -> bool:
        """Store a subscription in place of an earlier one with its id, whose history stays.

        Returns False, and stores nothing, if its owner would have more than `most`. Readers, which
        have no URL, are counted apart from webhooks.
        """
        return await self._database.write(partial(_put, subscription, most))

    async def get(self, id_: str, owner: Owner | None = None) -> Subscription | None:
        """Return a subscription, or None if there is none, or none of this owner."""
        query = _BY_ID if owner is None else _BY_ID.where(*_of(owner))
        work = partial(_first, query, {"of_id": id_})
        row = await self._database.read(work)
        return None if row is None else subscription_of(row)

    async def page(self, owner: Owner, face: str, after: str, limit: int) -> list[Subscription]:
        """Return the subscriptions of an owner in the order of their ids, after an id."""
        query = (
            sa.select(SUBSCRIPTIONS)
            .where(*_of(owner), _S.face == face, _S.id > after)
            .order_by(_S.id)
            .limit(limit)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [subscription_of(row) for row in rows]

    async def remove(self, id_: str, owner: Owner) -> bool:
        """Remove a subscription and its deliveries; return False if there is none."""
        return await self._database.write(partial(_remove, id_, owner))

    async def is_verified(self, owner: Owner, url: str) -> bool:
        """Return whether an owner has a live subscription of MCP with a URL, which was verified.

        The receiver of a webhook of REST has answered no challenge.
        """
        query = sa.select(_S.id).where(*_of(owner), _S.face == "mcp", _S.url == url, _lives())
        found = await self._database.read(lambda connection: connection.scalar(query.limit(1)))
        return found is not None

    async def of_many(self) -> list[Subscription]:
        """Return the live subscriptions that are not of one operation."""
        query = sa.select(SUBSCRIPTIONS).where(
            _S.name == "",
            _S.state == SubscriptionState.ACTIVE.value,
            _lives(),
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [subscription_of(row) for row in rows]

    async def set_secrets(
        self, id_: str, secrets: Sequence[str], old_until: dt.datetime | None
    ) -> None:
        """Replace the sealed secrets of a subscription."""
        await self._update(id_, {"secrets": json.dumps(secrets), "old_until": old_until})

    async def set_state(self, id_: str, state: SubscriptionState, reason: str) -> None:
        """Suspend, disable or enable a subscription."""
        await self._update(id_, {"state": state.value, "reason": reason})

    async def stop(self, id_: str, state: SubscriptionState, reason: str) -> bool:
        """Suspend or disable an active subscription; return False if it is not active."""
        is_active = _S.state == SubscriptionState.ACTIVE.value
        statement = SUBSCRIPTIONS.update().where(_S.id == id_, is_active)
        return await self._changed(statement.values(state=state.value, reason=reason))

    async def lose(self, id_: str) -> None:
        """Record that events of a subscription may have been lost."""
        await self._update(id_, {"lost": _S.lost + 1})

    async def release(self, id_: str) -> None:
        """Forget that the receiver of a subscription wants no message now."""
        await self._update(id_, {"throttled_until": None})

    async def told(self, id_: str, lost: int) -> None:
        """Record that a receiver knows of the losses that were counted by then."""
        statement = SUBSCRIPTIONS.update().where(_S.id == id_, _S.lost == lost)
        await self._changed(statement.values(lost=0))

    async def _changed(self, statement: Any) -> bool:
        return await self._database.write(
            lambda connection: connection.execute(statement).rowcount == 1
        )

    async def _update(self, id_: str, values: dict[str, Any]) -> None:
        statement = SUBSCRIPTIONS.update().where(_S.id == id_).values(values)
        await self._database.write(lambda connection: connection.execute(statement).close())


def _first(query: Any, values: dict[str, Any], connection: Connection) -> Any:
    return connection.execute(query, values).first()


def _lives() -> sa.ColumnElement[bool]:
    return sa.or_(_S.expires.is_(None), _S.expires > now())


def _of(owner: Owner) -> list[Any]:
    return [_S[name] == value for name, value in owner_values(owner).items()]


def _put(subscription: Subscription, most: int, connection: Connection) -> bool:
    values = subscription_values(subscription)
    renewed = {name: value for name, value in values.items() if name not in _HISTORY}
    update = SUBSCRIPTIONS.update().where(_S.id == subscription.id).values(renewed)
    if connection.execute(update).rowcount:
        return True
    is_alike = (_S.url != "") if subscription.url else (_S.url == "")
    count = (
        sa.select(sa.func.count())
        .select_from(SUBSCRIPTIONS)
        .where(*_of(subscription.owner), is_alike, _lives())
    )
    if (connection.scalar(count) or 0) >= most:
        return False
    connection.execute(SUBSCRIPTIONS.insert().values(values))
    return True


def _remove(id_: str, owner: Owner, connection: Connection) -> bool:
    removed = connection.execute(SUBSCRIPTIONS.delete().where(_S.id == id_, *_of(owner)))
    if not removed.rowcount:
        return False
    connection.execute(DELIVERIES.delete().where(DELIVERIES.c.subscription == id_))
    return True

"""The tables of events, subscriptions, deliveries and trackers."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    String,
    Table,
    Text,
    literal_column,
)

from lro_gateway.records.schema import METADATA, UtcTime, of_sqlite, partial_index

_SEQUENCE: Final = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers the rows of a table only if its key is an INTEGER."""


def _owner() -> list[Column[Any]]:
    return [Column(each, Text, nullable=False) for each in ("issuer", "subject", "tenant")]


def _count(name: str) -> Column[Any]:
    # Replicas of earlier versions write rows without it.
    return Column(name, Integer, nullable=False, server_default="0")


def _version() -> Column[Any]:
    # The version of the program that can go on with the row.
    return Column("version", Integer, nullable=False, server_default="1")


EVENTS: Final = Table(
    "events",
    METADATA,
    Column("sequence", _SEQUENCE, primary_key=True, autoincrement=True),
    # The transaction of PostgreSQL that wrote the row, and 0 on SQLite.
    Column("transaction", BigInteger, nullable=False),
    Column("id", String(40), nullable=False, unique=True),
    Column("kind", String(40), nullable=False),
    Column("backend", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("method", Text, nullable=False),
    *_owner(),
    Column("number", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("data", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
)
"""The log of events. It is read in the order of its transactions."""
# Numbers are never used again, so a position stays behind all later events.
of_sqlite(EVENTS, autoincrement=True)
Index("events_at", EVENTS.c.at)
Index("events_in_order", EVENTS.c.transaction, EVENTS.c.sequence)
Index("events_of_operation", EVENTS.c.backend, EVENTS.c.name, EVENTS.c.number)

TRACKERS: Final = Table(
    "trackers",
    METADATA,
    Column("backend", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("method", Text, nullable=False),
    *_owner(),
    Column("replica", String(32), nullable=False),
    # The number of the operation's last event, and what it told.
    Column("number", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("stage", Text, nullable=False),
    Column("percent", Double),
    Column("changed", UtcTime, nullable=False),
    Column("finished", UtcTime),
    _version(),
)
"""One row for each operation that is followed, or was."""
of_sqlite(TRACKERS, with_rowid=False)
_RUNS: Final = TRACKERS.c.finished.is_(None)
Index("trackers_finished", TRACKERS.c.finished)
partial_index("trackers_of_replica", _RUNS, TRACKERS.c.replica)

REPLICAS: Final = Table(
    "replicas",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("beat", UtcTime, nullable=False),
)
"""The processes that share a database of PostgreSQL, and when each last showed that it runs."""

LEADS: Final = Table(
    "leads",
    METADATA,
    # The SHA-256 of a backend and of an operation's name there.
    Column("key", String(64), primary_key=True),
    Column("replica", String(32), nullable=False),
)
"""The operations that replicas watch, and which of them polls each for all."""
of_sqlite(LEADS, with_rowid=False)

SUBSCRIPTIONS: Final = Table(
    "subscriptions",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("face", String(8), nullable=False),
    *_owner(),
    Column("client", Text, nullable=False),
    Column("granted", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("secrets", Text, nullable=False),
    Column("kinds", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("states", Text, nullable=False),
    Column("mine", Integer, nullable=False),
    Column("format", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("expires", UtcTime),
    Column("old_until", UtcTime),
    Column("delivered", UtcTime),
    Column("failing", UtcTime),
    Column("error", Text, nullable=False),
    # The receiver wants no message before this time.
    Column("throttled_until", UtcTime),
    # The attempts and their failures since a time. They begin again after an hour.
    Column("measured", UtcTime),
    # The number of events that were lost, and of which the receiver has not been told.
    *(_count(each) for each in ("lost", "attempts", "failures")),
)
"""The webhooks. Their secrets are sealed."""
_OF_ALL: Final = SUBSCRIPTIONS.c.name == ""
Index("subscriptions_of_operation", SUBSCRIPTIONS.c.backend, SUBSCRIPTIONS.c.name)
partial_index("subscriptions_of_all", _OF_ALL, SUBSCRIPTIONS.c.id)
Index("subscriptions_expire", SUBSCRIPTIONS.c.expires)
Index("subscriptions_of_owner", *(SUBSCRIPTIONS.c[each] for each in ("subject", "issuer")))

DELIVERIES: Final = Table(
    "deliveries",
    METADATA,
    # A UUID of version 7: the order of the ids is the order in time.
    Column("id", String(32), primary_key=True),
    Column("subscription", String(64), nullable=False),
    Column("event", String(40), nullable=False),
    Column("replica", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", UtcTime, nullable=False),
    Column("status", Integer),
    Column("error", Text, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("finished", UtcTime),
    _version(),
)
"""One row for each event and each webhook that gets it."""
of_sqlite(DELIVERIES, with_rowid=False)
_PENDING: Final = DELIVERIES.c.state == "pending"
partial_index("deliveries_of_replica", _PENDING, DELIVERIES.c.replica)
# With the state, of which it has only one, SQLite prefers it to other indexes of the subscription.
partial_index("deliveries_pending", _PENDING, DELIVERIES.c.subscription, DELIVERIES.c.state)
Index("deliveries_once", DELIVERIES.c.subscription, DELIVERIES.c.event, unique=True)
Index("deliveries_created", DELIVERIES.c.created)
Index("deliveries_of_subscription", DELIVERIES.c.subscription, DELIVERIES.c.id)

IS_PENDING: Final = DELIVERIES.c.state == literal_column("'pending'")
"""The condition of the index `deliveries_pending`. SQLite uses it for no parameter."""

"""Events, subscriptions, deliveries and trackers."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables with their indexes."""
    _create_events()
    _create_trackers()
    _create_subscriptions()
    _create_deliveries()


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _create_events() -> None:
    sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "events",
        sa.Column("sequence", sequence, primary_key=True, autoincrement=True),
        sa.Column("transaction", sa.BigInteger, nullable=False),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column("kind", sa.String(40), nullable=False),
        *_texts("backend", "name", "method", "issuer", "subject", "tenant"),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        *_texts("data"),
        sa.Column("at", _TIME, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("events_at", "events", ["at"])
    op.create_index("events_in_order", "events", ["transaction", "sequence"])
    op.create_index("events_of_operation", "events", ["backend", "name", "number"])


def _create_trackers() -> None:
    op.create_table(
        "trackers",
        sa.Column("backend", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        *_texts("method", "issuer", "subject", "tenant"),
        sa.Column("replica", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        *_texts("stage"),
        sa.Column("percent", sa.Double),
        sa.Column("changed", _TIME, nullable=False),
        sa.Column("finished", _TIME),
        sqlite_with_rowid=False,
    )
    op.create_index("trackers_finished", "trackers", ["finished"])
    _partial("trackers_of_replica", "trackers", ["replica"], "finished IS NULL")
    op.create_table(
        "replicas",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("beat", _TIME, nullable=False),
    )


def _create_subscriptions() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("face", sa.String(8), nullable=False),
        *_texts("issuer", "subject", "tenant", "client", "granted", "url", "secrets", "kinds"),
        *_texts("backend", "name", "method", "states"),
        sa.Column("mine", sa.Integer, nullable=False),
        sa.Column("format", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        *_texts("reason"),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("expires", _TIME),
        sa.Column("old_until", _TIME),
        sa.Column("delivered", _TIME),
        sa.Column("failing", _TIME),
        *_texts("error"),
    )
    op.create_index("subscriptions_of_operation", "subscriptions", ["backend", "name"])
    _partial("subscriptions_of_all", "subscriptions", ["id"], "name = ''")
    op.create_index("subscriptions_expire", "subscriptions", ["expires"])
    op.create_index("subscriptions_of_owner", "subscriptions", ["subject", "issuer"])


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("subscription", sa.String(64), nullable=False),
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("replica", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due", _TIME, nullable=False),
        sa.Column("status", sa.Integer),
        *_texts("error"),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("finished", _TIME),
        sqlite_with_rowid=False,
    )
    _partial("deliveries_of_replica", "deliveries", ["replica"], "state = 'pending'")
    op.create_index("deliveries_once", "deliveries", ["subscription", "event"], unique=True)
    op.create_index("deliveries_created", "deliveries", ["created"])
    op.create_index("deliveries_of_subscription", "deliveries", ["subscription", "id"])


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)

"""Until when a receiver wants no message, and which of its events are on their way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column, which earlier versions leave empty, and the index."""
    op.add_column("subscriptions", sa.Column("throttled_until", sa.DateTime(timezone=True)))
    is_pending = sa.text("state = 'pending'")
    op.create_index(
        "deliveries_pending",
        "deliveries",
        ["subscription", "state"],
        sqlite_where=is_pending,
        postgresql_where=is_pending,
    )

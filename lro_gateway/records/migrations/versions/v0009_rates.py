"""The rates of callers, which replicas share."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create the table with its index."""
    op.create_table(
        "rates",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("full_at", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("rates_full", "rates", ["full_at"])

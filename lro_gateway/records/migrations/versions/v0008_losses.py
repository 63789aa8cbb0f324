"""The counts of a subscription: its lost events, attempts and failures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns. They have defaults, because earlier versions do not write them."""
    op.add_column("subscriptions", sa.Column("measured", sa.DateTime(timezone=True)))
    for name in ("lost", "attempts", "failures"):
        column = sa.Column(name, sa.Integer, nullable=False, server_default="0")
        op.add_column("subscriptions", column)

"""Which replica reads a watched operation for all replicas."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "leads",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("replica", sa.String(32), nullable=False),
        sqlite_with_rowid=False,
    )

"""The archive of finished operations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table of copies with its index."""
    op.create_table(
        "archive",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("view", sa.String(64), primary_key=True),
        sa.Column("message", sa.LargeBinary, nullable=False),
        sa.Column("json", sa.LargeBinary, nullable=False),
        sa.Column("omitted", sa.Integer, nullable=False),
        sa.Column("archived", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("archive_by_time", "archive", ["archived"])

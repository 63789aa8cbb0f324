"""Calls that wait for an approval."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table of calls that wait for an approval, with its indexes."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "approvals",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("claims", sa.Text, nullable=False),
        sa.Column("backend", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("needs_caller", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created", time, nullable=False),
        sa.Column("expires", time, nullable=False),
        sa.Column("decided", time),
        sa.Column("decider", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("answer_by", time),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("mark", sa.String(32)),
        sqlite_with_rowid=False,
    )
    op.create_index("approvals_of_caller", "approvals", ["subject", "issuer", "tenant", "id"])
    op.create_index("approvals_by_state", "approvals", ["state", "expires"])

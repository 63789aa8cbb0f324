"""The journal of operations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the table of operations with its indexes."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "operations",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("backend", sa.Text, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("request_digest", sa.String(64), nullable=False),
        sa.Column("request", sa.Text),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("percent", sa.Double),
        sa.Column("started", time, nullable=False),
        sa.Column("answer_by", time, nullable=False),
        sa.Column("changed", time, nullable=False),
        sa.Column("seen", time, nullable=False),
        sa.Column("finished", time),
        sa.Column("code", sa.Integer),
        sa.Column("message", sa.Text),
        sqlite_with_rowid=False,
    )
    owner = ["subject", "issuer", "tenant", "id"]
    op.create_index("operations_of_owner", "operations", owner)
    _partial("operations_of_tenant", ["tenant", "id"], "tenant != ''")
    op.create_index("operations_by_name", "operations", ["backend", "name"])
    _partial("operations_unfinished", owner, "finished IS NULL")


def _partial(name: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, "operations", columns, sqlite_where=condition, postgresql_where=condition)

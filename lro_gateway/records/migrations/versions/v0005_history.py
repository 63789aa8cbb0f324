"""How long operations take."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the index of the operations of a method that have succeeded."""
    condition = sa.text("state = 'succeeded'")
    op.create_index(
        "operations_succeeded",
        "operations",
        ["backend", "method", "id"],
        sqlite_where=condition,
        postgresql_where=condition,
    )

"""Which version of the program can go on with an operation or a delivery."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the columns. Earlier versions, which do not write them, wrote version 1."""
    for table in ("trackers", "deliveries"):
        column = sa.Column("version", sa.Integer, nullable=False, server_default="1")
        op.add_column(table, column)

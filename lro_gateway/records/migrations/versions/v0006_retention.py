"""The columns and indexes by which the sweeper finds rows that are too old."""

from __future__ import annotations

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Change nothing yet."""

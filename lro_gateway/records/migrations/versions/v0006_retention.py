"""What the sweeper needs to find rows that are too old."""

from __future__ import annotations

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Change nothing yet."""

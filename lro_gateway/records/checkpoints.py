"""Copies what was committed from SQLite's write-ahead log into its file, beside the transactions.

SQLite does so in the commit that makes the log long. A start would wait for that commit.
"""

from __future__ import annotations

import asyncio
from typing import Final

from lro_gateway.records.database import Database

_INTERVAL: Final = 0.2
"""Seconds between two copies, if anything was committed."""


async def checkpoint_for_ever(database: Database) -> None:
    """Copy again and again, until the task is cancelled."""
    while True:
        await asyncio.sleep(_INTERVAL)
        await database.checkpoint()

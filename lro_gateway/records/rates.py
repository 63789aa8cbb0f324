"""The rates of callers in PostgreSQL, so that all replicas together keep to them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from lro_gateway.records.database import Database
from lro_gateway.records.schema import RATES
from lro_gateway.records.sweeper import Expiring

_C: Final = RATES.c
_NOW: Final[sa.ColumnElement[float]] = sa.literal_column(
    "extract(epoch FROM clock_timestamp())::float8"
)
"""The clock of the database, because the clocks of replicas differ."""
_SPEND: Final = sa.text(
    """
    INSERT INTO rates AS r (key, full_at)
    VALUES (:key, extract(epoch FROM clock_timestamp())::float8 + :token)
    ON CONFLICT (key) DO UPDATE
    SET full_at = greatest(r.full_at, extract(epoch FROM clock_timestamp())::float8) + :token
    WHERE greatest(r.full_at, extract(epoch FROM clock_timestamp())::float8) + :token
        <= extract(epoch FROM clock_timestamp())::float8 + :period
    -- A crash may forget the last tokens, and no call waits for the disk.
    RETURNING set_config('synchronous_commit', 'off', true)
    """
)


class SqlRates:
    """The token buckets of one database. A row tells when its bucket will be full again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def spend(self, key: str, calls: int, period: float) -> float:
        """Take a token, and return 0. If there is none, return the seconds until there is one.

        A bucket of `calls` tokens fills in `period` seconds. Raises as `Database.read` does.
        """
        values = {"key": key, "token": period / calls, "period": period}
        # PostgreSQL has many writers, so a call need not wait for the writes of the journal.
        return await self._database.read(partial(_spend, values))


def _spend(values: dict[str, Any], connection: Connection) -> float:
    if connection.execute(_SPEND, values).first() is not None:
        return 0.0
    rest = sa.select(_C.full_at - _NOW).where(_C.key == values["key"])
    left: float = connection.scalar(rest) or 0.0
    seconds: float = left + values["token"] - values["period"]
    return max(0.001, seconds)


def expiring() -> Sequence[Expiring]:
    """Return what the sweeper deletes: the buckets that are full."""
    return (Expiring(RATES, lambda _, time: _C.full_at < time.timestamp()),)

"""Deletes rows that have expired, in batches that are too small to hold up a start."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Table
from sqlalchemy.exc import SQLAlchemyError

from lro_gateway.errors import StatusError
from lro_gateway.records.database import Database, reason_of
from lro_gateway.records.entries import now

logger: Final = logging.getLogger(__name__)

_INTERVAL: Final = 300.0
"""Seconds between two sweeps."""
_LARGEST: Final = 200
_SMALLEST: Final = 10
"""The numbers of rows in a batch. It begins with the smallest."""
_LONGEST: Final = 0.005
"""Seconds that the transaction of a batch should take, because a start may wait for it."""
_REST: Final = 4.0
"""The pause after a batch, as a multiple of the time that it took. Starts go on meanwhile."""
ADVISORY_LOCK: Final = 0x6C726F73
"""The key of PostgreSQL's lock that one replica holds while it deletes a batch: `lros`."""

Condition = Callable[[Connection, dt.datetime], ColumnElement[bool] | None]
"""Returns the condition of the rows that have expired by a time, or None if there are none.

It may read what it needs, such as the number of rows.
"""


@dataclass(frozen=True, slots=True)
class Expiring:
    """Rows that expire. An index should find them, because each sweep looks for them."""

    table: Table
    condition: Condition


class Sweeper:
    """Deletes expired rows again and again.

    Rows are looked for beside the starts. Only their deletion waits in the same queue.
    """

    def __init__(self, database: Database, expiring: Sequence[Expiring]) -> None:
        self._database = database
        self._expiring = expiring

    async def run(self) -> None:
        """Sweep every five minutes, until the task is cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            try:
                await self.sweep()
                self._database.activity.has_swept()
            except StatusError as error:
                logger.warning("expired rows stay in the store for now: %s", error.message)
            except SQLAlchemyError as error:
                logger.warning("expired rows stay in the store for now: %s", reason_of(error))

    async def sweep(self) -> int:
        """Delete all rows that have expired, and return their number.

        If another replica deletes rows at this moment, this one leaves the rest to it. Raises
        UNAVAILABLE if the store does not answer.
        """
        deleted = 0
        for each in self._expiring:
            where = await self._database.read(partial(_condition, each, now()))
            if where is not None:
                deleted += await self._delete(each.table, where)
        if deleted:
            logger.info("deleted %d expired rows", deleted)
        return deleted

    async def _delete(self, table: Table, where: ColumnElement[bool]) -> int:
        size, total = _SMALLEST, 0
        while keys := await self._database.read(partial(keys_of, table, where, size)):
            count, took = await self._database.write(partial(_delete_batch, table, where, keys))
            if count is None:
                break
            total += count
            size = fitting(size, took)
            await asyncio.sleep(took * _REST)
        return total


def fitting(size: int, took: float) -> int:
    """Return the number of rows of the next batch after one that took so many seconds."""
    if took > _LONGEST:
        return max(_SMALLEST, size // 2)
    return min(_LARGEST, size * 2) if took < _LONGEST / 2 else size


def _condition(
    each: Expiring, time_: dt.datetime, connection: Connection
) -> ColumnElement[bool] | None:
    return each.condition(connection, time_)


def keys_of(
    table: Table, where: ColumnElement[bool], size: int, connection: Connection
) -> list[tuple[Any, ...]]:
    """Return the primary keys of so many rows at most for which the condition holds."""
    query = sa.select(*table.primary_key.columns).where(where).limit(size)
    return [tuple(row) for row in connection.execute(query)]


def _delete_batch(
    table: Table, where: ColumnElement[bool], keys: list[tuple[Any, ...]], connection: Connection
) -> tuple[int | None, float]:
    """Return the number of deleted rows, and the seconds that it took.

    The number is None if another replica deletes rows at this moment.
    """
    begin = time.perf_counter()
    if connection.dialect.name == "postgresql":
        lock = sa.select(sa.func.pg_try_advisory_xact_lock(ADVISORY_LOCK))
        if not connection.scalar(lock):
            return None, 0.0
    # A row may have changed since its key was read.
    deleted = connection.execute(table.delete().where(_is_one_of(table, keys), where))
    return deleted.rowcount, time.perf_counter() - begin


def _is_one_of(table: Table, keys: list[tuple[Any, ...]]) -> ColumnElement[bool]:
    columns = list(table.primary_key.columns)
    if len(columns) == 1:
        return columns[0].in_([key[0] for key in keys])
    return sa.tuple_(*columns).in_(keys)

"""Running and past operations in a database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from lro_gateway.operations.begun import Begun
from lro_gateway.records.database import Database
from lro_gateway.records.entries import EntryState, recorded, recorded_names
from lro_gateway.records.newest import newest_first
from lro_gateway.records.schema import OPERATIONS
from lro_gateway.records.statements import WAS_STARTED
from lro_gateway.records.working import Running

_C: Final = OPERATIONS.c
_MAX_RUNNING: Final = 10_000
_NAMES: Final = 500
"""The number of names in one query."""


class SqlHistory:
    """The history of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def running(self, since: dt.datetime) -> Sequence[Running]:
        """Return the running operations that the gateway has heard of since a time."""
        return await self._database.read(partial(_running, since))

    async def durations(self, backend: str, method: str, limit: int) -> Sequence[float]:
        """Return the seconds that the latest succeeded operations of a method took."""
        return await self._database.read(partial(_durations, backend, method, limit))

    async def numbers(self) -> Mapping[str, int]:
        """Return how many operations of each backend have not ended, by the states in the store."""
        return await self._database.read(_numbers)

    async def names(self, backend: str) -> Sequence[str]:
        """Return the names of operations of a backend that have not ended, or 10,000 of them."""
        of = (_C.backend == backend, _C.finished.is_(None), _C.name.is_not(None))
        query = sa.select(_C.name).where(*of).limit(_MAX_RUNNING)
        return await self._database.read(lambda connection: [*connection.execute(query).scalars()])

    async def begun(self, backend: str, names: Sequence[str]) -> Mapping[str, Begun]:
        """Return how operations of a backend began that were started here, by their names."""
        return await self._database.read(partial(_begun, backend, names))


def _running(since: dt.datetime, connection: Connection) -> list[Running]:
    query = (
        sa.select(_C.backend, _C.method, _C.changed, _C.seen)
        # An index has the rows that have not ended.
        .where(_C.finished.is_(None), _C.state == EntryState.RUNNING.value, _C.seen >= since)
        .where(WAS_STARTED)
        .limit(_MAX_RUNNING)
    )
    return [Running(*row) for row in connection.execute(query)]


def _numbers(connection: Connection) -> dict[str, int]:
    number = sa.func.count()
    query = sa.select(_C.backend, number).where(_C.finished.is_(None)).group_by(_C.backend)
    return {row[0]: row[1] for row in connection.execute(query)}


def _durations(backend: str, method: str, limit: int, connection: Connection) -> list[float]:
    # PostgreSQL uses the partial index only if the text of the condition is in the query.
    succeeded = sa.select(_C.started, _C.finished).where(sa.text("state = 'succeeded'"))
    key = (_C.backend, _C.method, _C.id)
    query = newest_first(succeeded, key, [backend, method]).limit(limit)
    return [(row[1] - row[0]).total_seconds() for row in connection.execute(query)]


def _begun(backend: str, names: Sequence[str], connection: Connection) -> dict[str, Begun]:
    found: dict[str, Begun] = {}
    stored = [*{each for name in names for each in recorded_names(backend, name)}]
    for at in range(0, len(stored), _NAMES):
        query = (
            sa.select(_C.name, _C.method, _C.started, _C.changed, _C.state)
            .where(_C.backend == backend, _C.name.in_(stored[at : at + _NAMES]), WAS_STARTED)
            # The first start counts, because a repeated start may have given the same operation.
            .order_by(_C.id.desc())
        )
        found |= {row[0]: Begun(*row[1:]) for row in connection.execute(query)}
    return {name: of for name in names if (of := recorded(found, backend, name))}

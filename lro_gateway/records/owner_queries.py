"""The owners of operations, from the journal in a database."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from lro_gateway.records.database import Database
from lro_gateway.records.entries import EntryState, now, recorded, recorded_names
from lro_gateway.records.owners import ADOPTED, NamelessStart, Owned, Owner
from lro_gateway.records.schema import OPERATIONS

_C: Final = OPERATIONS.c
_NOBODY: Final = frozenset({ADOPTED})
_NAMES: Final = 500
"""The number of names in one query."""


class SqlOwners:
    """Reads the owners in one transaction for any number of names."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, backend: str, names: Sequence[str]) -> Owned:
        """Return the owners of those operations of a backend that were started here, or adopted."""
        return await self._database.read(partial(_owned_or_adopted, backend, names))

    async def of_short_name(
        self, backends: Sequence[str], name: str
    ) -> Mapping[str, frozenset[Owner]]:
        """Return the owners of the operations started here with this short name, by backend."""
        return await self._database.read(partial(_of_short_name, backends, name))

    async def examine(
        self, backend: str, names: Sequence[str]
    ) -> tuple[Sequence[NamelessStart], Owned]:
        """Return the nameless starts of a backend, and then the owners as `of` does."""
        return await self._database.read(partial(_examined, backend, names))


def _examined(
    backend: str, names: Sequence[str], connection: Connection
) -> tuple[Sequence[NamelessStart], Owned]:
    time = now()
    # The order matters where each statement sees what others have committed before it.
    nameless = [_nameless(row, time) for row in connection.execute(_without_name(backend))]
    return nameless, _owned(backend, names, connection)


def _owned(backend: str, names: Sequence[str], connection: Connection) -> Owned:
    found = _owned_or_adopted(backend, names, connection)
    return {name: of for name, of in found.items() if ADOPTED not in of}


def _owned_or_adopted(backend: str, names: Sequence[str], connection: Connection) -> Owned:
    found: defaultdict[str, set[Owner]] = defaultdict(set)
    adopted: dict[str, frozenset[Owner]] = {}
    stored = [*{each for name in names for each in recorded_names(backend, name)}]
    for at in range(0, len(stored), _NAMES):
        for row in connection.execute(_by_name(backend, stored[at : at + _NAMES])):
            if row.method:
                found[row.name].add(_owner(row))
            else:
                adopted[row.name] = _NOBODY
    owned = {name: recorded(found, backend, name) for name in names}
    return {
        name: frozenset(of)
        for name in names
        if (of := owned[name] or recorded(adopted, backend, name))
    }


def _of_short_name(
    backends: Sequence[str], name: str, connection: Connection
) -> Mapping[str, frozenset[Owner]]:
    # A later state may have been written under the name of now.
    owned = {backend: _owned(backend, [name], connection) for backend in backends}
    return {backend: of[name] for backend, of in owned.items() if of}


def _by_name(backend: str, names: list[str]) -> sa.Select[Any]:
    columns = (_C.name, _C.issuer, _C.subject, _C.tenant, _C.method)
    return sa.select(*columns).where(_C.backend == backend, _C.name.in_(names)).distinct()


def _without_name(backend: str) -> sa.Select[Any]:
    columns = (_C.id, _C.issuer, _C.subject, _C.tenant, _C.state, _C.started, _C.answer_by)
    return sa.select(*columns).where(_C.backend == backend, _C.name.is_(None))


def _owner(row: Any) -> Owner:
    return Owner(row.issuer, row.subject, row.tenant)


def _nameless(row: Any, time: dt.datetime) -> NamelessStart:
    is_due = row.state == EntryState.STARTING.value and row.answer_by >= time
    return NamelessStart(row.id, _owner(row), row.started, row.answer_by, is_due)

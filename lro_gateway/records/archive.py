"""The archive in a database. The journal writes it together with the end of an operation."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import orjson
import sqlalchemy as sa
from google.longrunning import operations_pb2
from sqlalchemy import Connection, Executable

from lro_gateway.operations.archived import Archived
from lro_gateway.operations.operation import Operation
from lro_gateway.operations.rendering import Rendering
from lro_gateway.records.archived import ArchiveLimits, Copy, Trace
from lro_gateway.records.database import Database
from lro_gateway.records.entries import EntryState, now, recorded_names
from lro_gateway.records.schema import ARCHIVE, OPERATIONS, insert_into
from lro_gateway.records.sweeper import Expiring

_A: Final = ARCHIVE.c
_O: Final = OPERATIONS.c
_LONGEST_MESSAGE: Final = 4096
"""The number of characters that are kept of the message of an error that is too large."""


class SqlArchive:
    """The archive of one database."""

    def __init__(self, database: Database, limits: ArchiveLimits) -> None:
        self._database = database
        self._limits = limits
        self.insert = _insert(database.dialect)
        """Inserts a copy once, and only while the journal has its operation."""

    @property
    def since(self) -> dt.datetime:
        """The time before which copies are too old."""
        return now() - self._limits.retention

    @property
    def expiring(self) -> Sequence[Expiring]:
        """The rows that a sweeper deletes: the copies that are too old."""
        retention = self._limits.retention
        return (Expiring(ARCHIVE, lambda _, time: _A.archived < time - retention),)

    async def row(self, id_: str, operation: Operation) -> dict[str, Any]:
        """Return the values of `insert` for a finished operation."""
        whole = operation.size <= self._limits.max_bytes
        copy = operation if whole else _without_result(operation, self._limits.max_bytes)
        return {
            "of": id_,
            "view": operation.view,
            "message": copy.proto.SerializePartialToString(),
            "json": orjson.dumps(await copy.json()),
            "omitted": operation.size - copy.size,
            "archived": now(),
        }

    async def find(self, backend: str, name: str, view: str) -> Trace | None:
        """Return what is known of an operation, or None if it has no row."""
        for each in recorded_names(backend, name):
            query = _found(backend, each, view, self.since)
            if (trace := await self._database.read(partial(_trace, query))) is not None:
                return trace
        return None

    async def remove(self, backend: str, name: str) -> None:
        """Remove an operation and all copies of it."""
        await self._database.write(partial(_remove, backend, recorded_names(backend, name)))


def _insert(dialect: str) -> Executable:
    values = [
        sa.bindparam(each.name, type_=each.type).label(each.name)
        for each in (_A.view, _A.message, _A.json, _A.omitted, _A.archived)
    ]
    # An operation that was deleted meanwhile has no row, and so it gets no copy.
    source = sa.select(_O.id, *values).where(_O.id == sa.bindparam("of"))
    statement: Executable = (
        insert_into(dialect, ARCHIVE)
        .from_select(["id", *(each.name for each in values)], source)
        .on_conflict_do_nothing(index_elements=["id", "view"])
    )
    return statement


def _without_result(operation: Operation, max_bytes: int) -> Operation:
    """Return an operation without its response, or without the details of its error."""
    proto = operations_pb2.Operation(name=operation.proto.name, done=True)
    if operation.proto.WhichOneof("result") == "error":
        proto.error.code = operation.error.code
        proto.error.message = operation.error.message[:_LONGEST_MESSAGE]
    metadata = operation.proto.metadata
    if operation.proto.HasField("metadata") and len(metadata.value) <= max_bytes // 2:
        proto.metadata.type_url, proto.metadata.value = metadata.type_url, metadata.value
    return Operation(
        *(operation.backend, operation.name, proto, operation.types),
        received=operation.received,
        first_seen=operation.first_seen,
        rules=operation.rules,
        rendering=Rendering(),
    )


def _found(backend: str, name: str, view: str, since: dt.datetime) -> sa.Select[Any]:
    is_copy = (_A.id == _O.id) & (_A.view == view) & (_A.archived >= since)
    columns = (_O.method, _O.state, _O.started, _O.finished)
    copied = (_A.message, _A.json, _A.omitted, _A.archived)
    return (
        sa.select(*columns, *copied)
        .select_from(OPERATIONS.outerjoin(ARCHIVE, is_copy))
        .where(_O.backend == backend, _O.name == name)
        # A repeated start may have returned the same operation again.
        .order_by(_A.id.is_(None), _O.id.desc())
        .limit(1)
    )


def _trace(query: sa.Select[Any], connection: Connection) -> Trace | None:
    row = connection.execute(query).first()
    if row is None:
        return None
    copy = None
    if row.message is not None:
        copy = Copy(row.message, row.json, Archived(row.archived, row.omitted))
    return Trace(row.method, EntryState(row.state), row.started, row.finished, copy)


def _remove(backend: str, names: Sequence[str], connection: Connection) -> None:
    of_name = (_O.backend == backend, _O.name.in_(names))
    connection.execute(ARCHIVE.delete().where(_A.id.in_(sa.select(_O.id).where(*of_name))))
    connection.execute(OPERATIONS.delete().where(*of_name))

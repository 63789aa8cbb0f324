"""Idempotency keys in the database: of the starts that claim one, the first gets it.

A key belongs to a start, or to a call that waits for an approval. Each claim, search and release is
the work of one transaction.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, Executable

from lro_gateway.records import statements
from lro_gateway.records.entries import Earlier, Key, Start, now, recorded_names
from lro_gateway.records.schema import APPROVALS, IDEMPOTENCY_KEYS, OPERATIONS, insert_into

_C: Final = IDEMPOTENCY_KEYS.c
_OPERATION: Final = OPERATIONS.c
_SET: Final = ("start", "fingerprint", "request_id", "expires")
RELEASE: Final = IDEMPOTENCY_KEYS.delete().where(
    _C.digest == sa.bindparam("of_digest"), _C.start == sa.bindparam("of_start")
)
_FIND: Final = (
    sa.select(
        *(*_C, *statements.ENTRY),
        APPROVALS.c.id.label("asked"),
        APPROVALS.c.backend.label("asked_backend"),
        APPROVALS.c.operation.label("begun"),
    )
    .select_from(
        IDEMPOTENCY_KEYS.outerjoin(OPERATIONS, OPERATIONS.c.id == _C.start).outerjoin(
            APPROVALS, APPROVALS.c.id == _C.start
        )
    )
    .where(_C.digest == sa.bindparam("of_digest"))
)


class Claiming:
    """Claims keys in the statements of one dialect."""

    def __init__(self, dialect: str) -> None:
        insert = insert_into(dialect, IDEMPOTENCY_KEYS)
        has_expired = _C.expires <= sa.bindparam("at", type_=_C.expires.type)
        self._insert = statements.insert(dialect)
        self._claim: Executable = insert.on_conflict_do_update(
            index_elements=["digest"],
            set_={name: insert.excluded[name] for name in _SET},
            where=has_expired | (_C.start == sa.bindparam("repeats")),
        )

    def __call__(self, start: Start, key: Key, connection: Connection) -> Earlier | None:
        """Record a start with its key, or return the start that has the key.

        The start takes a key that has expired, and the key of a start that it repeats.
        """
        earlier = self.take(key, start.id, (start.started, start.answer_by), connection)
        if earlier is not None:
            return earlier
        connection.execute(self._insert, statements.start_row(start))
        if key.repeats:
            connection.execute(statements.REMOVE, statements.removed_row(key.repeats))
        return None

    def take(
        self, key: Key, id_: str, times: tuple[dt.datetime, dt.datetime], connection: Connection
    ) -> Earlier | None:
        """Give a key to the call with this id, or return what has the key.

        The call begins at the first of the times, and has ended at the second one.
        """
        if connection.execute(self._claim, _row(key, id_, *times)).rowcount != 1:
            # After a lost COMMIT this work runs again, and finds that it has the key.
            found = connection.execute(_FIND, {"of_digest": key.digest}).one()
            if found.start != id_:
                return _earlier(found, connection)
        return None


def earlier(key: Key, connection: Connection) -> Earlier | None:
    """Return the start that has a key, unless the key has expired."""
    found = connection.execute(_FIND, {"of_digest": key.digest}).one_or_none()
    return None if found is None or found.expires <= now() else _earlier(found, connection)


def release(start: Start, key: Key, connection: Connection) -> None:
    """Remove a start, and free its key."""
    connection.execute(RELEASE, released_row(start, key))
    connection.execute(statements.REMOVE, statements.removed_row(start.id))


def expired(time: dt.datetime) -> sa.ColumnElement[bool]:
    """Return the condition of the keys that have expired by a time."""
    return _C.expires <= time


def released_row(start: Start, key: Key) -> dict[str, Any]:
    """Return the values of `RELEASE`."""
    return {"of_digest": key.digest, "of_start": start.id}


def _row(key: Key, id_: str, begins: dt.datetime, ends: dt.datetime) -> dict[str, Any]:
    # A key never expires while its call is under way.
    expires = max(begins + key.window, ends + dt.timedelta(seconds=1))
    return {
        "digest": key.digest,
        "start": id_,
        "fingerprint": key.fingerprint,
        "request_id": key.request_id,
        "expires": expires,
        "at": begins,
        "repeats": key.repeats,
    }


def _earlier(found: Any, connection: Connection) -> Earlier:
    is_asked = found.asked is not None
    row = found if found.id is not None else None
    if is_asked and found.begun:
        row = connection.execute(_begun(found.asked_backend, found.begun)).first()
    entry = statements.entry_of(row, now()) if row is not None else None
    return Earlier(found.start, found.fingerprint, found.request_id, entry, is_asked)


def _begun(backend: str, name: str) -> sa.Select[Any]:
    """Return the statement that finds the operation that a waiting call has started."""
    named = (_OPERATION.backend == backend, _OPERATION.name.in_(recorded_names(backend, name)))
    return sa.select(*statements.ENTRY).where(*named).order_by(_OPERATION.id.desc()).limit(1)

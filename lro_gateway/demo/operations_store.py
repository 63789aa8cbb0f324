"""Keeps operations in SQLite, so that they outlive the process."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from google.longrunning import operations_pb2

_SCHEMA = """
CREATE TABLE IF NOT EXISTS operations (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    parent TEXT NOT NULL,
    done INTEGER NOT NULL,
    end_time REAL,
    operation BLOB NOT NULL,
    request_id TEXT UNIQUE,
    request BLOB
) STRICT;
CREATE INDEX IF NOT EXISTS operations_by_parent ON operations (parent, sequence);
CREATE INDEX IF NOT EXISTS operations_by_end_time ON operations (end_time);
"""


class DirectoryInUseError(Exception):
    """Another process uses the file of operations."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An operation, and its position in the order of starts."""

    sequence: int
    operation: operations_pb2.Operation


@dataclass(frozen=True, slots=True)
class Identified:
    """A request that its client may repeat: its id, and its other content as bytes."""

    request_id: str
    request: bytes


class OperationsStore:
    """The operations of one server; a finished one is deleted once `retention` has passed.

    Statements run in the event loop. Each takes some tens of microseconds, because it touches one
    row or one page of rows, and the write-ahead log does not wait for the disk. A call in another
    thread would take longer.
    """

    def __init__(self, file: Path, *, retention: timedelta, clock: Callable[[], datetime]) -> None:
        self._retention = retention
        self._clock = clock
        self._connection = sqlite3.connect(file, isolation_level=None, timeout=0)
        try:
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            # Data survives a crash of the process, but may not survive a crash of the machine.
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise DirectoryInUseError(f"{file} cannot be used: {error}") from error

    def close(self) -> None:
        """Close the file; operations that are not done stay in it as they are."""
        self._connection.close()

    def add(
        self, operation: operations_pb2.Operation, parent: str, identified: Identified | None
    ) -> None:
        """Add a new operation."""
        self._connection.execute(
            "INSERT INTO operations (name, parent, done, operation, request_id, request)"
            " VALUES (?, ?, 0, ?, ?, ?)",
            (
                operation.name,
                parent,
                operation.SerializeToString(),
                identified and identified.request_id,
                identified and identified.request,
            ),
        )

    def save(self, operation: operations_pb2.Operation) -> None:
        """Save the new state of an operation, unless the operation was deleted."""
        self._connection.execute(
            "UPDATE operations SET operation = ?, done = ?, end_time = ? WHERE name = ?",
            (
                operation.SerializeToString(),
                operation.done,
                self._clock().timestamp() if operation.done else None,
                operation.name,
            ),
        )

    def get(self, name: str) -> operations_pb2.Operation | None:
        """Return the operation of this name, or None."""
        self._expire()
        row = self._connection.execute(
            "SELECT operation FROM operations WHERE name = ?", (name,)
        ).fetchone()
        return row and operations_pb2.Operation.FromString(row[0])

    def find(self, request_id: str) -> tuple[operations_pb2.Operation, bytes] | None:
        """Return the operation that a request with this id started, and the request's content."""
        self._expire()
        row = self._connection.execute(
            "SELECT operation, request FROM operations WHERE request_id = ?", (request_id,)
        ).fetchone()
        return row and (operations_pb2.Operation.FromString(row[0]), row[1])

    def delete(self, name: str) -> bool:
        """Delete an operation; return whether it existed."""
        self._expire()
        deleted = self._connection.execute("DELETE FROM operations WHERE name = ?", (name,))
        return deleted.rowcount > 0

    def page(
        self, *, parent: str | None, done: bool | None, before: int | None, limit: int
    ) -> list[Stored]:
        """Return operations, newest first.

        `before` is a sequence number, and all returned operations have lower ones. If `parent`,
        `done` or `before` is None, it excludes no operation.
        """
        self._expire()
        rows = self._connection.execute(
            "SELECT sequence, operation FROM operations"
            " WHERE (:parent IS NULL OR parent = :parent) AND (:done IS NULL OR done = :done)"
            " AND (:before IS NULL OR sequence < :before) ORDER BY sequence DESC LIMIT :limit",
            {"parent": parent, "done": done, "before": before, "limit": limit},
        )
        return [Stored(sequence, operations_pb2.Operation.FromString(o)) for sequence, o in rows]

    def unfinished(self) -> list[operations_pb2.Operation]:
        """Return every operation that is not done."""
        rows = self._connection.execute("SELECT operation FROM operations WHERE NOT done")
        return [operations_pb2.Operation.FromString(operation) for (operation,) in rows]

    def _expire(self) -> None:
        self._connection.execute(
            "DELETE FROM operations WHERE end_time <= ?",
            ((self._clock() - self._retention).timestamp(),),
        )

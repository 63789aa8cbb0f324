"""Operations kept in SQLite, so that they outlive the process."""

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
    """Another process keeps its operations in this file."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An operation and its place in the order in which operations began."""

    sequence: int
    operation: operations_pb2.Operation


@dataclass(frozen=True, slots=True)
class Identified:
    """A request that may come again: its id, and what else it says."""

    request_id: str
    request: bytes


class OperationsStore:
    """The operations of one server; a finished one is forgotten when `retention` has passed.

    A statement touches a row or a page of rows and, in a write-ahead log, waits for no disk: some
    tens of microseconds. That is less than the way to a thread and back, so there is none.
    """

    def __init__(self, file: Path, *, retention: timedelta, clock: Callable[[], datetime]) -> None:
        self._retention = retention
        self._clock = clock
        self._connection = sqlite3.connect(file, isolation_level=None, timeout=0)
        try:
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            # Survives the end of the process at any moment, though not that of the machine.
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise DirectoryInUseError(f"{file} cannot be used: {error}") from error

    def close(self) -> None:
        """Close the file; operations that are not done stay so."""
        self._connection.close()

    def add(
        self, operation: operations_pb2.Operation, parent: str, identified: Identified | None
    ) -> None:
        """Keep a new operation."""
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
        """Keep the new state of an operation, unless it was deleted."""
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
        """Return the operation of this name."""
        self._expire()
        row = self._connection.execute(
            "SELECT operation FROM operations WHERE name = ?", (name,)
        ).fetchone()
        return row and operations_pb2.Operation.FromString(row[0])

    def find(self, request_id: str) -> tuple[operations_pb2.Operation, bytes] | None:
        """Return the operation that a request of this id began, and what the request said."""
        self._expire()
        row = self._connection.execute(
            "SELECT operation, request FROM operations WHERE request_id = ?", (request_id,)
        ).fetchone()
        return row and (operations_pb2.Operation.FromString(row[0]), row[1])

    def delete(self, name: str) -> bool:
        """Forget an operation; tell whether there was one."""
        self._expire()
        deleted = self._connection.execute("DELETE FROM operations WHERE name = ?", (name,))
        return deleted.rowcount > 0

    def page(
        self, *, parent: str | None, done: bool | None, before: int | None, limit: int
    ) -> list[Stored]:
        """Return operations, newest first; None stands for any parent, any state, the newest."""
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

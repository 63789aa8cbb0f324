"""What contenders are asked to do, and the operation that answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from google.longrunning import operations_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from lro_gateway.demo.v1.database_admin_pb2 import (
    BackupDatabaseMetadata,
    CreateDatabaseMetadata,
    Database,
)

_CREATED: Final = Timestamp(seconds=1_790_000_000)
_ENDED: Final = Timestamp(seconds=1_790_000_042)
_ROWS: Final = 10_000
_BACKUP: Final = BackupDatabaseMetadata(
    create_time=_CREATED, progress_percent=42, pages_copied=1_176, total_pages=2_800
)
_CREATION: Final = CreateDatabaseMetadata(
    create_time=_CREATED,
    end_time=_ENDED,
    progress_percent=100,
    phase=CreateDatabaseMetadata.INDEXING,
    rows_inserted=_ROWS,
    total_rows=_ROWS,
)


@dataclass(frozen=True, slots=True)
class Job:
    """One kind of request, which a tool and a route do.

    `subject` is what a connection asks about, by its number. `arguments` and `operation` are those
    of a subject; `path` too, for which `verb` is GET, or POST with the arguments in the body.
    """

    key: str
    tool: str
    subject: Callable[[int], str]
    arguments: Callable[[str], dict[str, Any]]
    operation: Callable[[str], Any]
    verb: str
    path: Callable[[str], str]


def operation_name(number: int, collection: str = "databases") -> str:
    """Return the name of a running operation."""
    return f"{collection}/orders/operations/backup-{number:04}"


def running(name: str, state: int = _BACKUP.pages_copied) -> Any:
    """Return a typical running operation: typed metadata with times and progress."""
    operation = operations_pb2.Operation(name=name)
    metadata = BackupDatabaseMetadata()
    metadata.CopyFrom(_BACKUP)
    metadata.pages_copied = state
    operation.metadata.Pack(metadata)
    return operation


def created(database_id: str) -> Any:
    """Return an operation that was done at once, so that nobody waits for it: typed throughout."""
    name = f"databases/{database_id}"
    operation = operations_pb2.Operation(name=f"{name}/operations/create", done=True)
    operation.metadata.Pack(_CREATION)
    database = Database(
        name=name,
        state=Database.READY,
        row_count=_ROWS,
        size_bytes=1_884_160,
        update_time=_ENDED,
    )
    operation.response.Pack(database)
    return operation


GET: Final = Job(
    key="get",
    tool="get_operation",
    subject=operation_name,
    arguments=lambda name: {"name": name},
    operation=running,
    verb="GET",
    path=lambda name: f"/v1/{name}",
)
START: Final = Job(
    key="start",
    tool="create_database",
    subject=lambda number: f"orders-{number:04}",
    arguments=lambda database_id: {"databaseId": database_id, "rowCount": _ROWS},
    operation=created,
    verb="POST",
    path=lambda _database_id: "/v1/databases",
)
GET_ONE: Final = replace(GET, key="get_one", subject=lambda _number: operation_name(0))
"""All connections ask for one operation, so that their calls can be joined."""
CANNED: Final = replace(GET_ONE, key="canned", tool="canned_operation")
"""The same operation, from a server that has it ready."""
JOBS: Final[Mapping[str, Job]] = {job.key: job for job in (GET, START, GET_ONE, CANNED)}

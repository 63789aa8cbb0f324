"""The gRPC service `lro_gateway.demo.v1.DatabaseAdmin`."""

# ruff: noqa: N802 (gRPC calls methods by the names that the .proto gives them)

import asyncio
from collections.abc import Callable
from typing import TypeVar

from google.longrunning import operations_pb2

from lro_gateway.demo import names, pages
from lro_gateway.demo.backup_job import BackupJob
from lro_gateway.demo.check_job import CheckJob
from lro_gateway.demo.create_job import DEFAULT_ROWS, LARGEST_ROWS, CreateJob
from lro_gateway.demo.databases import Databases, backup_name
from lro_gateway.demo.export_job import ExportJob, require_readable
from lro_gateway.demo.interceptors import Context
from lro_gateway.demo.operations import Operations, Work
from lro_gateway.demo.refusals import invalid
from lro_gateway.demo.v1 import database_admin_pb2 as pb
from lro_gateway.demo.v1.database_admin_pb2_grpc import DatabaseAdminServicer

T = TypeVar("T")


class DatabaseAdminService(DatabaseAdminServicer):
    """Checks requests and starts operations.

    A method refuses a request with `RefusedError`, which an interceptor sends as a status.
    """

    def __init__(self, databases: Databases, operations: Operations) -> None:
        self._databases = databases
        self._operations = operations

    async def CreateDatabase(
        self, request: pb.CreateDatabaseRequest, _context: Context
    ) -> operations_pb2.Operation:
        """Start an operation that creates a database."""
        if (known := self._operations.repeated(request)) is not None:
            return known
        database_id = names.require_id("database_id", request.database_id)
        if not 0 <= request.row_count <= LARGEST_ROWS:
            raise invalid(
                "row_count", f"it is not between 0 and {LARGEST_ROWS}", "INVALID_ROW_COUNT"
            )
        self._databases.require_new(database_id)
        rows = request.row_count or DEFAULT_ROWS
        work = Work(
            parent=names.database_name(database_id),
            metadata=pb.CreateDatabaseMetadata(total_rows=rows),
            job=CreateJob(self._databases, database_id, rows),
            claim=names.database_name(database_id),
        )
        return self._operations.start(request, work)

    async def BackupDatabase(
        self, request: pb.BackupDatabaseRequest, _context: Context
    ) -> operations_pb2.Operation:
        """Start an operation that copies a database."""
        if (known := self._operations.repeated(request)) is not None:
            return known
        database_id = self._databases.require("name", request.name)
        backup_id = names.require_id("backup_id", request.backup_id)
        self._databases.require_new_backup(database_id, backup_id)
        work = Work(
            parent=request.name,
            metadata=pb.BackupDatabaseMetadata(),
            job=BackupJob(self._databases, database_id, backup_id),
            claim=backup_name(database_id, backup_id),
        )
        return self._operations.start(request, work)

    async def ExportQuery(
        self, request: pb.ExportQueryRequest, _context: Context
    ) -> operations_pb2.Operation:
        """Start an operation that writes the rows of a query to a file."""
        if (known := self._operations.repeated(request)) is not None:
            return known
        database_id = self._databases.require("database", request.database)
        if request.format not in pb.ExportQueryRequest.Format.values():
            raise invalid("format", f"{request.format} is not a format", "INVALID_FORMAT")
        path = self._databases.path(database_id)
        await asyncio.to_thread(require_readable, path, request.query)
        work = Work(
            parent=request.database,
            metadata=pb.ExportQueryMetadata(),
            job=ExportJob(self._databases, database_id, request.query, request.format),
        )
        return self._operations.start(request, work)

    async def CheckDatabase(
        self, request: pb.CheckDatabaseRequest, _context: Context
    ) -> operations_pb2.Operation:
        """Start an operation that checks a database."""
        if (known := self._operations.repeated(request)) is not None:
            return known
        database_id = self._databases.require("name", request.name)
        work = Work(
            parent=request.name,
            metadata=pb.CheckDatabaseMetadata(),
            job=CheckJob(self._databases, database_id),
        )
        return self._operations.start(request, work)

    async def GetDatabase(self, request: pb.GetDatabaseRequest, _context: Context) -> pb.Database:
        """Return a database."""
        database_id = self._databases.require("name", request.name)
        return await asyncio.to_thread(self._databases.describe, database_id)

    async def ListDatabases(
        self, request: pb.ListDatabasesRequest, _context: Context
    ) -> pb.ListDatabasesResponse:
        """Return a page of the databases."""
        ids, token = await asyncio.to_thread(
            _page, request, self._databases.ids, names.database_name("-")
        )
        databases = await asyncio.to_thread(_each, self._databases.describe, ids)
        return pb.ListDatabasesResponse(databases=databases, next_page_token=token)

    async def ListBackups(
        self, request: pb.ListBackupsRequest, _context: Context
    ) -> pb.ListBackupsResponse:
        """Return a page of the backups of a database."""
        database_id = self._databases.require("parent", request.parent)
        ids, token = await asyncio.to_thread(
            _page, request, lambda: self._databases.backup_ids(database_id), request.parent
        )
        backups = await asyncio.to_thread(
            _each, lambda backup_id: self._databases.describe_backup(database_id, backup_id), ids
        )
        return pb.ListBackupsResponse(backups=backups, next_page_token=token)


def _page(
    request: pb.ListDatabasesRequest | pb.ListBackupsRequest,
    ids: Callable[[], list[str]],
    parent: str,
) -> tuple[list[str], str]:
    """Return the ids of the requested page, and the token of the next page."""
    scope = (request.DESCRIPTOR.full_name, parent)
    size = pages.page_size(request.page_size)
    after = pages.last_before(request.page_token, *scope) or ""
    following = [identifier for identifier in ids() if identifier > after]
    page = following[:size]
    more = len(following) > size
    return page, pages.token_after(page[-1], *scope) if more else ""


def _each(describe: Callable[[str], T], ids: list[str]) -> list[T]:
    return [describe(identifier) for identifier in ids]

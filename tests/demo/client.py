"""A client of the demo backend, for tests."""

from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from lro_gateway.demo.v1 import database_admin_pb2 as pb
from lro_gateway.demo.v1 import database_admin_pb2_grpc

INVALID = grpc.StatusCode.INVALID_ARGUMENT
ORDERS = "databases/orders"
"""The name of the database that the tests make by default."""

M = TypeVar("M", bound=Message)


class Client:
    """Stubs of both services, with the calls that many tests make."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.admin = database_admin_pb2_grpc.DatabaseAdminStub(channel)
        self.operations = operations_pb2_grpc.OperationsStub(channel)

    async def begin(self, database_id: str = "orders", rows: int = 100) -> operations_pb2.Operation:
        """Start to create a database."""
        request = pb.CreateDatabaseRequest(database_id=database_id, row_count=rows)
        return await self.admin.CreateDatabase(request)

    async def create(
        self, database_id: str = "orders", rows: int = 100
    ) -> operations_pb2.Operation:
        """Create a database; return the finished operation."""
        return await self.end(await self.begin(database_id, rows))

    async def check(self, database_id: str = "orders") -> operations_pb2.Operation:
        """Check a database; return the finished operation."""
        request = pb.CheckDatabaseRequest(name=f"databases/{database_id}")
        return await self.end(await self.admin.CheckDatabase(request))

    async def end(self, operation: operations_pb2.Operation) -> operations_pb2.Operation:
        """Wait until an operation is done; return it."""
        request = operations_pb2.WaitOperationRequest(name=operation.name)
        return await self.operations.WaitOperation(request, timeout=60)

    async def get(self, operation: operations_pb2.Operation) -> operations_pb2.Operation:
        """Return the latest state of an operation."""
        request = operations_pb2.GetOperationRequest(name=operation.name)
        return await self.operations.GetOperation(request)

    async def cancel(self, operation: operations_pb2.Operation) -> None:
        """Cancel an operation."""
        request = operations_pb2.CancelOperationRequest(name=operation.name)
        await self.operations.CancelOperation(request)

    async def delete(self, operation: operations_pb2.Operation) -> None:
        """Delete an operation."""
        request = operations_pb2.DeleteOperationRequest(name=operation.name)
        await self.operations.DeleteOperation(request)

    async def list(self, name: str = "", **rest: object) -> operations_pb2.ListOperationsResponse:
        """Return a page of operations."""
        request = operations_pb2.ListOperationsRequest(name=name, **rest)
        return await self.operations.ListOperations(request)


def unpacked(packed: object, kind: type[M]) -> M:
    """Return the message in an Any, which must have this type."""
    message = kind()
    assert packed.Unpack(message), f"{packed} is not a {kind.__name__}"  # type: ignore[attr-defined]  # an Any of an untyped message
    return message


def reason(status: status_pb2.Status) -> str:
    """Return the reason of an error, whose domain must be that of the demo."""
    info = unpacked(status.details[0], error_details_pb2.ErrorInfo)
    assert info.domain == "demo.lro-gateway.dev"
    return str(info.reason)


async def refusal(call: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    """Return the code and the reason of a call, which must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]  # the error has the methods of a call that are used
    return caught.value.code(), reason(status)


def leftovers(directory: Path) -> list[Path]:
    """Return the unfinished files in the directory of a server."""
    return [path for path in (directory / ".unfinished").rglob("*") if path.is_file()]


def names(response: operations_pb2.ListOperationsResponse) -> list[str]:
    """Return the names in a page of operations."""
    return [operation.name for operation in response.operations]

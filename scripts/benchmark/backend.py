"""A program: a gRPC backend that gets and starts operations at once, and counts the calls."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import uvloop
from google.longrunning import operations_pb2, operations_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lro_gateway.demo.v1 import database_admin_pb2, database_admin_pb2_grpc
from scripts.benchmark.jobs import created, running
from scripts.benchmark.lines import Message, answer_lines, say


class Operations(operations_pb2_grpc.OperationsServicer):  # type: ignore[misc]  # generated without types
    """Every name is that of a running operation."""

    def __init__(self) -> None:
        self.calls = 0
        self._metadata = running("").metadata

    async def GetOperation(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - as gRPC has it
        """Answer, and count."""
        self.calls += 1
        return operations_pb2.Operation(name=request.name, metadata=self._metadata)


class DatabaseAdmin(database_admin_pb2_grpc.DatabaseAdminServicer):
    """Every database is created in no time."""

    def __init__(self) -> None:
        self.calls = 0

    async def CreateDatabase(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - as gRPC has it
        """Answer, and count."""
        self.calls += 1
        return created(request.database_id)


async def main() -> None:
    """Serve until stdin closes; a line is answered with the calls so far."""
    operations, databases = Operations(), DatabaseAdmin()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    operations_pb2_grpc.add_OperationsServicer_to_server(operations, server)
    database_admin_pb2_grpc.add_DatabaseAdminServicer_to_server(databases, server)
    services = [
        database_admin_pb2.DESCRIPTOR.services_by_name["DatabaseAdmin"].full_name,
        operations_pb2.DESCRIPTOR.services_by_name["Operations"].full_name,
    ]
    reflection.enable_server_reflection(services, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    say({"address": f"127.0.0.1:{port}"})

    async def count(_message: Message) -> Message:
        await asyncio.sleep(0)
        return {"calls": operations.calls + databases.calls}

    try:
        await answer_lines(count)
    finally:
        await server.stop(None)


if __name__ == "__main__":
    uvloop.run(main())

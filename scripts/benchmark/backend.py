"""A program: a gRPC backend that answers GetOperation at once, and counts what it is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import uvloop
from google.longrunning import operations_pb2, operations_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lro_gateway.demo.v1 import database_admin_pb2
from scripts.benchmark.answers import operation
from scripts.benchmark.lines import Message, answer_lines, say


class Operations(operations_pb2_grpc.OperationsServicer):  # type: ignore[misc]  # generated without types
    """Every name is that of a running operation."""

    def __init__(self) -> None:
        self.calls = 0
        self._metadata = operation("").metadata

    async def GetOperation(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - as gRPC has it
        """Answer, and count."""
        self.calls += 1
        return operations_pb2.Operation(name=request.name, metadata=self._metadata)


async def main() -> None:
    """Serve until stdin closes; a line is answered with the calls so far."""
    operations = Operations()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    operations_pb2_grpc.add_OperationsServicer_to_server(operations, server)
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
        return {"calls": operations.calls}

    try:
        await answer_lines(count)
    finally:
        await server.stop(None)


if __name__ == "__main__":
    uvloop.run(main())

"""The gRPC server of the demo: its services, its tasks and its files, opened and closed together."""

import asyncio
import collections
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from lro_gateway.demo.database_admin_service import DatabaseAdminService
from lro_gateway.demo.databases import Databases
from lro_gateway.demo.operations import Operations
from lro_gateway.demo.operations_service import OperationsService
from lro_gateway.demo.operations_store import OperationsStore
from lro_gateway.demo.pace import Pace, unpaced
from lro_gateway.demo.refusals import RefusedError
from lro_gateway.demo.v1 import database_admin_pb2, database_admin_pb2_grpc

SERVICES = (
    database_admin_pb2.DESCRIPTOR.services_by_name["DatabaseAdmin"].full_name,
    operations_pb2.DESCRIPTOR.services_by_name["Operations"].full_name,
)

Handler = grpc.RpcMethodHandler[Any, Any]
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class DemoServer:
    """A server that runs; `open` it for as long as it should."""

    def __init__(self, server: grpc.aio.Server, target: str, rpc_counts: "_Counts") -> None:
        self._server = server
        self.target = target
        self.rpc_counts = rpc_counts.of_method

    @classmethod
    @asynccontextmanager
    async def open(  # noqa: PLR0913 (each says one thing of the server, and has a default)
        cls,
        directory: Path,
        *,
        address: str = "127.0.0.1:0",
        pace: Pace = unpaced,
        retention: timedelta = timedelta(days=1),
        clock: Callable[[], datetime] = now,
        reflection: bool = True,
        health: bool = True,
    ) -> AsyncIterator["DemoServer"]:
        """Serve the databases of `directory` at `address`; work that is not done ends with it."""
        databases = Databases(directory)
        store = OperationsStore(directory / ".operations.sqlite3", retention=retention, clock=clock)
        try:
            databases.remove_unfinished()
            async with asyncio.TaskGroup() as tasks:
                operations = Operations(store, tasks, pace=pace, clock=clock)
                operations.abort_interrupted()
                counts = _Counts()
                server = grpc.aio.server(interceptors=(counts, _Refusals()))
                _add_services(server, databases, operations, store)
                if reflection:
                    _add_reflection(server)
                if health:
                    await _add_health(server)
                port = server.add_insecure_port(address)
                await server.start()
                try:
                    yield cls(server, f"{address.rpartition(':')[0]}:{port}", counts)
                finally:
                    await server.stop(grace=None)
                    operations.stop()
        finally:
            store.close()

    async def wait_for_termination(self) -> None:
        """Wait until the server is stopped."""
        await self._server.wait_for_termination()


class _Counts(grpc.aio.ServerInterceptor):
    """Counts the calls of each method."""

    def __init__(self) -> None:
        self.of_method: collections.Counter[str] = collections.Counter()

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        self.of_method[handler_call_details.method] += 1
        return await continuation(handler_call_details)


class _Refusals(grpc.aio.ServerInterceptor):
    """Sends the refusals that services raise."""

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        handler = await continuation(handler_call_details)
        if not handler_call_details.method.startswith(tuple(f"/{name}/" for name in SERVICES)):
            return handler
        answer = handler.unary_unary

        async def answer_or_refuse(
            request: object, context: grpc.aio.ServicerContext[Any, Any]
        ) -> object:
            try:
                return await answer(request, context)
            except RefusedError as error:
                await context.abort_with_status(rpc_status.to_status(error.status))

        return grpc.unary_unary_rpc_method_handler(
            answer_or_refuse, handler.request_deserializer, handler.response_serializer
        )


def _add_services(
    server: grpc.aio.Server, databases: Databases, operations: Operations, store: OperationsStore
) -> None:
    database_admin_pb2_grpc.add_DatabaseAdminServicer_to_server(
        DatabaseAdminService(databases, operations), server
    )
    operations_pb2_grpc.add_OperationsServicer_to_server(
        OperationsService(operations, store), server
    )


def _add_reflection(server: grpc.aio.Server) -> None:
    names = [*SERVICES, reflection.SERVICE_NAME, health.SERVICE_NAME]
    reflection.enable_server_reflection(names, server)


async def _add_health(server: grpc.aio.Server) -> None:
    servicer = health.aio.HealthServicer()
    for name in SERVICES:
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)

"""The gRPC server of the demo. Its tasks and files are open only while the server runs."""

import asyncio
import collections
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from grpc_health.v1 import health as grpc_health
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection as grpc_reflection

from lro_gateway.demo.database_admin_service import DatabaseAdminService
from lro_gateway.demo.databases import Databases
from lro_gateway.demo.interceptors import CallCounts, SentRefusals
from lro_gateway.demo.operations import Operations
from lro_gateway.demo.operations_service import OperationsService
from lro_gateway.demo.operations_store import OperationsStore
from lro_gateway.demo.pace import Pace, unpaced
from lro_gateway.demo.v1 import database_admin_pb2, database_admin_pb2_grpc

SERVICES = (
    database_admin_pb2.DESCRIPTOR.services_by_name["DatabaseAdmin"].full_name,
    operations_pb2.DESCRIPTOR.services_by_name["Operations"].full_name,
)

DESCRIPTORS = Path(__file__).parent / "v1" / "database_admin.binpb"
"""The descriptor set of the demo's file, with its comments. Python's reflection tells none."""


def now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


class DemoServer:
    """A running server; it runs until the context of `open` ends."""

    def __init__(
        self, server: grpc.aio.Server, target: str, rpc_counts: collections.Counter[str]
    ) -> None:
        self._server = server
        self.target = target
        self.rpc_counts = rpc_counts

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        directory: Path,
        *,
        address: str = "127.0.0.1:0",
        pace: Pace = unpaced,
        retention: timedelta = timedelta(days=1),
        clock: Callable[[], datetime] = now,
        reflection: bool = True,
        health: bool = True,
    ) -> AsyncIterator[Self]:
        """Serve the databases of `directory` at `address` until the context ends.

        The end of the context stops the operations that are not done.
        """
        databases = Databases(directory)
        store = OperationsStore(directory / ".operations.sqlite3", retention=retention, clock=clock)
        try:
            databases.remove_unfinished()
            async with _task_group() as tasks:
                operations = Operations(store, tasks, pace=pace, clock=clock)
                operations.abort_interrupted()
                counts = CallCounts()
                server = grpc.aio.server(
                    interceptors=(counts, SentRefusals(*SERVICES)),
                    # Without this option a second server could listen at the address and get calls.
                    options=(("grpc.so_reuseport", 0),),
                )
                _add_services(server, databases, operations, store)
                if health:
                    await _add_health(server)
                if reflection:
                    _add_reflection(server, *([grpc_health.SERVICE_NAME] if health else []))
                port = server.add_insecure_port(address)
                await server.start()
                try:
                    yield cls(server, f"{address.rpartition(':')[0]}:{port}", counts.of_method)
                finally:
                    await server.stop(grace=None)
                    operations.stop()
        finally:
            store.close()

    async def wait_for_termination(self) -> None:
        """Wait until the server is stopped."""
        await self._server.wait_for_termination()


@asynccontextmanager
async def _task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Yield a group of tasks; raise a single error as itself, not in an exception group."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None


def _add_services(
    server: grpc.aio.Server, databases: Databases, operations: Operations, store: OperationsStore
) -> None:
    database_admin_pb2_grpc.add_DatabaseAdminServicer_to_server(
        DatabaseAdminService(databases, operations), server
    )
    operations_pb2_grpc.add_OperationsServicer_to_server(
        OperationsService(operations, store), server
    )


def _add_reflection(server: grpc.aio.Server, *others: str) -> None:
    names = [*SERVICES, *others, grpc_reflection.SERVICE_NAME]
    grpc_reflection.enable_server_reflection(names, server)


async def _add_health(server: grpc.aio.Server) -> None:
    servicer = grpc_health.aio.HealthServicer()
    for name in SERVICES:
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)

"""A program: a gRPC backend that answers at once and counts its calls.

The state of an operation is a number. All operations have the same state, which the benchmark
changes. With the argument `wait` the backend has WaitOperation too. With the argument
`progress` a change of the state is progress of all operations. With the argument `ages` an
operation is as old as its name says, and ends after ten minutes. If the name says no age, the
operation is young until the benchmark changes the state, and then it has ended. With the argument
`knows` the backend has only the operations that were started.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
import uvloop
from google.longrunning import operations_pb2, operations_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lro_gateway.demo.v1 import database_admin_pb2, database_admin_pb2_grpc
from scripts.benchmark.processes import Message, answer_lines
from scripts.benchmark.requests import DURATION, PAGES_COPIED, created, running


class Backend(
    operations_pb2_grpc.OperationsServicer,  # type: ignore[misc]  # generated without types
    database_admin_pb2_grpc.DatabaseAdminServicer,
):
    """A backend that creates a database at once, and whose operations run for ever."""

    def __init__(self) -> None:
        self.calls = self.waiting = 0
        self.state = PAGES_COPIED
        self.answered = 0.0
        self.sent: Counter[str] = Counter()
        self.changed = asyncio.Event()
        self._metadata = running("").metadata

    async def GetOperation(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - gRPC's names
        """Answer at once."""
        self.calls += 1
        return self.answer(request.name)

    async def CreateDatabase(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - gRPC's names
        """Answer at once."""
        self.calls += 1
        return created(request.database_id)

    def answer(self, name: str) -> Any:
        """Return an operation in the present state, and note the time and the state."""
        self.sent[name] = self.state
        self.answered = time.perf_counter()
        return operations_pb2.Operation(name=name, metadata=self._metadata)

    async def follow(self, order: Message) -> Message:
        """Change the state if the order has `change`; return the state and the counts so far.

        `waiting` is the number of running calls of WaitOperation. `answered` is the time of the
        last answer in seconds, by the clock that all processes of a machine share.
        """
        if order.get("change"):
            self.state += 1
            self._metadata = running("", self.state).metadata
            self.changed.set()
            self.changed = asyncio.Event()
        return {
            "state": self.state,
            "calls": self.calls,
            "waiting": self.waiting,
            "answered": self.answered,
        }


class WaitingBackend(Backend):
    """A backend that has WaitOperation too."""

    async def WaitOperation(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - gRPC's names
        """Answer once the state differs from the last one sent, or at the timeout."""
        self.calls += 1
        self.waiting += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(request.timeout.ToTimedelta().total_seconds()):
                    while self.sent[request.name] == self.state:
                        await self.changed.wait()
        finally:
            self.waiting -= 1
        return self.answer(request.name)


class ProgressingBackend(Backend):
    """A backend whose operations make progress with each change of the state."""

    def answer(self, name: str) -> Any:
        """Return an operation whose percentage is that of the present state."""
        operation = running(name, self.state)
        metadata = database_admin_pb2.BackupDatabaseMetadata()
        operation.metadata.Unpack(metadata)
        metadata.progress_percent = min(100, 1 + self.state - PAGES_COPIED)
        operation.metadata.Pack(metadata)
        return operation


class AgingBackend(Backend):
    """A backend whose operation `name@age` began `age` seconds ago, and lasts ten minutes."""

    def answer(self, name: str) -> Any:
        """Return the operation as it is at the age in its name."""
        _, _, given = name.partition("@")
        age = int(given) if given else DURATION if self.state > PAGES_COPIED else 1
        operation = running(name, PAGES_COPIED + age)
        metadata = database_admin_pb2.BackupDatabaseMetadata()
        operation.metadata.Unpack(metadata)
        metadata.create_time.FromSeconds(int(time.time()) - age)
        metadata.progress_percent = min(100, age * 100 // DURATION)
        operation.metadata.Pack(metadata)
        if age >= DURATION:
            operation.MergeFrom(created("orders"))
            operation.name = name
        return operation


class KnowingBackend(Backend):
    """A backend that has only the operations that it has started."""

    def __init__(self) -> None:
        super().__init__()
        self._known: set[str] = set()

    async def CreateDatabase(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's names
        """Answer at once."""
        operation = await super().CreateDatabase(request, context)
        self._known.add(operation.name)
        return operation

    async def GetOperation(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's names
        """Answer at once, or that there is no such operation."""
        if request.name not in self._known:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such operation")
        return await super().GetOperation(request, context)


async def main(backend: Backend) -> None:
    """Serve until stdin closes."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    operations_pb2_grpc.add_OperationsServicer_to_server(backend, server)
    database_admin_pb2_grpc.add_DatabaseAdminServicer_to_server(backend, server)
    services = [
        database_admin_pb2.DESCRIPTOR.services_by_name["DatabaseAdmin"].full_name,
        operations_pb2.DESCRIPTOR.services_by_name["Operations"].full_name,
    ]
    reflection.enable_server_reflection(services, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        await answer_lines(backend.follow, address=f"127.0.0.1:{port}")
    finally:
        await server.stop(None)


if __name__ == "__main__":
    kinds = {
        "": Backend,
        "wait": WaitingBackend,
        "progress": ProgressingBackend,
        "ages": AgingBackend,
        "knows": KnowingBackend,
    }
    uvloop.run(main(kinds["".join(sys.argv[1:])]()))

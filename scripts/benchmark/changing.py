"""A program: a gRPC backend whose operations change on command; WaitOperation tells at once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import Any, Final

import grpc.aio
import uvloop
from google.longrunning import operations_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lro_gateway.demo.v1 import database_admin_pb2
from scripts.benchmark.jobs import running
from scripts.benchmark.lines import Message, answer_lines, say

_SERVICE: Final = "google.longrunning.Operations"


class Operations(operations_pb2_grpc.OperationsServicer):  # type: ignore[misc]  # generated without types
    """Every name is that of a running operation; all of them are in the same state, a number."""

    def __init__(self) -> None:
        self.calls = 0
        self.waiting = 0
        self.answered = 0.0
        self.state = 1
        self._told: Counter[str] = Counter()
        self._changed = asyncio.Event()

    def change(self) -> None:
        """Bring every operation into its next state."""
        self.state += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def GetOperation(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - as gRPC has it
        """Answer at once."""
        self.calls += 1
        return self._answer(request.name)

    async def WaitOperation(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - as gRPC has it
        """Answer with a state that was not told yet, as soon as there is one."""
        self.calls += 1
        self.waiting += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(request.timeout.ToTimedelta().total_seconds()):
                    while self._told[request.name] == self.state:
                        await self._changed.wait()
        finally:
            self.waiting -= 1
        return self._answer(request.name)

    def _answer(self, name: str) -> Any:
        self._told[name] = self.state
        self.answered = time.perf_counter()
        return running(name, self.state)


async def main() -> None:
    """Serve until stdin closes; a line is answered with what happened so far, after a `change`."""
    operations = Operations()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    operations_pb2_grpc.add_OperationsServicer_to_server(operations, server)
    admin = database_admin_pb2.DESCRIPTOR.services_by_name["DatabaseAdmin"].full_name
    reflection.enable_server_reflection([admin, _SERVICE], server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    say({"address": f"127.0.0.1:{port}"})

    async def tell(message: Message) -> Message:
        if message.get("change"):
            operations.change()
        return {
            "state": operations.state,
            "calls": operations.calls,
            "waiting": operations.waiting,
            # Every process of a machine has the same clock.
            "answered": operations.answered,
        }

    try:
        await answer_lines(tell)
    finally:
        await server.stop(None)


if __name__ == "__main__":
    uvloop.run(main())

"""A backend that counts what its methods have begun, by the title of the machine."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty

from tests import factory
from tests.contrary import Answer, ContraryBackend, Handler

BUILD = "factory.v1.Factory/BuildMachine"
UPDATE = "factory.v1.Factory/UpdateMachine"


@dataclass
class Counting:
    """What the backend has begun. BuildMachine recognizes a repeat by its `request_id`.

    `gate` holds back answers while it is not set. `instead` answers in place of the methods, before
    they begin anything, and `lost` answers after they have begun something.
    """

    begun: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    operations: dict[str, Any] = field(default_factory=dict)
    by_request_id: dict[str, Any] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    instead: Handler | None = None
    lost: Handler | None = None
    served: ContraryBackend = field(default_factory=ContraryBackend)

    def __post_init__(self) -> None:
        self.gate.set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Counting]:
        """Serve the methods."""
        methods = {BUILD: self._build, UPDATE: self._start, "factory.v1.Factory/GetMachine": _get}
        operations = {"GetOperation": self._read, "DeleteOperation": self._delete}
        async with ContraryBackend.open(
            operations, methods=methods, reflection_versions=("v1",), pool=factory.pool()
        ) as backend:
            self.served = backend
            yield self

    @property
    def target(self) -> str:
        """The address of the backend."""
        return self.served.target

    async def _build(self, request: Any, context: Any) -> Answer:
        known: Answer | None = self.by_request_id.get(request.request_id)
        if known is not None:
            self.calls[request.machine.title] += 1
            return known
        return await self._start(request, context)

    async def _start(self, request: Any, context: Any) -> Answer:
        title = request.machine.title
        self.calls[title] += 1
        if self.instead is not None:
            return await self.instead(request, context)
        self.begun[title] += 1
        name = f"lines/1/operations/{len(self.operations) + 1}"
        operation: Any = operations_pb2.Operation(name=name)
        self.operations[name] = operation
        self.by_request_id[getattr(request, "request_id", name)] = operation
        self.called.set()
        await self.gate.wait()
        if self.lost is not None:
            return await self.lost(request, context)
        answer: Answer = operation
        return answer

    async def _read(self, request: Any, context: Any) -> Answer:
        if request.name not in self.operations:
            await context.abort(grpc.StatusCode.NOT_FOUND, "it is gone")
        answer: Answer = self.operations[request.name]
        return answer

    async def _delete(self, request: Any, _context: Any) -> Answer:
        del self.operations[request.name]
        return Empty()


async def _get(_request: Any, _context: Any) -> Answer:
    machine: Answer = factory.message("Machine", title="Press")
    return machine

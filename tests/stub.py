"""A backend that serves every unary method of any descriptors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.longrunning import operations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.empty_pb2 import Empty

from lro_gateway.descriptors.message_types import class_of
from tests.contrary import Answer, ContraryBackend, Handler, refusing

_OPERATION: Final = "google.longrunning.Operation"
_CANCELLED: Final = 1

Naming = Callable[[Any], str]
"""Returns the name of the resource that a request starts an operation of."""


def first_name(request: Any) -> str:
    """Return the first text of a request that has a slash, as names of resources have."""
    texts = (value for _, value in request.ListFields() if isinstance(value, str))
    return next((text for text in texts if "/" in text), "things/1")


@dataclass
class Stub:
    """The operations that the methods of a pool have started.

    An operation that has been read `reads` times is done. Its metadata and its response are empty
    messages of the announced types, except that a resource has its name. `answers` are what other
    methods answer, by their paths.
    """

    pool: DescriptorPool
    reads: int = 0
    naming: Naming = first_name
    answers: Mapping[str, Handler] = field(default_factory=dict)
    started: int = 0
    running: dict[str, int] = field(default_factory=dict)
    operations: dict[str, Any] = field(default_factory=dict)
    responses: dict[str, Any] = field(default_factory=dict)

    @asynccontextmanager
    async def open(self, *services: str) -> AsyncIterator[ContraryBackend]:
        """Serve these services, the Operations RPCs and reflection."""
        methods = {
            f"{service}/{method.name}": self.answers.get(f"{service}/{method.name}")
            or self._answer(method)
            for service in services
            for method in unary_methods(self.pool, service)
        }
        operations = {
            "GetOperation": self._get,
            "ListOperations": self._list,
            "WaitOperation": self._get,
            "CancelOperation": self._cancel,
            "DeleteOperation": self._delete,
        }
        async with ContraryBackend.open(
            operations, methods=methods, reflection_versions=("v1",), pool=self.pool
        ) as backend:
            yield backend

    def _answer(self, method: MethodDescriptor) -> Handler:
        async def start(request: Any, _context: Any) -> Answer:
            return self._start(method, request)

        async def answer(_request: Any, _context: Any) -> Answer:
            return class_of(method.output_type)()

        return start if method.output_type.full_name == _OPERATION else answer

    def _start(self, method: MethodDescriptor, request: Any) -> Answer:
        info = method.GetOptions().Extensions[operations_pb2.operation_info]
        resource = self.naming(request)
        self.started += 1
        name = f"{resource}/operations/{self.started}"
        operation = operations_pb2.Operation(name=name)
        _pack(operation.metadata, self._type(info.metadata_type, method))
        response: Any = operations_pb2.Operation()
        _pack(response.response, self._type(info.response_type, method), resource)
        self.operations[name] = operation
        self.responses[name] = response.response
        self.running[name] = self.reads
        self._advance(name)
        started: Answer = operation
        return started

    def _type(self, name: str, method: MethodDescriptor) -> Descriptor | None:
        package = method.containing_service.file.package
        for full_name in (name, f"{package}.{name}") if name else ():
            try:
                found: Descriptor = self.pool.FindMessageTypeByName(full_name)
            except KeyError:
                continue
            return found
        return None

    def _advance(self, name: str) -> None:
        operation = self.operations[name]
        if not operation.done and self.running[name] <= 0:
            operation.done = True
            operation.response.CopyFrom(self.responses[name])

    async def _get(self, request: Any, context: Any) -> Answer:
        operation: Answer = await self._known(request, context)
        self._advance(request.name)
        self.running[request.name] -= 1
        return operation

    async def _list(self, request: Any, _context: Any) -> Answer:
        parent = request.name.removesuffix("operations").rstrip("/")
        start = f"{parent}/" if parent else ""
        found = [each for name, each in self.operations.items() if name.startswith(start)]
        page: Answer = operations_pb2.ListOperationsResponse(operations=found)
        return page

    async def _cancel(self, request: Any, context: Any) -> Answer:
        operation = await self._known(request, context)
        if not operation.done:
            operation.done = True
            operation.error.code = _CANCELLED
            operation.error.message = "somebody cancelled it"
        return Empty()

    async def _delete(self, request: Any, context: Any) -> Answer:
        await self._known(request, context)
        del self.operations[request.name]
        return Empty()

    async def _known(self, request: Any, context: Any) -> Any:
        if request.name not in self.operations:
            await refusing(grpc.StatusCode.NOT_FOUND, "there is no such operation")(
                request, context
            )
        return self.operations[request.name]


def unary_methods(pool: DescriptorPool, service: str) -> Iterable[MethodDescriptor]:
    """Return the unary methods of a service."""
    methods = pool.FindServiceByName(service).methods
    return [each for each in methods if not (each.client_streaming or each.server_streaming)]


def _pack(target: Any, descriptor: Descriptor | None, name: str = "") -> None:
    """Pack an empty message of a type, which has this name if it is a resource."""
    if descriptor is not None:
        message: Any = class_of(descriptor)()
        field = descriptor.fields_by_name.get("name")
        if name and field is not None and field.type == FieldDescriptor.TYPE_STRING:
            message.name = name
        target.Pack(message)

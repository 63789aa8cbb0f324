"""Real gRPC servers whose every answer a test sets, for backends that behave in unusual ways."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.longrunning import operations_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_status import rpc_status

from lro_gateway.descriptors.message_types import class_of

OPERATIONS = "google.longrunning.Operations"
REQUESTS: Mapping[str, Any] = {
    "GetOperation": operations_pb2.GetOperationRequest,
    "ListOperations": operations_pb2.ListOperationsRequest,
    "WaitOperation": operations_pb2.WaitOperationRequest,
    "CancelOperation": operations_pb2.CancelOperationRequest,
    "DeleteOperation": operations_pb2.DeleteOperationRequest,
}

Answer = Message | bytes
Handler = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Answer]]
"""Gets the parsed request and the context; returns a message, or the bytes of an answer."""


@dataclass
class Call:
    """A call that a backend received."""

    method: str
    request: Any
    metadata: dict[str, str | bytes]


@dataclass
class ContraryBackend:
    """A running gRPC server; `calls` lists the calls that it received, in order."""

    target: str = ""
    calls: list[Call] = field(default_factory=list)

    @property
    def answered(self) -> list[Call]:
        """The received calls except those of reflection."""
        return [call for call in self.calls if not call.method.startswith("reflection.")]

    def count(self, method: str) -> int:
        """Return how often the backend received a call of a method."""
        return sum(call.method == method for call in self.calls)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        handlers: Mapping[str, Handler],
        *,
        methods: Mapping[str, Handler] | None = None,
        silent: Iterable[str] = (),
        reflection_versions: tuple[str, ...] = (),
        pool: DescriptorPool | None = None,
        address: str = "127.0.0.1:0",
        credentials: grpc.ServerCredentials | None = None,
    ) -> AsyncIterator[ContraryBackend]:
        """Serve the Operations RPCs that have a handler; the others are UNIMPLEMENTED.

        `methods` are RPCs of other services, by `pkg.Service/Method`; `pool` has their types.
        `silent` are names of RPCs, `pkg.Service/Method`, that end with OK and without a message.
        """
        backend = cls()
        server = grpc.aio.server(
            options=[("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
        )
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    OPERATIONS,
                    {
                        name: backend._rpc(name, handler, REQUESTS[name])
                        for name, handler in handlers.items()
                    },
                ),
            )
        )
        for path in silent:
            service, _, name = path.partition("/")
            empty: dict[str, Any] = {name: grpc.unary_stream_rpc_method_handler(_no_messages)}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, empty),))
        served = {OPERATIONS: None}
        for path, handler in (methods or {}).items():
            assert pool is not None
            service, _, name = path.partition("/")
            descriptor = pool.FindServiceByName(service).methods_by_name[name].input_type
            request = class_of(descriptor)
            rpc = {name: backend._rpc(name, handler, request)}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, rpc),))
            served[service] = None
        for version in reflection_versions:
            server.add_generic_rpc_handlers((backend._reflection(version, pool, list(served)),))
        if credentials:
            port = server.add_secure_port(address, credentials)
        else:
            port = server.add_insecure_port(address)
        await server.start()
        backend.target = address if address.startswith("unix:") else f"127.0.0.1:{port}"
        try:
            yield backend
        finally:
            await server.stop(None)

    def _rpc(
        self, name: str, handler: Handler, request_class: Any
    ) -> grpc.RpcMethodHandler[Any, Any]:
        async def answer(content: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            request = request_class.FromString(content)
            metadata = dict(context.invocation_metadata() or ())
            self.calls.append(Call(name, request, metadata))
            result = await handler(request, context)
            return result if isinstance(result, bytes) else result.SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)

    def _reflection(self, version: str, pool: DescriptorPool | None, services: list[str]) -> Any:
        servicer: Any = reflection.aio.ReflectionServicer(services, pool=pool)

        async def answer(requests: Any, context: Any) -> AsyncIterator[Any]:
            metadata = dict(context.invocation_metadata() or ())
            async for request in requests:
                self.calls.append(Call(f"reflection.{version}", request, metadata))
                async for response in servicer.ServerReflectionInfo(_only(request), context):
                    yield response

        return grpc.method_handlers_generic_handler(
            f"grpc.reflection.{version}.ServerReflection",
            {
                "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
                    answer,
                    request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
                    response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
                )
            },
        )


async def _no_messages(_request: Any, _context: Any) -> AsyncIterator[Any]:
    """Answer with no message, which gRPC gives to the client of a unary call as None."""
    return
    yield


async def _only(request: Any) -> AsyncIterator[Any]:
    yield request


def answering(answer: Answer) -> Handler:
    """Return a handler that always answers with the same message or bytes."""

    async def handler(_request: Any, _context: grpc.aio.ServicerContext[Any, Any]) -> Answer:
        return answer

    return handler


def acknowledging() -> Handler:
    """Return a handler that answers with Empty."""
    return answering(Empty())


def knowing(operation: operations_pb2.Operation) -> dict[str, Handler]:
    """Return handlers of all five RPCs for a backend with one operation."""
    return {
        "GetOperation": answering(operation),
        "WaitOperation": answering(operation),
        "ListOperations": answering(operations_pb2.ListOperationsResponse(operations=[operation])),
        "CancelOperation": acknowledging(),
        "DeleteOperation": acknowledging(),
    }


def refusing(code: grpc.StatusCode, message: str = "", *details: Message) -> Handler:
    """Return a handler that fails with a code, a message and details."""

    async def handler(_request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
        if details:
            status = status_pb2.Status(code=code.value[0], message=message)
            for detail in details:
                status.details.add().Pack(detail)
            await context.abort_with_status(rpc_status.to_status(status))
        await context.abort(code, message)

    return handler


def unused_address() -> str:
    """Return an address of loopback at which no process listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"

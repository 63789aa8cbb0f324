"""Real gRPC servers whose every answer a test sets, for backends that behave in unusual ways."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.longrunning import operations_pb2
from google.protobuf.descriptor import Descriptor
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
    """A call that a backend received; `path` is `pkg.Service/Method`, and `method` its end."""

    method: str
    request: Any
    metadata: dict[str, str | bytes]
    path: str = ""


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
        rpcs: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            f"{OPERATIONS}/{name}": backend._rpc(
                f"{OPERATIONS}/{name}", handler, REQUESTS[name].DESCRIPTOR
            )
            for name, handler in handlers.items()
        }
        rpcs |= {path: grpc.unary_stream_rpc_method_handler(_no_messages) for path in silent}
        for path, handler in (methods or {}).items():
            assert pool is not None
            service, _, name = path.partition("/")
            descriptor = pool.FindServiceByName(service).methods_by_name[name].input_type
            rpcs[path] = backend._rpc(path, handler, descriptor)
        server.add_generic_rpc_handlers((_Rpcs(rpcs),))
        served = dict.fromkeys(
            path.partition("/")[0] for path in (f"{OPERATIONS}/", *(methods or {}))
        )
        for version in reflection_versions:
            server.add_generic_rpc_handlers((backend._reflection(version, pool, list(served)),))
        if credentials:
            port = server.add_secure_port(address, credentials)
        else:
            port = server.add_insecure_port(address)
        await server.start()
        host = address.rpartition(":")[0]
        backend.target = address if host == "unix" else f"{host}:{port}"
        try:
            yield backend
        finally:
            await server.stop(None)

    def _rpc(
        self, path: str, handler: Handler, request_type: Descriptor
    ) -> grpc.RpcMethodHandler[Any, Any]:
        async def answer(content: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            request = class_of(request_type).FromString(content)
            metadata = dict(context.invocation_metadata() or ())
            self.calls.append(Call(path.partition("/")[2], request, metadata, path))
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


class _Rpcs(grpc.GenericRpcHandler):
    """Finds an RPC by its path in one step, since a backend may have ten thousand of them."""

    def __init__(self, rpcs: Mapping[str, grpc.RpcMethodHandler[Any, Any]]) -> None:
        self._rpcs = rpcs

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        return self._rpcs.get(handler_call_details.method.removeprefix("/"))


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

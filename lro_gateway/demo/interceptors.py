"""Interceptors of every call: one counts calls, and one sends refusals as a status with details."""

import collections
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
from grpc_status import rpc_status

from lro_gateway.demo.refusals import RefusedError

# These types are quoted, because only the stubs of grpc give them parameters.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]


class CallCounts(grpc.aio.ServerInterceptor):
    """Counts the calls of each method by its full name, `/package.Service/Method`."""

    def __init__(self) -> None:
        self.of_method: collections.Counter[str] = collections.Counter()

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        """Count a call."""
        self.of_method[handler_call_details.method] += 1
        return await continuation(handler_call_details)


class SentRefusals(grpc.aio.ServerInterceptor):
    """Sends the status of each `RefusedError` that a unary method of `services` raises."""

    def __init__(self, *services: str) -> None:
        self._prefixes = tuple(f"/{service}/" for service in services)

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        """Return the handler of a call, wrapped so that it sends refusals."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(self._prefixes):
            return handler
        # The types of grpc describe a blocking server. In grpc.aio `unary_unary` is a coroutine
        # function.
        answer: Any = handler.unary_unary

        async def answer_or_refuse(request: object, context: Context) -> object:
            try:
                return await answer(request, context)
            except RefusedError as error:
                await context.abort_with_status(rpc_status.to_status(error.status))

        return grpc.unary_unary_rpc_method_handler(
            answer_or_refuse, handler.request_deserializer, handler.response_serializer
        )

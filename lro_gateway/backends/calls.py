"""Calls of the RPCs of one backend: their slots, deadlines, metadata and errors."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import quote

import grpc.aio
from google.protobuf.message import Message

from lro_gateway.backends.channel import OPERATIONS, Endpoint
from lro_gateway.backends.credentials.shown import Shown
from lro_gateway.backends.grpc_failures import has_passed
from lro_gateway.backends.messages import received
from lro_gateway.backends.rounds import READER
from lro_gateway.backends.slots import CallSlots, NoSlotError
from lro_gateway.backends.status import (
    backend_error,
    gateway_error,
    too_many_calls,
    was_never_sent,
)
from lro_gateway.backends.vigil import Vigil
from lro_gateway.descriptors.registry import TypeRegistry
from lro_gateway.errors import Code, StatusError
from lro_gateway.principal import Reader
from lro_gateway.telemetry import metrics, tracing

logger: Final = logging.getLogger(__name__)

WAIT_OPERATION: Final = f"{OPERATIONS}/WaitOperation"

_NO_SLOT: Final = "backend %s: a call got no slot, because too many run"
_MAX_ROUTING: Final = 4096
"""The maximum length of a routing header. gRPC servers accept 8 KB of metadata by default."""

_Response = TypeVar("_Response", bound=Message)


@dataclass(frozen=True, slots=True)
class LastCall:
    """The outcome of the latest call to a backend.

    `when` is in seconds since the epoch. `error` is None if the backend answered in gRPC, even with
    an error of its own.
    """

    when: float
    error: StatusError | None


class Calls:
    """Makes the calls of a backend. At most so many run at a time as its slots allow.

    `last` is the outcome of the latest call, or None before the first one.
    """

    def __init__(
        self, endpoint: Endpoint, channel: grpc.aio.Channel, registry: TypeRegistry
    ) -> None:
        self.last: LastCall | None = None
        self._endpoint = endpoint
        self._registry = registry
        self._channel = channel
        limit = endpoint.max_concurrent_calls
        share = max(1, int(limit * endpoint.max_call_share))
        self._slots = CallSlots(limit, endpoint.max_queued_calls, share)
        self._vigil = Vigil(channel, endpoint)
        self._rpcs: dict[str, grpc.aio.UnaryUnaryMultiCallable[Any, Any]] = {}

    @property
    def has_room_to_wait(self) -> bool:
        """Whether WaitOperation may be called now. Too many such calls would hold up the others."""
        return self._slots.has_room_to_wait(READER.get())

    async def make(
        self,
        rpc: str,
        request: Message,
        response: type[_Response],
        routing: Mapping[str, str],
        deadline: timedelta,
        shown: Shown | None = None,
        *,
        drops: bool = False,
    ) -> _Response:
        """Call an RPC, and return its answer. `routing` is sent as a header (AIP-4222).

        The metadata of `shown` is sent too. A call takes no slot while it waits for a token.
        Raises a `StatusError` if the call fails, or if it gets no slot or no answer in `deadline`.
        With `drops` an answer is dropped, and counts as a NOT_FOUND without a text.
        """
        call = self._rpcs.get(rpc) or self._rpc(rpc)
        reader = READER.get()
        started = time.monotonic()
        more = await shown.metadata(deadline.total_seconds()) if shown is not None else ()
        if rpc == WAIT_OPERATION or not self._slots.enter_at_once(reader):
            await self._enter(rpc, deadline, reader)
        sent = time.perf_counter()
        code = "CANCELLED"
        try:
            # The call has no deserializer and returns bytes. With a deserializer, gRPC would return
            # None for a malformed answer.
            content = await call(
                request.SerializeToString(),
                timeout=deadline.total_seconds() - (time.monotonic() - started),
                metadata=(*self._metadata(routing), *more),
            )
            if drops:
                _drop()
            code = "OK"
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            raise await self._failure(error, rpc, deadline, started) from None
        finally:
            metrics.RPCS.record(time.perf_counter() - sent, "grpc", rpc, code, self._endpoint.name)
            if rpc == WAIT_OPERATION:
                self._slots.leave_after_wait(reader)
            else:
                self._slots.leave(reader)
        self._set_last(None)
        return await received(response, content, self._registry.types.capacity, rpc, self._endpoint)

    async def _failure(
        self, error: grpc.aio.AioRpcError, rpc: str, deadline: timedelta, started: float
    ) -> StatusError:
        """Return the error of a failed call, and note whether the backend answered."""
        if is_due := has_passed(deadline, started):
            self.suspect()
        failure = gateway_error(error, rpc, self._endpoint, self._channel, is_due=is_due)
        self._set_last(failure)
        if failure is None:
            return await backend_error(error, self._endpoint, self._registry)
        if was_never_sent(error, self._channel.get_state()):
            failure.unsent = True
        return failure

    def _rpc(self, rpc: str) -> grpc.aio.UnaryUnaryMultiCallable[Any, Any]:
        call = self._rpcs[rpc] = self._channel.unary_unary(f"/{rpc}")
        return call

    async def _enter(self, rpc: str, deadline: timedelta, reader: Reader) -> None:
        """Take a slot for a call of an RPC. Raises TOO_MANY_CALLS if there is none in time."""
        try:
            if rpc == WAIT_OPERATION:
                self._slots.enter_to_wait(reader)
            else:
                await self._slots.enter(deadline.total_seconds(), reader)
        except NoSlotError as error:
            logger.warning(
                "backend %s: a call got no slot, because too many run", self._endpoint.name
            )
            limit = self._slots.share if error.is_share else self._slots.limit
            raise too_many_calls(
                rpc, self._endpoint, limit, is_late=error.is_late, is_share=error.is_share
            ) from None

    def suspect(self) -> None:
        """Test the connection, because a call on it got no answer until its deadline."""
        self._vigil.begin()

    def _set_last(self, failure: StatusError | None) -> None:
        unreachable = failure is not None and (
            failure.code in {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED}
            or failure.reason in {"HTTP_RESPONSE", "CALL_BROKEN"}
        )
        self.last = LastCall(time.time(), failure if unreachable else None)

    def _metadata(self, routing: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        metadata = (*self._endpoint.metadata, *tracing.trace_metadata(self._endpoint.baggage))
        if not routing:
            return metadata
        # A proxy before the backend can route the call by this header, without parsing the message.
        parameters = "&".join(f"{key}={quote(value, safe='')}" for key, value in routing.items())
        if len(parameters) > _MAX_ROUTING:
            return metadata
        return (("x-goog-request-params", parameters), *metadata)


def _drop() -> NoReturn:
    """Fail a call that was answered, so that all else is as for a name that is missing."""
    metadata = grpc.aio.Metadata()
    raise grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, metadata, metadata)

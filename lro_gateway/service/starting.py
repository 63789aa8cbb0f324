"""Starts: calls of methods. Each call runs in a task that goes on if the caller leaves."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_incrementing

from lro_gateway.backends.backend import Backend
from lro_gateway.background import BackgroundTasks
from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.methods import Method
from lro_gateway.descriptors.parsing import UnknownTypesError, parse
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.errors import (
    Code,
    StatusError,
    invalid_argument,
    status_error,
    unexpected_error,
)
from lro_gateway.operations.operation import BackendStatusError, Operation
from lro_gateway.service.shutdown import Shutdown, shutting_down
from lro_gateway.service.waiting import Waits

logger: Final = logging.getLogger(__name__)

_REQUEST_ID: Final = "request_id"
_RETRIES: Final = 2
_PAUSE: Final = 0.2
"""Seconds before the second attempt. Each later pause is this much longer than the last one."""
_CALLER_LEFT: Final = "the caller of %s on %s left: %s"
_SHUTDOWN_GRACE: Final = 3.0
"""Seconds that a caller waits for its answer after the gateway starts to stop.

This is shorter than the time that the HTTP server allows for requests, so the caller gets an error.
"""


@dataclass(frozen=True, slots=True)
class Started:
    """The answer of a method: an operation, or a plain method's `Response`.

    `request_id` is the id that the gateway put into the request. It is None if the gateway put in
    no id. A caller can repeat the call with the same `request_id` (AIP-155).
    """

    operation: Operation | None = None
    response: Any = None
    request_id: str | None = None


Outcome = Started | StatusError


@dataclass(frozen=True, slots=True)
class Prepared:
    """A method's request, ready to send. `request_id` is None unless the gateway put one in."""

    method: Method
    request: Message
    request_id: str | None


class Starts:
    """Calls methods, in tasks that outlive their callers."""

    def __init__(
        self, tasks: BackgroundTasks, shutdown: Shutdown, waits: Waits, grace: timedelta
    ) -> None:
        """Set `grace`, which is the time that a call waits for its operation to end."""
        self._tasks = tasks
        self._shutdown = shutdown
        self._waits = waits
        self._grace = grace
        self._shutdown_grace: asyncio.Task[None] | None = None

    async def start(self, backend: Backend, prepared: Prepared) -> Started:
        """Call a method, and wait a moment for its operation to end.

        The call goes on if its caller leaves, or if the gateway starts to stop before the answer.
        In both cases the gateway logs the name of the operation that the call started.
        """
        method = prepared.method
        task = self._tasks.start_call(_outcome(_call(backend, prepared)))
        try:
            await asyncio.wait({task, self._end_of_shutdown_grace()}, return_when="FIRST_COMPLETED")
            # If the gateway cancelled the call, its caller gets an error and is not cancelled.
            outcome = _stopped(prepared) if task.cancelled() or not task.done() else task.result()
        finally:
            if not task.done():
                task.add_done_callback(lambda done: _log_orphan(backend, method, done))
        if isinstance(outcome, StatusError):
            raise outcome
        operation = outcome.operation
        if operation is None or operation.done or not operation.name or not self._grace:
            return outcome
        try:
            ended = await self._waits.quick_end(backend, operation, self._grace)
        except asyncio.CancelledError:
            logger.warning(_CALLER_LEFT, method.path, backend.name, operation.name)
            raise
        return replace(outcome, operation=ended)

    def _end_of_shutdown_grace(self) -> asyncio.Task[None]:
        """Return the one task that all calls share, which ends after the shutdown grace."""
        if self._shutdown_grace is None:
            self._shutdown_grace = self._tasks.start(self._wait_for_shutdown_grace())
        return self._shutdown_grace

    async def _wait_for_shutdown_grace(self) -> None:
        """Wait until the gateway has been stopping for `_SHUTDOWN_GRACE` seconds."""
        await self._shutdown.wait()
        await asyncio.sleep(_SHUTDOWN_GRACE)


def _stopped(prepared: Prepared) -> StatusError:
    """Return the error of a call that had no answer before the gateway stopped."""
    path = prepared.method.path
    error = shutting_down(f"{path} was called and may have begun", {"method": path})
    return _with_request_id(error, prepared.request_id)


async def prepare(backend: Backend, method: Method, arguments: Mapping[str, Any]) -> Prepared:
    """Parse ProtoJSON arguments into the request, and put in a request_id if it has none.

    A wrong argument raises INVALID_ARGUMENT, which names the wrong field.
    """
    is_bare = method.request.full_name in well_known.BARE
    request = (
        await _parsed(backend, method, _in_value(arguments), "value")
        if is_bare
        else await _parsed(backend, method, dict(arguments))
    )
    for path in request.FindInitializationErrors():
        # Protobuf refuses to serialize a message that lacks a required field of proto2.
        raise invalid_argument(path, "is required", "REQUIRED_FIELD")
    return Prepared(method, request, _fill_request_id(method, request))


async def _parsed(backend: Backend, method: Method, value: Any, path: str = "") -> Any:
    """Parse a request. Look up the types of its `Any` messages that are not known yet.

    `path` is the argument that has the request's JSON, or empty if all arguments together have it.
    """
    looked_up: set[str] = set()
    while True:
        request = _empty_request(backend, method)
        try:
            parse(value, request, backend.registry.types, path)
        except UnknownTypesError as error:
            names = error.names - looked_up
            if not names:
                raise
            looked_up |= names
            await backend.registry.complete(partial(_unknown, names))
        else:
            return request


def _unknown(names: Iterable[str], types: TypeSet) -> list[str]:
    return [name for name in names if types.message_class(name) is None]


def _empty_request(backend: Backend, method: Method) -> Message:
    name = method.request.full_name
    message_class = backend.registry.types.message_class(name)
    if message_class is None:
        raise status_error(
            Code.FAILED_PRECONDITION,
            f"backend {backend.name!r} no longer has descriptors of {name}",
            "METHOD_UNKNOWN",
            metadata={"method": method.path, "type": name},
            backend=backend.name,
        )
    return message_class()


def _in_value(arguments: Mapping[str, Any]) -> Any:
    """Return the JSON of a request whose ProtoJSON is not an object, such as a Timestamp.

    The caller passes it as the argument `value`.
    """
    if unknown := next((name for name in arguments if name != "value"), ""):
        raise invalid_argument(unknown, "there is no such field; there is: value", "UNKNOWN_FIELD")
    if "value" not in arguments:
        raise invalid_argument("value", "is required", "REQUIRED_FIELD")
    return arguments["value"]


def _fill_request_id(method: Method, request: Any) -> str | None:
    """Put a UUID into an empty idempotency key, and return the UUID.

    Returns None if the method has no such key, or if the request already has a value for it.
    """
    key = method.idempotency_key
    # The request may have newer descriptors than the method, in which the field is missing or has
    # another type.
    if key is None or getattr(request, key.name, None) != "":
        return None
    request_id = str(uuid.uuid4())
    setattr(request, key.name, request_id)
    return request_id


async def _outcome(call: Coroutine[Any, Any, Started]) -> Outcome:
    """Return the result of a call, or its error.

    The error is not raised, because no one would handle it in the task if the caller has left.
    """
    try:
        return await call
    except StatusError as error:
        return error
    except Exception as error:  # noqa: BLE001 - unexpected_error logs it
        # An unexpected exception of one call must not end the gateway's other work.
        return unexpected_error("the call of a method", error)


async def _call(backend: Backend, prepared: Prepared) -> Started:
    """Call a method. Retry after UNAVAILABLE if a second call has no further effect (AIP-194)."""
    routing = _routing(prepared.method, prepared.request)
    try:
        # Measured: the machinery of a retry costs a tenth of a start, and few calls need it.
        return await _call_once(backend, prepared, routing)
    except StatusError as error:
        repeatable = _is_repeatable(prepared.method, prepared.request)
        if not (repeatable and _is_unavailable(error)):
            raise _with_request_id(error, prepared.request_id) from None
    await asyncio.sleep(_PAUSE)
    retries = AsyncRetrying(
        retry=retry_if_exception(_is_unavailable),
        stop=stop_after_attempt(_RETRIES),
        wait=wait_incrementing(start=2 * _PAUSE, increment=_PAUSE),
        reraise=True,
    )
    try:
        return await retries(_call_once, backend, prepared, routing)
    except StatusError as error:
        raise _with_request_id(error, prepared.request_id) from None


def _is_unavailable(error: BaseException) -> bool:
    return isinstance(error, StatusError) and error.code is Code.UNAVAILABLE


async def _call_once(backend: Backend, prepared: Prepared, routing: Mapping[str, str]) -> Started:
    method, request = prepared.method, prepared.request
    if not method.is_long_running:
        response = await backend.call(method, request, routing)
        return Started(None, response, prepared.request_id)
    operation = await backend.start(method, request, routing)
    logger.info("started %s on %s: %s", method.path, backend.name, operation.name)
    return Started(operation, None, prepared.request_id)


def _is_repeatable(method: Method, request: Any) -> bool:
    """Return whether a second call with this request has no further effect.

    This is so if the request has a request_id (AIP-155), or if a plain method changes nothing.
    """
    key = method.idempotency_key
    if key is not None and getattr(request, key.name, None):
        return True
    return method.is_safe and not method.is_long_running


def _with_request_id(error: StatusError, request_id: str | None) -> StatusError:
    """Add the request_id to an error of a call that the backend may have received.

    The caller can repeat the call with the same request_id. Errors of a backend are not changed.
    """
    uncertain = error.code in {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED}
    if request_id is None or not uncertain or isinstance(error, BackendStatusError):
        return error
    status = status_pb2.Status()
    status.CopyFrom(error.status)
    status.message += f"; repeat the call with requestId {request_id} to avoid a second start"
    info = error_details_pb2.ErrorInfo.FromString(status.details[0].value)
    info.metadata[_REQUEST_ID] = request_id
    status.details[0].Pack(info)
    return StatusError(status, backend=error.backend)


def _routing(method: Method, request: Message) -> dict[str, str]:
    """Return the values of the fields that the method's HTTP path names, by field path.

    The backend gets them in the routing header `x-goog-request-params` (AIP-4222).
    """
    found = {}
    for field in method.routing_fields:
        value: Any = request
        for each in field.path:
            value = getattr(value, each.name, "")
        if isinstance(value, str) and value:
            found[field.name] = value
    return found


def routing_names(method: Method, arguments: Mapping[str, Any]) -> list[str]:
    """Return the resource names in the arguments, from the fields that the HTTP path names."""
    names = []
    for field in method.routing_fields:
        value: Any = arguments
        for each in field.path:
            if not isinstance(value, Mapping):
                break
            value = value.get(each.json_name, value.get(each.name))
        if isinstance(value, str) and value:
            names.append(value)
    return names


def _log_orphan(backend: Backend, method: Method, task: asyncio.Task[Outcome]) -> None:
    """Log the outcome of a call whose caller had left."""
    if task.cancelled():
        problem = "the gateway cancelled the call, whose operation may run all the same"
        logger.warning(_CALLER_LEFT, method.path, backend.name, problem)
        return
    outcome = task.result()
    name = outcome.operation.name if isinstance(outcome, Started) and outcome.operation else None
    logger.warning(_CALLER_LEFT, method.path, backend.name, name or outcome)

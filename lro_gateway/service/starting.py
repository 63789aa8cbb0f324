"""Calling a method: its request parsed, its operation never lost, its quick end waited for."""

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
from lro_gateway.background import BackgroundTasks, race
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
_ATTEMPTS: Final = 3
_PAUSE: Final = 0.2
_LEFT: Final = "the caller of %s on %s left: %s"
_LAST_CHANCE: Final = 3.0
"""Seconds that a call gets to answer its caller once the gateway stops; a request gets more."""


@dataclass(frozen=True, slots=True)
class Started:
    """The answer of a method: an operation, or a plain method's response as ProtoJSON.

    `request_id` is set if the gateway filled it in, so that a retry can repeat it (AIP-155).
    """

    operation: Operation | None = None
    response: Any = None
    request_id: str | None = None


Outcome = Started | StatusError


@dataclass(frozen=True, slots=True)
class Prepared:
    """A method's request, ready to be sent; `request_id` is set if the gateway filled it in."""

    method: Method
    request: Message
    request_id: str | None


class Starts:
    """Calls methods, in tasks that outlive their callers."""

    def __init__(
        self, tasks: BackgroundTasks, shutdown: Shutdown, waits: Waits, grace: timedelta
    ) -> None:
        """Take how long a call waits for the end of its operation, as `grace`."""
        self._tasks = tasks
        self._shutdown = shutdown
        self._waits = waits
        self._grace = grace

    async def start(self, backend: Backend, prepared: Prepared) -> Started:
        """Call a method, and wait a moment for its operation to end.

        The call goes on if its caller leaves, or if the gateway stops before the answer. The log
        then names the operation that it began.
        """
        method = prepared.method
        task = self._tasks.start_call(_outcome(_call(backend, prepared)))
        try:
            await race(asyncio.wait({task}), self._end_of_patience())
            # A call that the gateway cuts off must not cancel its caller.
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
            logger.warning(_LEFT, method.path, backend.name, operation.name)
            raise
        return replace(outcome, operation=ended)

    async def _end_of_patience(self) -> None:
        """Return when the gateway has been stopping for so long that it must answer the caller."""
        await self._shutdown.wait()
        await asyncio.sleep(_LAST_CHANCE)


def _stopped(prepared: Prepared) -> StatusError:
    """Make the error of a call whose end the gateway does not wait for."""
    path = prepared.method.path
    error = shutting_down(f"{path} was called and may have begun", {"method": path})
    return _with_request_id(error, prepared.request_id)


async def prepare(backend: Backend, method: Method, arguments: Mapping[str, Any]) -> Prepared:
    """Make the request of ProtoJSON arguments; INVALID_ARGUMENT names the field that is wrong."""
    is_bare = method.request.full_name in well_known.BARE
    request = await _parsed(backend, method, _in_value(arguments) if is_bare else dict(arguments))
    for path in request.FindInitializationErrors():
        # No request can be sent without a field that proto2 requires.
        raise invalid_argument(path, "is required", "REQUIRED_FIELD")
    return Prepared(method, request, _fill_request_id(method, request))


async def _parsed(backend: Backend, method: Method, value: Any) -> Any:
    """Parse a request. The types of its Anys are looked up if they are not known yet."""
    asked: set[str] = set()
    while True:
        request = _empty_request(backend, method)
        try:
            parse(value, request, backend.registry.types)
        except UnknownTypesError as error:
            names = error.names - asked
            if not names:
                raise
            asked |= names
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
    """Return the JSON of a request whose JSON is no object."""
    if unknown := next((name for name in arguments if name != "value"), ""):
        raise invalid_argument(unknown, "there is no such field; there is: value", "UNKNOWN_FIELD")
    if "value" not in arguments:
        raise invalid_argument("value", "is required", "REQUIRED_FIELD")
    return arguments["value"]


def _fill_request_id(method: Method, request: Any) -> str | None:
    """Fill an empty idempotency key with a UUID; return it if it was filled."""
    key = method.idempotency_key
    # The request may be of newer descriptors than the method, in which the field has changed.
    if key is None or getattr(request, key.name, None) != "":
        return None
    request_id = str(uuid.uuid4())
    setattr(request, key.name, request_id)
    return request_id


async def _outcome(call: Coroutine[Any, Any, Started]) -> Outcome:
    """Return a failure instead of raising it, so that nobody's leaving ends the task's group."""
    try:
        return await call
    except StatusError as error:
        return error
    except Exception as error:  # noqa: BLE001 - unexpected_error logs it
        # An answer that the gateway cannot take must not end its other work.
        return unexpected_error("the call of a method", error)


async def _call(backend: Backend, prepared: Prepared) -> Started:
    """Call, and repeat the call after UNAVAILABLE if it cannot begin a second time (AIP-194)."""
    repeatable = _is_repeatable(prepared.method, prepared.request)
    attempts = AsyncRetrying(
        retry=retry_if_exception(_is_unavailable),
        stop=stop_after_attempt(_ATTEMPTS if repeatable else 1),
        wait=wait_incrementing(start=_PAUSE, increment=_PAUSE),
        reraise=True,
    )
    routing = _routing(prepared.method, prepared.request)
    try:
        return await attempts(_call_once, backend, prepared, routing)
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
    """Tell whether a second request like this begins nothing new: by its request_id (AIP-155)."""
    key = method.idempotency_key
    if key is not None and getattr(request, key.name, None):
        return True
    return method.is_safe and not method.is_long_running


def _with_request_id(error: StatusError, request_id: str | None) -> StatusError:
    """Tell the caller of a call that may have begun with which request_id to repeat it.

    Only in the gateway's own words; a backend's are passed on.
    """
    uncertain = error.code in {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED}
    if request_id is None or not uncertain or isinstance(error, BackendStatusError):
        return error
    status = status_pb2.Status()
    status.CopyFrom(error.status)
    status.message += f"; repeated with requestId {request_id}, it begins at most once"
    info = error_details_pb2.ErrorInfo.FromString(status.details[0].value)
    info.metadata[_REQUEST_ID] = request_id
    status.details[0].Pack(info)
    return StatusError(status, backend=error.backend)


def _routing(method: Method, request: Message) -> dict[str, str]:
    """Return the fields that the method's HTTP path names: what implicit routing headers carry."""
    found = {}
    for field in method.routing_fields:
        value: Any = request
        for each in field.path:
            value = getattr(value, each.name, "")
        if isinstance(value, str) and value:
            found[field.name] = value
    return found


def routing_names(method: Method, arguments: Mapping[str, Any]) -> list[str]:
    """Return the resource names in ProtoJSON arguments that the method's HTTP path names."""
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
    """Log what came of a call whose caller had left."""
    if task.cancelled():
        logger.warning(_LEFT, method.path, backend.name, "it was cut off; look for its operation")
        return
    outcome = task.result()
    name = outcome.operation.name if isinstance(outcome, Started) and outcome.operation else None
    logger.warning(_LEFT, method.path, backend.name, name or outcome)

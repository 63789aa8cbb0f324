"""Starts: calls of methods. Each call runs in a task that goes on if the caller leaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import Any, Final

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_incrementing

from lro_gateway.backends.backend import Backend
from lro_gateway.background import BackgroundTasks
from lro_gateway.descriptors.field_names import property_key
from lro_gateway.descriptors.methods import Method
from lro_gateway.errors import Code, StatusError, unexpected_error
from lro_gateway.log_context import KEEP
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal
from lro_gateway.service.journaling import Journaling
from lro_gateway.service.preparing import Prepared
from lro_gateway.service.routing import routing_header
from lro_gateway.service.shutdown import Shutdown, shutting_down
from lro_gateway.service.unanswered import UnansweredError, has_no_answer
from lro_gateway.service.waiting import Waits

logger: Final = logging.getLogger(__name__)

_RETRIES: Final = 2
_PAUSE: Final = 0.2
"""Seconds before the second attempt. Each later pause is this much longer than the last one."""
_SHOWN: Final = 10
"""The number of running calls that a log of them names."""
_CALLER_LEFT: Final = "the caller of %s on %s left: %s"
_NO_ANSWER: Final = "%s on %s%s ended without an answer and may have begun: %s"
_SHUTDOWN_GRACE: Final = 3.0
"""Seconds that a caller waits for its answer after the gateway starts to stop.

This is shorter than the time that the HTTP server allows for requests, so the caller gets an error.
"""


@dataclass(frozen=True, slots=True)
class Started:
    """The answer of a method: an operation, or a plain method's `Response`.

    `request_id` is the id that the gateway put into the request. It is None if the gateway put in
    no id. A caller can repeat the call with the same `request_id` (AIP-155). `is_repeat` is true if
    an earlier call with the same idempotency key has started the operation.
    """

    operation: Operation | None = None
    response: Any = None
    request_id: str | None = None
    is_repeat: bool = False


Outcome = Started | StatusError


class Starts:
    """Calls methods, in tasks that outlive their callers."""

    def __init__(
        self,
        tasks: BackgroundTasks,
        shutdown: Shutdown,
        waits: Waits,
        grace: timedelta,
        journaling: Journaling,
    ) -> None:
        """Set `grace`, which is the time that a call waits for its operation to end."""
        self._tasks = tasks
        self._shutdown = shutdown
        self._waits = waits
        self._grace = grace
        self._journaling = journaling
        self.started: Callable[[Operation], None] | None = None
        """Gets each operation that has begun."""
        self._shutdown_grace: asyncio.Task[None] | None = None
        self._running: dict[int, tuple[Backend, Prepared]] = {}

    async def begin(self, caller: Principal, backend: Backend, prepared: Prepared) -> Started:
        """Call a method.

        The call goes on if its caller leaves, or if the gateway starts to stop before the answer.
        In both cases the gateway logs the name of the operation that the call started.
        """
        method = prepared.method
        task = self._tasks.start_call(self._outcome(caller, backend, prepared))
        try:
            await asyncio.wait({task, self._end_of_shutdown_grace()}, return_when="FIRST_COMPLETED")
            # If the gateway cancelled the call, its caller gets an error and is not cancelled.
            stopped = task.cancelled() or not task.done()
            outcome = _stopped(backend, prepared) if stopped else task.result()
        finally:
            if not task.done():
                task.add_done_callback(lambda done: _log_orphan(backend, method, done))
        if isinstance(outcome, StatusError):
            raise outcome
        return outcome

    async def start(self, caller: Principal, backend: Backend, prepared: Prepared) -> Started:
        """Call a method as `begin` does, and wait a moment for its operation to end."""
        method = prepared.method
        outcome = await self.begin(caller, backend, prepared)
        operation = outcome.operation
        if operation is None or operation.done or not operation.name or not self._grace:
            return outcome
        try:
            ended = await self._waits.quick_end(caller.reader, backend, operation, self._grace)
        except asyncio.CancelledError:
            logger.warning(_CALLER_LEFT, method.path, backend.name, operation.name, extra=KEEP)
            raise
        return replace(outcome, operation=ended)

    def running(self) -> list[str]:
        """Return the methods and the `request_id`s of the first running calls, for a log."""
        return [
            f"{prepared.method.path} on {backend.name}{_named_id(prepared)}"
            for backend, prepared in islice(self._running.values(), _SHOWN)
        ]

    async def _outcome(self, caller: Principal, backend: Backend, prepared: Prepared) -> Outcome:
        """Call a method, and return the result or the error.

        The error is not raised, because no one would handle it in the task if the caller has left.
        """
        self._running[id(prepared)] = backend, prepared
        try:
            return await self._journaled(caller, backend, prepared)
        except StatusError as error:
            return error
        except Exception as error:  # noqa: BLE001 - unexpected_error logs it
            # An unexpected exception of one call must not end the gateway's other work.
            return _final(backend, prepared, [unexpected_error("the call of a method", error)])
        finally:
            del self._running[id(prepared)]

    async def _journaled(self, caller: Principal, backend: Backend, prepared: Prepared) -> Started:
        """Call a method between the two writes of the journal."""
        begun = await self._journaling.begin(caller, backend, prepared)
        try:
            started = await _call(backend, prepared)
        except StatusError as error:
            await self._journaling.fail(begun, error)
            raise
        await self._journaling.succeed(begun, started.operation)
        if self.started is not None and started.operation is not None:
            self.started(started.operation)
        return started

    def _end_of_shutdown_grace(self) -> asyncio.Task[None]:
        """Return the one task that all calls share, which ends after the shutdown grace."""
        if self._shutdown_grace is None:
            self._shutdown_grace = self._tasks.start(self._wait_for_shutdown_grace())
        return self._shutdown_grace

    async def _wait_for_shutdown_grace(self) -> None:
        """Wait until the gateway has been stopping for `_SHUTDOWN_GRACE` seconds."""
        await self._shutdown.wait()
        await asyncio.sleep(_SHUTDOWN_GRACE)


def _stopped(backend: Backend, prepared: Prepared) -> StatusError:
    """Return the error of a call that had no answer before the gateway stopped."""
    path = prepared.method.path
    error = shutting_down(f"backend {backend.name!r} has not answered {path} yet", {"method": path})
    return _final(backend, prepared, [error])


async def _call(backend: Backend, prepared: Prepared) -> Started:
    """Call a method. Retry after UNAVAILABLE if a second call has no further effect (AIP-194)."""
    routing = routing_header(prepared.method, prepared.request)
    failures: list[StatusError] = []

    async def attempt() -> Started:
        try:
            return await _call_once(backend, prepared, routing)
        except StatusError as error:
            failures.append(error)
            raise

    try:
        # Measured: the machinery of a retry costs a tenth of a start, and few calls need it.
        return await attempt()
    except StatusError as error:
        if not (_is_unavailable(error) and _is_repeatable(prepared)):
            raise _final(backend, prepared, failures) from None
    await asyncio.sleep(_PAUSE)
    retries = AsyncRetrying(
        retry=retry_if_exception(_is_unavailable),
        stop=stop_after_attempt(_RETRIES),
        wait=wait_incrementing(start=2 * _PAUSE, increment=_PAUSE),
        reraise=True,
    )
    try:
        return await retries(attempt)
    except StatusError:
        raise _final(backend, prepared, failures) from None


def _is_unavailable(error: BaseException) -> bool:
    return isinstance(error, StatusError) and error.code is Code.UNAVAILABLE


async def _call_once(backend: Backend, prepared: Prepared, routing: Mapping[str, str]) -> Started:
    method, request = prepared.method, prepared.request
    if not method.is_long_running:
        response = await backend.call(method, request, routing)
        return Started(None, response, prepared.request_id)
    operation = await backend.start(method, request, routing)
    return Started(operation, None, prepared.request_id)


def _is_repeatable(prepared: Prepared) -> bool:
    """Return whether a second call with this request has no further effect."""
    method, rules = prepared.method, prepared.rules
    recognized = prepared.sent_id and rules.recognizes_repeats(method)
    return bool(recognized) or rules.repeats_freely(method)


def _named_id(prepared: Prepared) -> str:
    """Return the end of a call's description, which names its request_id if it has one."""
    key, request_id = prepared.method.idempotency_key, prepared.sent_id
    return f" with {key.name} {request_id}" if key is not None and request_id else ""


def _final(backend: Backend, prepared: Prepared, failures: Sequence[StatusError]) -> StatusError:
    """Return the error of a call whose attempts all failed.

    It is the last failure. If an attempt may have begun, the caller must also learn how to call
    again without a second start, even if the backend refused a later attempt.
    """
    last, method = failures[-1], prepared.method
    began = any(has_no_answer(error) and not error.unsent for error in failures)
    if prepared.rules.repeats_freely(method) or not (began or has_no_answer(last)):
        return last
    request_id, key = prepared.sent_id, method.idempotency_key
    if began:
        logger.warning(_NO_ANSWER, method.path, backend.name, _named_id(prepared), last, extra=KEEP)
    return UnansweredError(
        last,
        may_have_begun=began,
        request_id=request_id,
        argument=(property_key(key) or "") if key is not None else "",
        # If the backend refused a repeat, it does not recognize repeats as it should.
        recognized=has_no_answer(last) and prepared.rules.recognizes_repeats(method),
        is_long_running=method.is_long_running,
        has_key=prepared.key is not None,
    )


def _log_orphan(backend: Backend, method: Method, task: asyncio.Task[Outcome]) -> None:
    """Log the outcome of a call whose caller had left."""
    if task.cancelled():
        problem = "the gateway cancelled the call, whose operation may run all the same"
        logger.warning(_CALLER_LEFT, method.path, backend.name, problem, extra=KEEP)
        return
    outcome = task.result()
    name = outcome.operation.name if isinstance(outcome, Started) and outcome.operation else None
    logger.warning(_CALLER_LEFT, method.path, backend.name, name or outcome, extra=KEEP)

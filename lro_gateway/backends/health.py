"""The health of backends.

It comes from grpc.health.v1 if the backend serves that, and otherwise from the latest call.
"""

from __future__ import annotations

import asyncio
import enum
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import grpc.aio
from grpc_health.v1 import health_pb2

from lro_gateway.backends.backend import Backend
from lro_gateway.backends.grpc_failures import has_passed
from lro_gateway.backends.messages import parsed
from lro_gateway.backends.status import gateway_error
from lro_gateway.errors import StatusError, says, unexpected_error

_SERVICE: Final = "grpc.health.v1.Health"
_FRESH: Final = 10.0
"""Seconds for which a failed call tells the health of a backend that answers checks."""


class Health(enum.Enum):
    """The known health of a backend."""

    SERVING = "SERVING"
    NOT_SERVING = "NOT_SERVING"
    UNREACHABLE = "UNREACHABLE"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class HealthReport:
    """A backend's health. `message` is the reason if the backend is not serving."""

    backend: str
    target: str
    health: Health
    message: str = ""


class HealthCheck:
    """Checks the health of one backend, within `deadline`."""

    def __init__(self, backend: Backend, channel: grpc.aio.Channel, deadline: timedelta) -> None:
        self._backend = backend
        self._channel = channel
        self._check: grpc.aio.UnaryUnaryMultiCallable[Any, Any] = channel.unary_unary(
            f"/{_SERVICE}/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        )
        self._deadline = min(deadline, backend.endpoint.deadline)
        self._running: asyncio.Future[HealthReport | None] | None = None

    async def report(self) -> HealthReport:
        """Check the health of the backend.

        Never raises, because a failed check must not fail the reports of the other backends. A
        caller that comes during a check shares its report, so probes make one call at a time.
        """
        while (running := self._running) is not None:
            if (shared := await asyncio.shield(running)) is not None:
                return shared
            # The caller that made the check was cancelled, so another one makes a new check.
        running = self._running = asyncio.get_running_loop().create_future()
        report = None
        try:
            report = await self._safe_report()
            return report
        finally:
            self._running = None
            running.set_result(report)

    async def _safe_report(self) -> HealthReport:
        endpoint = self._backend.endpoint
        try:
            return await self._report()
        except Exception as error:  # noqa: BLE001 - unexpected_error logs it
            failure = unexpected_error(f"the health check of backend {endpoint.name!r}", error)
            return HealthReport(endpoint.name, endpoint.target, Health.UNKNOWN, failure.message)

    async def _report(self) -> HealthReport:
        endpoint = self._backend.endpoint
        backend = (endpoint.name, endpoint.target)
        started = time.monotonic()
        shown = self._backend.shown
        try:
            more = await shown.metadata(self._deadline.total_seconds()) if shown else ()
        except StatusError as error:
            return HealthReport(*backend, Health.UNKNOWN, error.message)
        try:
            content = await self._check(
                health_pb2.HealthCheckRequest(),
                timeout=self._deadline.total_seconds(),
                metadata=(*endpoint.metadata, *more) or None,
            )
        except grpc.aio.AioRpcError as error:
            if is_due := has_passed(self._deadline, started):
                self._backend.calls.suspect()
            return self._report_of(error, is_due=is_due)
        answer = parsed(health_pb2.HealthCheckResponse, content)
        if answer is None:
            message = "grpc.health.v1 answered with a malformed message"
            return HealthReport(*backend, Health.UNKNOWN, message)
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return HealthReport(*backend, Health.SERVING)
        message = "grpc.health.v1 did not answer SERVING"
        return HealthReport(*backend, Health.NOT_SERVING, message)

    def _report_of(self, error: grpc.aio.AioRpcError, *, is_due: bool) -> HealthReport:
        endpoint = self._backend.endpoint
        backend = (endpoint.name, endpoint.target)
        failure = gateway_error(error, f"{_SERVICE}/Check", endpoint, self._channel, is_due=is_due)
        if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
            message = failure.message if failure else says(error.details() or "")
            return HealthReport(*backend, Health.UNREACHABLE, message)
        if failure is not None and failure.reason == "CALL_BROKEN":
            return HealthReport(*backend, Health.UNKNOWN, failure.message)
        # The backend answered with an error that does not tell its health. The latest call says
        # more, but only for a while. A balancer may send no calls because of it, and then only this
        # answer can show that the backend is well again.
        last = self._backend.calls.last
        if last is not None and last.error is not None and time.time() - last.when < _FRESH:
            return HealthReport(
                endpoint.name, endpoint.target, Health.UNREACHABLE, _message(last.error)
            )
        return HealthReport(endpoint.name, endpoint.target, Health.SERVING)


def _message(error: StatusError) -> str:
    return says(error.message) if error.is_backends else error.message

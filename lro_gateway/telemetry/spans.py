"""The spans of verbs and of streams, with the metrics of their durations.

This module uses only the OpenTelemetry API, so no span is recorded unless an SDK is installed.
"""

from __future__ import annotations

import asyncio
import time
from contextvars import Token
from types import TracebackType
from typing import Final, Self

from opentelemetry import context, trace

from lro_gateway.errors import StatusError, code_name
from lro_gateway.telemetry import metrics

_tracer: Final = trace.get_tracer("lro_gateway")


class _Span:
    """Traces and times the work inside its context, as the span `lro_gateway.<verb>`."""

    __slots__ = ("_span", "_started", "_verb")

    def __init__(self, verb: str, name: str) -> None:
        self._verb = verb
        self._started = time.perf_counter()
        attributes = {"lro_gateway.operation": name}
        self._span = _tracer.start_span(f"lro_gateway.{verb}", attributes=attributes)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the span, and record its duration with the code of the error or OK."""
        outcome = _outcome(error)
        self._span.set_attribute("lro_gateway.code", outcome)
        # If a client leaves, neither the gateway nor a backend has failed.
        if outcome not in {"OK", "CANCELLED"}:
            self._span.set_status(trace.StatusCode.ERROR, outcome)
        self._record(time.perf_counter() - self._started, outcome)
        self._span.end()
        self._leave()

    def _record(self, elapsed: float, outcome: str) -> None:
        """Record the duration in seconds."""

    def _leave(self) -> None:
        """Undo the effects of `__enter__`."""


def _outcome(error: BaseException | None) -> str:
    """Return the name of the code with which the work ended, which is `OK` without an error."""
    if error is None:
        return "OK"
    if isinstance(error, StatusError):
        return code_name(error.status.code)
    # If a caller leaves, its call is cancelled, or the generator of its stream is closed.
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return "CANCELLED"
    return "INTERNAL"


class VerbSpan(_Span):
    """Traces and times one call of a verb. Its span is the current span inside the context.

    `backend` is the name of the backend, once it is known. `method` is the method of a service, if
    the verb calls one.
    """

    __slots__ = ("_token", "backend", "method")

    def __init__(self, verb: str, name: str, *, method: str = "") -> None:
        super().__init__(verb, name)
        self._token: Token[context.Context] | None = None
        self.backend = ""
        self.method = method

    def __enter__(self) -> Self:
        """Make the span the current span."""
        # Without an SDK the span is not recorded, and the caller's context stays current.
        if self._span.is_recording():
            self._token = context.attach(trace.set_span_in_context(self._span))
        return self

    def _record(self, elapsed: float, outcome: str) -> None:
        metrics.CALLS.record(elapsed, self._verb, outcome, self.backend, self.method)

    def _leave(self) -> None:
        if self._token is not None:
            context.detach(self._token)


class StreamSpan(_Span):
    """Traces and times one stream of states, from its request to its end.

    Its span is never the current span, because a generator runs in the contexts of its readers.
    """

    __slots__ = ()

    def __enter__(self) -> trace.Span:
        """Count the stream as active, and return its span."""
        metrics.ACTIVE_STREAMS.add(1, self._verb)
        return self._span

    def _record(self, elapsed: float, outcome: str) -> None:
        metrics.STREAMS.record(elapsed, self._verb, outcome)

    def _leave(self) -> None:
        metrics.ACTIVE_STREAMS.add(-1, self._verb)

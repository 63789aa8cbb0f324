"""The metrics and spans of the gateway.

This module uses only the OpenTelemetry API, so nothing is recorded unless an SDK is installed.
"""

from __future__ import annotations

import asyncio
import time
from contextvars import Token
from types import TracebackType
from typing import Final

from opentelemetry import context, metrics, trace

from lro_gateway.errors import StatusError, code_name

_tracer: Final = trace.get_tracer("lro_gateway")
_meter: Final = metrics.get_meter("lro_gateway")

CALLS: Final = _meter.create_histogram(
    "lro_gateway.verb.duration",
    unit="s",
    description="Duration of one call of a verb, from the face's call to the answer.",
)
STREAMS: Final = _meter.create_histogram(
    "lro_gateway.stream.duration",
    unit="s",
    description="Duration of one stream of states, from its request to its end.",
)
ACTIVE_STREAMS: Final = _meter.create_up_down_counter(
    "lro_gateway.stream.active", description="Open streams of operation states."
)
REFRESHES: Final = _meter.create_counter(
    "lro_gateway.descriptors.refreshes", description="Refreshes of a backend's descriptors."
)


class _Span:
    """Traces and times the work inside its context, as the span `lro_gateway.<verb>`."""

    __slots__ = ("_duration", "_span", "_started", "_verb")

    def __init__(self, verb: str, name: str, duration: metrics.Histogram) -> None:
        self._verb = verb
        self._duration = duration
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
        elapsed = time.perf_counter() - self._started
        self._duration.record(elapsed, {"verb": self._verb, "code": outcome})
        self._span.end()
        self._leave()

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
    """Traces and times one call of a verb. Its span is the current span inside the context."""

    __slots__ = ("_token",)

    def __init__(self, verb: str, name: str) -> None:
        super().__init__(verb, name, CALLS)
        self._token: Token[context.Context] | None = None

    def __enter__(self) -> None:
        """Make the span the current span."""
        # Without an SDK the span is not recorded, and the caller's context stays current.
        if self._span.is_recording():
            self._token = context.attach(trace.set_span_in_context(self._span))

    def _leave(self) -> None:
        if self._token is not None:
            context.detach(self._token)


class StreamSpan(_Span):
    """Traces and times one stream of states, from its request to its end.

    Its span is never the current span, because a generator runs in the contexts of its readers.
    """

    __slots__ = ()

    def __init__(self, verb: str, name: str) -> None:
        super().__init__(verb, name, STREAMS)

    def __enter__(self) -> trace.Span:
        """Count the stream as active, and return its span."""
        ACTIVE_STREAMS.add(1, {"verb": self._verb})
        return self._span

    def _leave(self) -> None:
        ACTIVE_STREAMS.add(-1, {"verb": self._verb})

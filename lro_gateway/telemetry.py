"""Every metric and span name of the gateway; OpenTelemetry API only, so silent without an SDK."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import Token
from types import TracebackType
from typing import Final

from opentelemetry import context, metrics, propagate, trace

from lro_gateway.errors import StatusError, code_name

_tracer: Final = trace.get_tracer("lro_gateway")
_meter: Final = metrics.get_meter("lro_gateway")

CALLS: Final = _meter.create_histogram(
    "lro_gateway.verb.duration",
    unit="s",
    description="One verb of the service, from face to answer.",
)
REFRESHES: Final = _meter.create_counter(
    "lro_gateway.descriptors.refreshes", description="Refreshes of a backend's descriptors."
)


class VerbSpan:
    """Traces and times one verb of the service, as a context: span `lro_gateway.<verb>`."""

    __slots__ = ("_name", "_span", "_started", "_token", "_verb")

    def __init__(self, verb: str, name: str) -> None:
        self._verb = verb
        self._name = name
        self._token: Token[context.Context] | None = None

    def __enter__(self) -> None:
        """Begin."""
        self._started = time.perf_counter()
        attributes = {"lro_gateway.operation": self._name}
        self._span = _tracer.start_span(f"lro_gateway.{self._verb}", attributes=attributes)
        # Without an SDK there is nothing to record, and a caller's context stays the current one.
        if self._span.is_recording():
            self._token = context.attach(trace.set_span_in_context(self._span))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End, with the code of the error if there is one."""
        outcome = "OK"
        if error is not None:
            outcome = (
                code_name(error.status.code) if isinstance(error, StatusError) else "CANCELLED"
            )
            self._span.set_status(trace.StatusCode.ERROR, outcome)
        elapsed = time.perf_counter() - self._started
        CALLS.record(elapsed, {"verb": self._verb, "code": outcome})
        if self._token is not None:
            context.detach(self._token)
        self._span.end()


@contextmanager
def callers_trace(headers: Mapping[str, str]) -> Iterator[None]:
    """Join the W3C trace context in a request's headers, where there is one."""
    if "traceparent" not in headers:
        yield
        return
    token = context.attach(propagate.extract(headers))
    try:
        yield
    finally:
        context.detach(token)


def trace_metadata() -> list[tuple[str, str]]:
    """Return the current W3C trace context as gRPC metadata (traceparent, tracestate, baggage)."""
    if not trace.get_current_span().get_span_context().is_valid:
        return []
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return list(carrier.items())

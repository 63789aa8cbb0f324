"""Trace contexts: what of a caller's context goes on to a backend, and what shared work has.

A call that the gateway makes for one caller continues the caller's trace. Work that callers share
has a context of its own, with a span that links to the spans of the callers. It has no baggage and
no other context variable of any caller.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from opentelemetry import baggage, context, propagate, trace
from opentelemetry.trace import Span

__all__ = ["SharedSpan", "Span", "callers_trace", "current_span", "link_to", "trace_metadata"]

_tracer: Final = trace.get_tracer("lro_gateway")

_HEADERS: Final = frozenset({b"traceparent", b"tracestate", b"baggage"})
_MAX_LINKS: Final = 100
"""The maximum number of callers to whose spans one span of shared work links."""


class SharedSpan:
    """The span `lro_gateway.<work>` of work that callers share, which begins a trace of its own.

    The work must run in its context, which has this span and nothing of any caller.
    """

    __slots__ = ("_context", "_links", "_span")

    def __init__(self, work: str, name: str) -> None:
        attributes = {"lro_gateway.operation": name}
        nobody = context.Context()
        self._span = _tracer.start_span(f"lro_gateway.{work}", nobody, attributes=attributes)
        self._links = 0
        self._context: contextvars.Context | None = None
        if self._span.is_recording():
            self._context = contextvars.Context()
            self._context.run(context.attach, trace.set_span_in_context(self._span, nobody))

    @property
    def context(self) -> contextvars.Context:
        """The context of the work, which is a new one each time if no span is recorded."""
        return contextvars.Context() if self._context is None else self._context

    def link(self, span: Span | None = None) -> None:
        """Link to the span of a caller, which is the current span by default."""
        if self._links < _MAX_LINKS and self._span.is_recording():
            self._links += 1
            self._span.add_link((span or trace.get_current_span()).get_span_context())

    def end(self, code: str) -> None:
        """End the span. `code` is the code of the error that ended the work, or OK."""
        self._span.set_attribute("lro_gateway.code", code)
        self._span.end()


def current_span() -> Span:
    """Return the current span."""
    return trace.get_current_span()


def link_to(span: Span) -> None:
    """Link the current span to the span of another caller, whose call this caller shares."""
    current = trace.get_current_span()
    if current.is_recording():
        current.add_link(span.get_span_context())


@contextmanager
def callers_trace(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[None]:
    """Make the W3C trace context and the baggage of a request's headers the current ones.

    The names of the headers are in lower case. If an instrumentation of the server has read the
    headers already, its span stays current.
    """
    found = {key.decode(): value.decode("latin-1") for key, value in headers if key in _HEADERS}
    if not found or trace.get_current_span().get_span_context().is_valid:
        yield
        return
    token = context.attach(propagate.extract(found))
    try:
        yield
    finally:
        context.detach(token)


def trace_metadata(baggage_keys: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return the current trace context as gRPC metadata, with the baggage of these keys alone."""
    span = trace.get_current_span()
    has_trace = span.get_span_context().is_valid
    if not has_trace and not baggage_keys:
        return []
    sent = context.Context()
    if has_trace:
        sent = trace.set_span_in_context(span, sent)
    for key in baggage_keys:
        if (value := baggage.get_baggage(key)) is not None:
            sent = baggage.set_baggage(key, value, sent)
    if not sent:
        return []
    carrier: dict[str, str] = {}
    propagate.inject(carrier, sent)
    return list(carrier.items())

"""Every metric and span name of the gateway; OpenTelemetry API only, so silent without an SDK."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import metrics, propagate, trace

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


@contextmanager
def verb_span(verb: str, name: str) -> Iterator[None]:
    """Trace and time one verb of the service: span `lro_gateway.<verb>`."""
    started = time.perf_counter()
    outcome = "OK"
    attributes = {"lro_gateway.operation": name}
    with _tracer.start_as_current_span(f"lro_gateway.{verb}", attributes=attributes):
        try:
            yield
        except StatusError as error:
            outcome = code_name(error.status.code)
            raise
        except BaseException:
            outcome = "CANCELLED"
            raise
        finally:
            CALLS.record(time.perf_counter() - started, {"verb": verb, "code": outcome})


def trace_metadata() -> list[tuple[str, str]]:
    """Return the current W3C trace context as gRPC metadata (traceparent, tracestate, baggage)."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return list(carrier.items())

"""The metrics of the gateway, for Prometheus and for OpenTelemetry.

Each metric has the name of OpenTelemetry, such as `lro_gateway.verb.duration`, and the name that
Prometheus derives from it, such as `lro_gateway_verb_duration_seconds`. Prometheus reads the
metrics at `/metrics`. An OpenTelemetry SDK gets them too if one is installed.

Values of labels come from the configuration, from descriptors and from fixed lists, and never from
callers, so their number is limited.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from opentelemetry import metrics
from prometheus_client import (
    CollectorRegistry,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client import Counter as PrometheusCounter
from prometheus_client import Gauge as PrometheusGauge
from prometheus_client import Histogram as PrometheusHistogram
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds: from a read on a fast network to more than the longest wait."""

WORKERS_DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable of the directory through which workers share their metrics.

The Prometheus client reads it when it is imported, so it must be set before a worker starts.
"""

# The time at which a series began is of no use to Prometheus, and doubles its series.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types

_meter: Final = metrics.get_meter("lro_gateway")
_registry: Final = CollectorRegistry()
ProcessCollector(registry=_registry)


_Kind = TypeVar("_Kind", PrometheusCounter, PrometheusGauge, PrometheusHistogram)


class _Metric(Generic[_Kind]):
    """A metric of Prometheus, and its series by the values of the labels.

    To find a series takes the Prometheus client longer than to change it.
    """

    def __init__(
        self, kind: type[_Kind], name: str, description: str, labels: Sequence[str], **options: Any
    ) -> None:
        self._labels = labels
        self._prometheus: _Kind = kind(
            *(_prometheus_name(name), description, [_prometheus_name(each) for each in labels]),
            registry=_registry,
            **options,
        )
        self._known: dict[tuple[str, ...], tuple[_Kind, Mapping[str, str]]] = {}

    def _series(self, values: tuple[str, ...]) -> tuple[_Kind, Mapping[str, str]]:
        """Return the series of these values, and its attributes for OpenTelemetry."""
        series = self._known.get(values)
        if series is None:
            attributes = dict(zip(self._labels, values, strict=True))
            labelled = self._prometheus.labels(*values) if values else self._prometheus
            series = self._known[values] = (labelled, attributes)
        return series


def _prometheus_name(name: str) -> str:
    return name.replace(".", "_")


class Histogram(_Metric[PrometheusHistogram]):
    """Durations in seconds, in buckets.

    Measured: a record of the OpenTelemetry SDK takes 11 us of CPU, and one of the Prometheus client
    1 us. So `/metrics` needs no SDK.
    """

    def __init__(self, name: str, description: str, *labels: str) -> None:
        kind = PrometheusHistogram
        super().__init__(kind, f"{name}.seconds", description, labels, buckets=_BUCKETS)
        self.otel = _meter.create_histogram(
            name, "s", description, explicit_bucket_boundaries_advisory=_BUCKETS
        )

    def record(self, seconds: float, *values: str) -> None:
        """Record a duration with the values of the labels, in their order."""
        series, attributes = self._series(values)
        series.observe(seconds)
        self.otel.record(seconds, attributes)


class Gauge(_Metric[PrometheusGauge]):
    """A number of things that exist now."""

    def __init__(self, name: str, description: str, *labels: str) -> None:
        kind = PrometheusGauge
        super().__init__(kind, name, description, labels, multiprocess_mode="livesum")
        self.otel = _meter.create_up_down_counter(name, description=description)

    def add(self, number: int, *values: str) -> None:
        """Add a number, which may be negative, with the values of the labels in their order."""
        series, attributes = self._series(values)
        series.inc(number)
        self.otel.add(number, attributes)


class Level(_Metric[PrometheusGauge]):
    """A number that each process knows as a whole, such as the number of methods."""

    def __init__(self, name: str, description: str, *labels: str) -> None:
        kind = PrometheusGauge
        super().__init__(kind, name, description, labels, multiprocess_mode="livemostrecent")
        self.otel = _meter.create_gauge(name, description=description)

    def set(self, number: int, *values: str) -> None:
        """Set the number, with the values of the labels in their order."""
        series, attributes = self._series(values)
        series.set(number)
        self.otel.set(number, attributes)


class Counter(_Metric[PrometheusCounter]):
    """A number of events since the start."""

    def __init__(self, name: str, description: str, *labels: str) -> None:
        super().__init__(PrometheusCounter, name, description, labels)
        self.otel = _meter.create_counter(name, description=description)

    def add(self, *values: str) -> None:
        """Count one event, with the values of the labels in their order."""
        series, attributes = self._series(values)
        series.inc()
        self.otel.add(1, attributes)


CALLS: Final = Histogram(
    "lro_gateway.verb.duration",
    "Duration of one call of a verb, from the face's call to the answer.",
    *("verb", "code", "backend", "method"),
)
STREAMS: Final = Histogram(
    "lro_gateway.stream.duration",
    "Duration of one stream of states, from its request to its end.",
    *("verb", "code"),
)
ACTIVE_STREAMS: Final = Gauge(
    "lro_gateway.stream.active", "Open streams of operation states.", "verb"
)
REFRESHES: Final = Counter(
    "lro_gateway.descriptors.refreshes",
    "Refreshes of a backend's descriptors.",
    *("backend", "outcome"),
)
METHODS: Final = Level(
    "lro_gateway.methods.offered", "Methods of a backend that the gateway offers.", "backend"
)
RPCS: Final = Histogram(
    "rpc.client.call.duration",
    "Duration of one gRPC call of a backend, without the time before it is sent.",
    *("rpc.system.name", "rpc.method", "rpc.response.status_code", "backend"),
)
REQUESTS: Final = Histogram(
    "http.server.request.duration",
    "Duration of one HTTP request, from its headers to the end of its answer.",
    *("http.request.method", "http.response.status_code"),
)
ACTIVE_REQUESTS: Final = Gauge(
    "http.server.active_requests", "HTTP requests that are being answered.", "http.request.method"
)
MCP: Final = Histogram(
    "mcp.server.operation.duration",
    "Duration of one request of MCP.",
    *("mcp.method.name", "error.type"),
)

STALLED: Final = Level(
    "lro_gateway.operations.stalled",
    "Operations that have not changed for longer than their method takes.",
    *("backend", "method"),
)
OLDEST_CHANGE: Final = Level(
    "lro_gateway.operations.oldest_change.seconds",
    "The longest time for which a running operation was seen without a change.",
    *("backend", "method"),
)
STORE_WRITES: Final = Histogram(
    "lro_gateway.store.write.duration",
    "Duration of one write of the store, with the time in its queue.",
)
STORE_ERRORS: Final = Counter("lro_gateway.store.write.errors", "Writes of the store that failed.")
STORE_SWEEP_AGE: Final = Level(
    "lro_gateway.store.sweep.age.seconds",
    "Time since the sweeper last deleted expired rows, or since the store was opened.",
)
WORK_REASONS: Final = Level(
    "lro_gateway.work.unhealthy",
    "Whether there is this reason why the work is not healthy: 1 or 0.",
    "reason",
)


def exposition(directory: str | None) -> bytes:
    """Return all metrics in the text format of Prometheus.

    `directory` is the one that workers share. The metrics are then those of all workers together.
    """
    if directory is None:
        return generate_latest(_registry)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, directory)  # type: ignore[no-untyped-call]  # it has no types
    return generate_latest(registry)


@contextmanager
def shared_by_workers(directory: Path) -> Iterator[None]:
    """Let the processes that start inside this context share their metrics in a directory."""
    os.environ[WORKERS_DIRECTORY] = str(directory)
    try:
        yield
    finally:
        del os.environ[WORKERS_DIRECTORY]


def forget(worker: int, directory: Path) -> None:
    """Remove the numbers of things that existed in a worker that has ended, by its process id."""
    mark_process_dead(worker, str(directory))  # type: ignore[no-untyped-call]  # it has no types

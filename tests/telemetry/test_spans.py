"""Telemetry: spans and metrics have the code with which a verb or a stream has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2
from mcp import Client
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lro_gateway.access.policy import Action, AllowAll
from lro_gateway.config.models import GatewayConfig
from lro_gateway.errors import StatusError
from lro_gateway.gateway import Gateway
from lro_gateway.principal import ANONYMOUS, Principal
from lro_gateway.service.verb_requests import ListRequest, NameRequest
from tests.contrary import Answer, ContraryBackend, answering
from tests.gateways import serving
from tests.service.watched_job import whole

RUNNING = operations_pb2.Operation(name="jobs/1")
DONE = operations_pb2.Operation(name="jobs/1", done=True)
NAME = NameRequest("jobs/1")


class Broken(AllowAll):
    """A policy that raises an unexpected exception."""

    async def authorize(self, caller: Principal, action: Action, /) -> str:
        raise ZeroDivisionError(caller, action)


@dataclass
class Recorded:
    """The spans and metrics of one test."""

    spans: InMemorySpanExporter
    metrics: InMemoryMetricReader

    def ended(self) -> list[tuple[str, str]]:
        """Return the name of each span that has ended, and its status if it is an error."""
        return [
            (span.name, str((span.attributes or {})["lro_gateway.code"]))
            for span in self.spans.get_finished_spans()
        ]

    def points(self, name: str) -> dict[tuple[str, ...], Any]:
        """Return the values of a metric by their attributes. A histogram's value is its count."""
        data = self.metrics.get_metrics_data()
        return {
            tuple(str(value) for _, value in sorted((point.attributes or {}).items())): getattr(
                point, "count", getattr(point, "value", None)
            )
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        }


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """Record the gateway's spans and metrics in memory for one test."""
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    meter = meters.get_meter("test")
    monkeypatch.setattr("lro_gateway.telemetry.spans._tracer", tracers.get_tracer("test"))
    for name, instrument in {
        "CALLS": meter.create_histogram("lro_gateway.verb.duration"),
        "STREAMS": meter.create_histogram("lro_gateway.stream.duration"),
        "ACTIVE_STREAMS": meter.create_up_down_counter("lro_gateway.stream.active"),
    }.items():
        monkeypatch.setattr(f"lro_gateway.telemetry.metrics.{name}.otel", instrument)
    yield Recorded(spans, reader)
    tracers.shutdown()
    meters.shutdown()


def config(backend: ContraryBackend) -> GatewayConfig:
    """Configure a gateway to one backend."""
    settings = {"name": "b", "target": backend.target, "descriptors": [], "freshness": "0s"}
    return GatewayConfig.model_validate({"backends": [settings]})


async def test_a_verb_ends_with_the_code_of_its_answer(recorded: Recorded) -> None:
    """The code is OK for an answer, and the error's code for a failed call."""
    async with (
        ContraryBackend.open({"GetOperation": answering(DONE)}) as backend,
        Gateway.open(config(backend)) as gateway,
    ):
        await gateway.service.get(ANONYMOUS, NAME)
        with pytest.raises(StatusError):
            await gateway.service.delete(ANONYMOUS, NAME)
    assert recorded.ended() == [
        ("lro_gateway.get", "OK"),
        ("lro_gateway.delete", "UNIMPLEMENTED"),
    ]
    assert recorded.points("lro_gateway.verb.duration") == {
        ("b", "OK", "", "get"): 1,
        ("b", "UNIMPLEMENTED", "", "delete"): 1,
    }


async def test_an_unexpected_exception_is_internal(recorded: Recorded) -> None:
    """The code CANCELLED would hide a fault of the gateway."""
    async with (
        ContraryBackend.open({}) as backend,
        Gateway.open(config(backend), policy=Broken()) as gateway,
    ):
        with pytest.raises(ZeroDivisionError):
            await gateway.service.get(ANONYMOUS, NAME)
        with pytest.raises(ZeroDivisionError):
            await anext(gateway.service.watch(ANONYMOUS, NAME))
    assert recorded.ended() == [("lro_gateway.get", "INTERNAL"), ("lro_gateway.watch", "INTERNAL")]


async def test_a_call_whose_caller_leaves_is_cancelled(recorded: Recorded) -> None:
    """The caller leaves before the backend has answered."""
    called = asyncio.Event()

    async def hanging(_request: Any, _context: Any) -> Answer:
        called.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with (
        ContraryBackend.open({"GetOperation": hanging}) as backend,
        Gateway.open(config(backend)) as gateway,
    ):
        call = asyncio.create_task(gateway.service.get(ANONYMOUS, NAME))
        await called.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert recorded.ended() == [("lro_gateway.get", "CANCELLED")]


async def test_a_stream_has_a_span_and_a_duration_from_its_request_to_its_end(
    recorded: Recorded,
) -> None:
    """The operation may end the stream, or its reader may leave. Until then it is active."""
    ends = asyncio.Event()

    async def get(_request: Any, _context: Any) -> Answer:
        answer: Answer = DONE if ends.is_set() else RUNNING
        return answer

    async with (
        ContraryBackend.open({"GetOperation": get}) as backend,
        Gateway.open(config(backend)) as gateway,
    ):
        async with aclosing(gateway.service.watch(ANONYMOUS, NAME)) as left:
            await anext(left)
            assert recorded.points("lro_gateway.stream.active") == {("watch",): 1}
            assert recorded.ended() == []
        ends.set()
        async for sighting in gateway.service.watch(ANONYMOUS, NAME):
            assert sighting.operation.done
    assert recorded.ended() == [("lro_gateway.watch", "CANCELLED"), ("lro_gateway.watch", "OK")]
    assert recorded.points("lro_gateway.stream.active") == {("watch",): 0}
    assert recorded.points("lro_gateway.stream.duration") == {
        ("CANCELLED", "watch"): 1,
        ("OK", "watch"): 1,
    }


async def test_the_watch_of_a_list_is_a_stream_too(recorded: Recorded) -> None:
    """Its polls have no spans of their own, because no caller made them."""
    listed = operations_pb2.ListOperationsResponse(operations=[RUNNING])
    async with (
        ContraryBackend.open({"ListOperations": answering(listed)}) as backend,
        Gateway.open(config(backend)) as gateway,
        aclosing(gateway.service.watch_list(ANONYMOUS, ListRequest(), whole, every=1.0)) as pages,
    ):
        await anext(pages)
    assert recorded.ended() == [("lro_gateway.watch_list", "CANCELLED")]


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_a_callers_trace_context_is_passed_on_over_rest() -> None:
    """The backend gets the W3C headers `traceparent` and `tracestate`, if they are valid."""
    async with (
        ContraryBackend.open({"GetOperation": answering(DONE)}) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        headers = {"traceparent": TRACE, "tracestate": "a=b"}
        await client.get("/v1/jobs/1", headers=headers)
        await client.get("/v1/jobs/1")
        await client.get("/v1/jobs/1", headers={"traceparent": "nonsense"})
    passed = [
        {key: call.metadata.get(key) for key in ("traceparent", "tracestate")}
        for call in backend.calls
    ]
    nothing = dict.fromkeys(("traceparent", "tracestate"))
    assert passed == [{"traceparent": TRACE, "tracestate": "a=b"}, nothing, nothing]


async def test_a_callers_trace_context_is_passed_on_over_mcp() -> None:
    """MCP has the trace context in the field `_meta`."""
    meta: Any = {"traceparent": TRACE}
    async with (
        ContraryBackend.open({"GetOperation": answering(DONE)}) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        Client(f"{url}/mcp", mode="2026-07-28") as client,
    ):
        await client.call_tool("get_operation", {"name": "jobs/1"}, meta=meta)
    assert [call.metadata["traceparent"] for call in backend.calls] == [TRACE]

"""Tracing: what a backend gets of the contexts of callers, and what shared work gets of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2
from opentelemetry import context, propagate
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.verb_requests import ListRequest, NameRequest
from lro_gateway.telemetry.tracing import SharedSpan
from tests.contrary import Answer, Call, ContraryBackend, acknowledging, answering
from tests.gateways import service_of, serving
from tests.service.watched_job import JOB, Job, reading, watched, whole

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACE = f"00-{TRACE_ID}-b7ad6b7169203331-01"
CALLER = {"traceparent": TRACE, "tracestate": "a=b", "baggage": "tenant=acme,secret=hidden"}
DONE = operations_pb2.Operation(name="jobs/1", done=True)
NAME = NameRequest("jobs/1")


@contextmanager
def called_by(headers: dict[str, str]) -> Iterator[None]:
    """Make the trace context and the baggage of a caller the current ones."""
    token = context.attach(propagate.extract(headers))
    try:
        yield
    finally:
        context.detach(token)


def carried(calls: list[Call]) -> set[str]:
    """Return the keys of a caller's context that calls of a backend carried."""
    return {key for call in calls for key in CALLER if key in call.metadata}


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Record the gateway's spans in memory for one test."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for module in ("spans", "tracing"):
        monkeypatch.setattr(f"lro_gateway.telemetry.{module}._tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    """Return the ended spans of this name."""
    return [span for span in spans.get_finished_spans() if span.name == f"lro_gateway.{name}"]


def linked(span: ReadableSpan) -> set[int]:
    """Return the ids of the spans to which a span links."""
    return {link.context.span_id for link in span.links}


def ids(found: list[ReadableSpan]) -> set[int]:
    """Return the ids of spans."""
    return {span.context.span_id for span in found if span.context}


async def test_polls_carry_nothing_of_the_caller_that_began_the_watch() -> None:
    """It may have left, and others read on. A cancel of another caller changes nothing of this."""
    job = Job()
    async with (
        watched(job, CancelOperation=acknowledging()) as (service, backend),
        reading(service) as other,
    ):
        with called_by(CALLER):
            async with reading(service) as first:
                await anext(first)
                await service.cancel(ANONYMOUS, JOB)
                await job.next_poll()
            await anext(other)
        await job.next_poll()
        polls = [call for call in backend.answered if call.method != "CancelOperation"]
    assert len(polls) > 2
    assert carried(polls) == set()


async def test_polls_of_a_list_carry_nothing_of_a_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch of a list is shared by all its readers, too."""
    monkeypatch.setattr("lro_gateway.service.list_watch._INTERVAL", 0.01)
    listed = operations_pb2.ListOperationsResponse(operations=[DONE])
    polled = asyncio.Semaphore(0)

    async def handler(_request: Any, _context: Any) -> Answer:
        polled.release()
        answer: Answer = listed
        return answer

    async with (
        ContraryBackend.open({"ListOperations": handler}) as backend,
        service_of(backend.target) as service,
        asyncio.timeout(60),
    ):
        with called_by(CALLER):
            changes = service.watch_list(ANONYMOUS, ListRequest(), whole, every=60.0)
            await anext(changes)
        for _ in range(3):
            await polled.acquire()
        await changes.aclose()
    assert carried(backend.calls) == set()


async def test_a_call_for_one_caller_continues_its_trace_without_its_baggage() -> None:
    """A read, a cancel and a list have one caller each."""
    job = Job()
    async with watched(job, CancelOperation=acknowledging()) as (service, backend):
        with called_by(CALLER):
            await service.get(ANONYMOUS, JOB)
            await service.cancel(ANONYMOUS, JOB)
    assert {call.metadata.get("traceparent") for call in backend.answered} == {TRACE}
    assert carried(backend.answered) == {"traceparent", "tracestate"}


@pytest.mark.parametrize("headers", [CALLER, {"baggage": CALLER["baggage"]}])
async def test_the_configured_keys_of_baggage_are_passed_on(headers: dict[str, str]) -> None:
    """All other keys stay in the gateway. Baggage may come without a trace."""
    async with (
        ContraryBackend.open({"GetOperation": answering(DONE)}) as backend,
        serving({"name": "b", "target": backend.target, "baggage": ["tenant", "user"]}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        await client.get("/v1/jobs/1", headers=headers)
    (call,) = backend.answered
    assert call.metadata["baggage"] == "tenant=acme"
    assert call.metadata.get("traceparent") == headers.get("traceparent")


async def test_a_watch_has_a_trace_of_its_own_that_links_to_its_readers(
    spans: InMemorySpanExporter,
) -> None:
    """All its polls belong to this trace."""
    job = Job()
    async with watched(job) as (service, backend):
        with called_by(CALLER):
            async with reading(service) as one, reading(service) as other:
                await anext(one)
                await anext(other)
                await job.next_poll()
    (shared,) = named(spans, "poll")
    readers = named(spans, "watch")
    assert (shared.parent, len(readers)) == (None, 2)
    assert linked(shared) == ids(readers)
    assert shared.context is not None
    traces = {str(call.metadata["traceparent"]).split("-")[1] for call in backend.answered}
    assert traces == {f"{shared.context.trace_id:032x}"}
    assert TRACE_ID not in traces


async def test_the_trace_of_a_list_links_to_its_readers(spans: InMemorySpanExporter) -> None:
    """The watch of a list has one span, too."""
    listed = operations_pb2.ListOperationsResponse(operations=[DONE])
    async with (
        ContraryBackend.open({"ListOperations": answering(listed)}) as backend,
        service_of(backend.target) as service,
        aclosing(service.watch_list(ANONYMOUS, ListRequest(), whole, every=60.0)) as changes,
    ):
        await anext(changes)
    (shared,) = named(spans, "poll_list")
    assert (shared.parent, linked(shared)) == (None, ids(named(spans, "watch_list")))


async def test_a_caller_that_shares_the_read_of_another_links_to_it(
    spans: InMemorySpanExporter,
) -> None:
    """The call belongs to the caller that made it, and is in its trace alone."""
    called, answer = asyncio.Event(), asyncio.Event()

    async def get(_request: Any, _context: Any) -> Answer:
        called.set()
        await answer.wait()
        found: Answer = DONE
        return found

    async with (
        ContraryBackend.open({"GetOperation": get}) as backend,
        service_of(backend.target) as service,
    ):
        with called_by(CALLER):
            first = asyncio.create_task(service.get(ANONYMOUS, NAME))
        await called.wait()
        second = asyncio.create_task(service.get(ANONYMOUS, NAME))
        await asyncio.sleep(0)
        answer.set()
        await asyncio.gather(first, second)
    (call,) = backend.calls
    made, joined = sorted(named(spans, "get"), key=lambda span: len(span.links))
    assert (linked(made), linked(joined)) == (set(), ids([made]))
    assert str(call.metadata["traceparent"]).split("-")[1] == TRACE_ID


def test_the_span_of_shared_work_links_to_a_bounded_number_of_callers(
    spans: InMemorySpanExporter,
) -> None:
    """A watch may have tens of thousands of readers in its time."""
    shared = SharedSpan("poll", "jobs/1")
    caller = SharedSpan("watch", "jobs/1")
    for _ in range(1000):
        caller.context.run(shared.link)
    shared.end("OK")
    assert len(named(spans, "poll")[0].links) == 100


def test_shared_work_sees_no_context_variable_of_a_caller() -> None:
    """Its context has the span of the work, and nothing else."""
    with called_by(CALLER):
        shared = SharedSpan("poll", "jobs/1")
    assert not [*shared.context]

"""Backends: the RPCs that they get, and how the gateway reads their answers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf import any_pb2

from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.verb_requests import ListRequest, NameRequest, WaitRequest
from tests import factory
from tests.contrary import (
    Answer,
    Call,
    ContraryBackend,
    Handler,
    acknowledging,
    answering,
    knowing,
)
from tests.gateways import service_of, serving
from tests.shapes import message, pool

RUNNING = operations_pb2.Operation(name="jobs/1")
DONE = operations_pb2.Operation(name="jobs/1", done=True)
JOB = NameRequest("jobs/1")
GET_MACHINE = "factory.v1.Factory/GetMachine"


def received(backend: ContraryBackend) -> list[tuple[str, Any]]:
    """Return the method and the request of each call that a backend got."""
    return [(call.method, call.request) for call in backend.calls]


async def test_each_verb_is_one_rpc_with_its_own_request() -> None:
    """The name is the caller's, except that a list of a collection has the parent's name."""
    async with (
        ContraryBackend.open(knowing(DONE)) as backend,
        service_of(backend.target) as service,
    ):
        await service.get(ANONYMOUS, JOB)
        await service.list(
            ANONYMOUS, ListRequest("projects/p/operations", filter="done=true", page_size=7)
        )
        await service.cancel(ANONYMOUS, JOB)
        await service.delete(ANONYMOUS, JOB)
    assert received(backend) == [
        ("GetOperation", operations_pb2.GetOperationRequest(name="jobs/1")),
        (
            "ListOperations",
            operations_pb2.ListOperationsRequest(
                name="projects/p", filter="done=true", page_size=7
            ),
        ),
        ("CancelOperation", operations_pb2.CancelOperationRequest(name="jobs/1")),
        ("DeleteOperation", operations_pb2.DeleteOperationRequest(name="jobs/1")),
    ]


async def test_the_deadline_of_a_wait_is_a_second_after_its_timeout() -> None:
    """The backend gets the timeout for which it may block, and time for its answer after that."""
    bounds: list[tuple[float, float]] = []

    async def wait(request: Any, context: Any) -> Answer:
        bounds.append((request.timeout.ToTimedelta().total_seconds(), context.time_remaining()))
        answer: Answer = DONE
        return answer

    handlers: dict[str, Handler] = {"GetOperation": answering(RUNNING), "WaitOperation": wait}
    async with (
        ContraryBackend.open(handlers) as backend,
        service_of(backend.target, deadline="300s") as service,
    ):
        assert (
            await service.wait(ANONYMOUS, WaitRequest("jobs/1", timeout=timedelta(seconds=20)))
        ).done
    ((timeout, remaining),) = bounds
    # gRPC rounds the deadline up to a value that its header can hold.
    assert 0 < timeout < remaining < timeout + 1.2


async def test_a_page_has_the_gateways_names_and_the_backends_own_token_is_sealed() -> None:
    """Each name of an operation or an unreachable parent leads back to its backend."""
    answer = operations_pb2.ListOperationsResponse(
        operations=[operations_pb2.Operation(name="builds/1"), operations_pb2.Operation(name="x")],
        next_page_token="secret",  # noqa: S106 - a backend's page token
        unreachable=["places/far"],
    )
    async with (
        ContraryBackend.open({"ListOperations": answering(answer)}) as backend,
        service_of(backend.target, operations=["builds/*"]) as service,
    ):
        first = await service.list(ANONYMOUS, ListRequest(return_partial_success=True))
        token = first.next_page_token
        await service.list(ANONYMOUS, ListRequest(page_token=token, return_partial_success=True))
    assert [operation.name for operation in first.operations] == ["builds/1", "//b/x"]
    assert first.unreachable == ("//b/places/far",)
    assert "secret" not in token
    assert [call.request.page_token for call in backend.calls] == ["", "secret"]


async def test_a_page_size_over_the_backends_largest_is_reduced() -> None:
    """Some backends refuse a page size that is too large, although AIP-158 forbids that."""
    handlers: dict[str, Handler] = {
        "ListOperations": answering(operations_pb2.ListOperationsResponse())
    }
    async with (
        ContraryBackend.open(handlers) as backend,
        service_of(backend.target, max_page_size=100) as service,
    ):
        for size in (0, 100, 101, 1000):
            await service.list(ANONYMOUS, ListRequest(page_size=size))
    assert [call.request.page_size for call in backend.calls] == [0, 100, 100, 100]


async def test_the_age_of_an_operation_without_a_start_time_counts_from_its_first_read() -> None:
    """Later reads of the operation keep that time, and another operation has its own."""

    async def get(request: Any, _context: Any) -> Answer:
        answer: Answer = operations_pb2.Operation(name=request.name)
        return answer

    async with (
        ContraryBackend.open({"GetOperation": get}) as backend,
        service_of(backend.target, freshness="0s") as service,
    ):
        first = await service.get(ANONYMOUS, JOB)
        again = await service.get(ANONYMOUS, JOB)
        other = await service.get(ANONYMOUS, NameRequest("jobs/2"))
    assert again.received > first.received
    assert (first.first_seen, again.first_seen) == (first.received, first.received)
    assert (first.age, again.age) == (0.0, again.received - first.received)
    assert other.first_seen == other.received


async def test_the_types_of_a_pages_anys_are_looked_up_together() -> None:
    """A type that several operations share is looked up once."""
    metadata = any_pb2.Any()
    metadata.Pack(message("Job", progress_percent=40))
    page = operations_pb2.ListOperationsResponse(
        operations=[
            operations_pb2.Operation(name=f"jobs/{number}", metadata=metadata) for number in (1, 2)
        ]
    )
    async with (
        ContraryBackend.open(
            {"ListOperations": answering(page)}, reflection_versions=("v1",), pool=pool()
        ) as backend,
        service_of(backend.target, descriptors=["reflection"]) as service,
    ):
        listed = await service.list(ANONYMOUS, ListRequest())
    printed = {"@type": "type.googleapis.com/shapes.v1.Job", "progressPercent": 40}
    assert listed.to_json() == {
        "operations": [
            {"name": f"jobs/{number}", "metadata": printed, "done": False} for number in (1, 2)
        ]
    }
    symbols = [call.request.file_containing_symbol for call in backend.calls if _asks(call)]
    assert symbols.count("shapes.v1.Job") == 1


def _asks(call: Call) -> bool:
    """Return whether a call looks up a symbol by reflection."""
    return call.method == "reflection.v1" and bool(call.request.file_containing_symbol)


async def test_the_configured_metadata_goes_with_every_call() -> None:
    """The calls are the five RPCs and reflection."""
    metadata = any_pb2.Any()
    metadata.Pack(message("Job"))
    running = operations_pb2.Operation(name="jobs/1", metadata=metadata)
    handlers: dict[str, Handler] = {
        "GetOperation": answering(running),
        "WaitOperation": answering(DONE),
        "ListOperations": answering(operations_pb2.ListOperationsResponse()),
        "CancelOperation": acknowledging(),
        "DeleteOperation": acknowledging(),
    }
    async with (
        ContraryBackend.open(handlers, reflection_versions=("v1",), pool=pool()) as backend,
        service_of(
            backend.target, descriptors=["reflection"], metadata={"x-team": "infra", "x-b": "2"}
        ) as service,
    ):
        await service.wait(ANONYMOUS, WaitRequest("jobs/1"))
        await service.list(ANONYMOUS, ListRequest())
        await service.cancel(ANONYMOUS, JOB)
        await service.delete(ANONYMOUS, JOB)
        assert {call.method for call in backend.calls} == {*handlers, "reflection.v1"}
        for call in backend.calls:
            assert (call.metadata["x-team"], call.metadata["x-b"]) == ("infra", "2")


async def test_each_call_has_its_name_in_the_routing_header() -> None:
    """The header is `x-goog-request-params`, with percent-encoded values (AIP-4222)."""
    handlers: dict[str, Handler] = {
        "GetOperation": answering(DONE),
        "ListOperations": answering(operations_pb2.ListOperationsResponse()),
    }
    async with ContraryBackend.open(handlers) as backend, service_of(backend.target) as service:
        await service.get(ANONYMOUS, NameRequest("projects/é/operations/1"))
        await service.list(ANONYMOUS, ListRequest("projects/p"))
        assert [call.metadata["x-goog-request-params"] for call in backend.calls] == [
            "name=projects%2F%C3%A9%2Foperations%2F1",
            "name=projects%2Fp",
        ]


async def plainly(answer: Answer) -> httpx.Response:
    """Return the HTTP response for a plain method that has this answer."""
    async with (
        ContraryBackend.open(
            {},
            methods={GET_MACHINE: answering(answer)},
            pool=factory.pool(),
            reflection_versions=("v1",),
        ) as backend,
        serving({"name": "b", "target": backend.target, "methods": ["*/*"]}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        return await client.get("/v1/lines/1/machines/2")


async def test_a_plain_methods_response_is_its_protojson() -> None:
    """The backend's own types print it, and no operation is made of it."""
    response = await plainly(
        factory.message(
            "Machine", name="lines/1/machines/2", engine=factory.message("Engine", power=2**53 + 1)
        )
    )
    assert (response.status_code, response.json()) == (
        200,
        {"name": "lines/1/machines/2", "engine": {"power": "9007199254740993"}},
    )


@pytest.mark.parametrize(
    ("answer", "reason", "text"),
    [
        pytest.param(
            b"\x0a\x05ab",
            "MALFORMED_RESPONSE",
            f"answered {GET_MACHINE} with a malformed message",
            id="bytes that are no Machine",
        ),
        pytest.param(
            factory.message(
                "Machine",
                start_time=factory.message("google.protobuf.Timestamp", seconds=10**12),
            ),
            "UNPRINTABLE_RESPONSE",
            f"answered {GET_MACHINE} with a message that has no JSON form",
            id="a time after the year 9999",
        ),
    ],
)
async def test_a_plain_methods_response_that_cannot_be_passed_on_is_internal(
    answer: Answer, reason: str, text: str
) -> None:
    """The caller cannot cause such an error. Its text names the backend and the method."""
    response = await plainly(answer)
    error = response.json()["error"]
    assert (response.status_code, error["status"], error["details"][0]["reason"]) == (
        500,
        "INTERNAL",
        reason,
    )
    assert error["message"].startswith("backend 'b'")
    assert text in error["message"]

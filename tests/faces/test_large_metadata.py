"""Answers with large headers and trailers: they stay answers, and errors keep their details."""

from __future__ import annotations

import base64
from typing import Any

import grpc
import httpx
import pytest
from google.longrunning import operations_pb2
from google.rpc import error_details_pb2

from tests import factory
from tests.contrary import Answer, ContraryBackend, Handler, refusing
from tests.gateways import serving

BUILD = "factory.v1.Factory/BuildMachine"
RUNNING: Answer = operations_pb2.Operation(name="jobs/1")
LIMIT = 64 * 1024


def answering_with(size: int, *, initial: bool = False) -> Handler:
    """Answer with a running operation, and with this many bytes of headers or trailers."""
    metadata = tuple((f"x-log-{n}", "l" * 1000) for n in range(size // 1000))

    async def handler(_request: Any, context: Any) -> Answer:
        if initial:
            await context.send_initial_metadata(metadata)
        else:
            context.set_trailing_metadata(metadata)
        return RUNNING

    return handler


async def start(handler: Handler, **settings: Any) -> httpx.Response:
    """Start an operation by a gateway to a backend with this handler."""
    async with (
        ContraryBackend.open(
            {}, methods={BUILD: handler}, reflection_versions=("v1",), pool=factory.pool()
        ) as backend,
        serving({"name": "b", "target": backend.target, **settings}, sync_grace="0s") as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        response = await client.post("/v1/machines:build", json=factory.ORDER)
    assert backend.count("BuildMachine") == 1
    return response


@pytest.mark.parametrize("initial", [False, True], ids=["trailers", "headers"])
@pytest.mark.parametrize("size", [9_000, 17_000, 70_000, 1_000_000])
async def test_a_start_whose_answer_has_large_metadata_is_an_answer(
    size: int, *, initial: bool
) -> None:
    """By default, gRPC refuses more than 8 KiB, and drops the operation's name."""
    response = await start(answering_with(size, initial=initial))
    assert (response.status_code, response.json()) == (200, {"name": "jobs/1", "done": False})


async def test_the_details_of_an_error_may_be_large() -> None:
    """Servers send details as trailers."""
    debug = error_details_pb2.DebugInfo(detail="d" * 60_000)
    response = await start(refusing(grpc.StatusCode.FAILED_PRECONDITION, "no", debug))
    error = response.json()["error"]
    assert (error["message"], error["details"][0]["detail"]) == ("no", "d" * 60_000)


@pytest.mark.parametrize("initial", [False, True], ids=["trailers", "headers"])
async def test_a_start_whose_metadata_exceeds_the_setting_may_have_begun(*, initial: bool) -> None:
    """GRPC has dropped the message, so the error names the setting and the request_id."""
    handler = answering_with(100_000, initial=initial)
    response = await start(handler, max_metadata_bytes=LIMIT)
    error = response.json()["error"]
    (info,) = error["details"]
    assert (info["reason"], info["metadata"]["setting"], info["metadata"]["limit"]) == (
        "METADATA_TOO_LARGE",
        "max_metadata_bytes",
        str(LIMIT),
    )
    request_id = response.headers["lro-gateway-request-id"]
    assert (
        f"The operation may have begun. Send the request again with requestId {request_id}"
        in (error["message"])
    )
    assert "request less" not in error["message"]
    assert "retry-after" not in response.headers


async def test_the_limit_of_a_backend_is_not_taken_for_the_gateways() -> None:
    """The backend refused the request, so nothing has begun and no setting helps."""
    metadata = {"x-token": base64.b64encode(b"t" * 15_000).decode()}
    async with (
        ContraryBackend.open(
            {"GetOperation": answering_with(0)}, methods={}, pool=factory.pool()
        ) as backend,
        serving({"name": "b", "target": backend.target, "metadata": metadata}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        error = (await client.get("/v1/jobs/1")).json()["error"]
    assert (error["status"], "details" in error) == ("RESOURCE_EXHAUSTED", False)

"""No successful response makes a client send its request again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2

from tests import factory
from tests.contrary import ContraryBackend, acknowledging, answering
from tests.gateways import serving

RUNNING = operations_pb2.Operation(name="jobs/1")
DONE = operations_pb2.Operation(name="jobs/1", done=True)
HANDLERS = {
    "GetOperation": answering(RUNNING),
    "ListOperations": answering(operations_pb2.ListOperationsResponse(operations=[RUNNING])),
    "WaitOperation": answering(DONE),
    "CancelOperation": acknowledging(),
    "DeleteOperation": acknowledging(),
}
METHODS = {
    "factory.v1.Factory/BuildMachine": answering(RUNNING),
    "factory.v1.Factory/GetMachine": answering(factory.message("Machine")),
}
START = ("POST", "/v1/lines/1/machines")


@pytest.fixture(scope="module")
async def backend() -> AsyncIterator[ContraryBackend]:
    """Serve operations that run, a method that starts one, and a plain method."""
    async with ContraryBackend.open(
        HANDLERS, methods=METHODS, reflection_versions=("v1",), pool=factory.pool()
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
async def url(backend: ContraryBackend) -> AsyncIterator[str]:
    """Serve a gateway that returns a started operation at once, without waiting for its end."""
    configured = {"name": "b", "target": backend.target, "methods": ["*/*"]}
    async with serving(configured, sync_grace="0s") as opened:
        yield opened


@pytest.mark.parametrize(
    ("method", "path"),
    [
        START,
        ("GET", "/v1/lines/1/machines/2"),
        ("GET", "/v1/jobs/1"),
        ("HEAD", "/v1/jobs/1"),
        ("GET", "/v1/operations"),
        ("GET", "/v1/jobs/1:watch"),
        ("GET", "/v1/operations:watch"),
        ("POST", "/v1/jobs/1:wait"),
        ("POST", "/v1/jobs/1:cancel"),
        ("DELETE", "/v1/jobs/1"),
        ("GET", "/livez"),
        ("GET", "/readyz"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
    ],
)
async def test_a_success_has_no_retry_after(url: str, method: str, path: str) -> None:
    """The operations are still running, so a header would make clients retry."""
    body: Any = {} if method == "POST" else None
    async with (
        httpx.AsyncClient(base_url=url) as client,
        client.stream(method, path, json=body) as response,
    ):
        assert response.status_code == 200
        assert "retry-after" not in response.headers


async def test_a_client_that_obeys_every_retry_after_starts_one_operation(
    url: str, backend: ContraryBackend
) -> None:
    """apitools, the HTTP library of gcloud, obeys the header even on a 200."""
    backend.calls.clear()
    async with httpx.AsyncClient(base_url=url) as client:
        response = await _as_apitools(client, *START)
    assert (response.status_code, response.json()) == (200, {"name": "jobs/1", "done": False})
    assert backend.count("BuildMachine") == 1


async def _as_apitools(client: httpx.AsyncClient, method: str, path: str) -> httpx.Response:
    """Send a request, and again while the response has a Retry-After; five times at most."""
    response = await client.request(method, path, json={})
    for _ in range(4):
        if "retry-after" not in response.headers:
            break
        response = await client.request(method, path, json={})
    return response

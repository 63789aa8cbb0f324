"""A backend that has an operation of every name, a gateway to it, and a REST client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
from google.longrunning import operations_pb2

from tests.contrary import Answer, ContraryBackend, acknowledging, refusing
from tests.gateways import serving
from tests.rest.exchanges import METADATA
from tests.shapes import pool


async def get(request: Any, context: Any) -> Answer:
    """Answer an operation of any name: `done/` is done, `none/` is NOT_FOUND, others run."""
    if request.name.startswith("none/"):
        return await refusing(grpc.StatusCode.NOT_FOUND, "no such job")(request, context)
    done = request.name.startswith("done/")
    answer: Answer = operations_pb2.Operation(name=request.name, done=done, metadata=METADATA)
    return answer


async def wait(request: Any, _context: Any) -> Answer:
    """Answer the operation as done."""
    answer: Answer = operations_pb2.Operation(name=request.name, done=True)
    return answer


async def listed(_request: Any, _context: Any) -> Answer:
    """Answer a page of one operation, with a token for the next page."""
    answer: Answer = operations_pb2.ListOperationsResponse(
        operations=[operations_pb2.Operation(name="jobs/1", metadata=METADATA)],
        next_page_token="more",  # noqa: S106 - a backend's page token
        unreachable=["jobs/far"],
    )
    return answer


@pytest.fixture(scope="module")
async def backend() -> AsyncIterator[ContraryBackend]:
    """Serve operations of every name."""
    handlers = {
        "GetOperation": get,
        "ListOperations": listed,
        "WaitOperation": wait,
        "CancelOperation": acknowledging(),
        "DeleteOperation": acknowledging(),
    }
    async with ContraryBackend.open(handlers, reflection_versions=("v1",), pool=pool()) as opened:
        yield opened


@pytest.fixture(scope="module")
async def gateway_url(backend: ContraryBackend) -> AsyncIterator[str]:
    """Serve a gateway to the backend of these tests, and return its URL."""
    async with serving({"name": "b", "target": backend.target}) as url:
        yield url


@pytest.fixture
async def client(backend: ContraryBackend, gateway_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of the gateway; the backend starts with no recorded calls."""
    backend.calls.clear()
    async with httpx.AsyncClient(base_url=gateway_url) as opened:
        yield opened

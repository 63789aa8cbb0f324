"""Google's own operations client calls the REST face without any modification."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.api_core import exceptions
from google.api_core import operation as futures
from google.api_core.operations_v1 import AbstractOperationsClient, OperationsRestTransport
from google.auth.credentials import AnonymousCredentials
from google.longrunning import operations_pb2
from google.protobuf import json_format
from google.protobuf.empty_pb2 import Empty
from google.rpc import error_details_pb2, status_pb2

from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from lro_gateway.demo.v1 import database_admin_pb2 as pb
from tests.contrary import Answer, ContraryBackend, refusing
from tests.gateways import serving

NAMES = [f"projects/p/operations/{number}" for number in range(5)]
INFO = error_details_pb2.ErrorInfo(reason="GONE", domain="acme.test", metadata={"id": "x"})


def operation(name: str) -> Any:
    """Return the operation of this name. The last of them has failed, and the others run."""
    if name == NAMES[-1]:
        error = status_pb2.Status(code=9, message="no")
        error.details.add().Pack(INFO)
        return operations_pb2.Operation(name=name, done=True, error=error)
    return operations_pb2.Operation(name=name)


async def get(request: Any, context: Any) -> Answer:
    """Answer with the operation, or with NOT_FOUND."""
    if request.name not in NAMES:
        return await refusing(grpc.StatusCode.NOT_FOUND, "it is gone", INFO)(request, context)
    found: Answer = operation(request.name)
    return found


async def listed(request: Any, _context: Any) -> Answer:
    """Answer with a page of two operations; the page token is the index of the next one."""
    start = int(request.page_token or 0)
    end = start + (min(request.page_size, 2) or 2)
    return operations_pb2.ListOperationsResponse(  # type: ignore[no-any-return]  # generated without types
        operations=map(operation, NAMES[start:end]),
        next_page_token=str(end) if end < len(NAMES) else "",
    )


async def acknowledge(request: Any, context: Any) -> Answer:
    """Answer with Empty for an operation that exists, or with NOT_FOUND."""
    if request.name not in NAMES:
        await refusing(grpc.StatusCode.NOT_FOUND, "it is gone", INFO)(request, context)
    return Empty()


@pytest.fixture
async def backend() -> AsyncIterator[ContraryBackend]:
    """Serve a backend with five operations."""
    handlers = {
        "GetOperation": get,
        "ListOperations": listed,
        "CancelOperation": acknowledge,
        "DeleteOperation": acknowledge,
    }
    async with ContraryBackend.open(handlers) as opened:
        yield opened


@pytest.fixture
async def client(backend: ContraryBackend) -> AsyncIterator[Any]:
    """Open the client with the address of a gateway as its only setting."""
    async with serving({"name": "b", "target": backend.target}) as url:
        yield client_of(url)


def client_of(url: str) -> Any:
    """Return the client that sends its calls to a gateway."""
    transport = OperationsRestTransport(host=url, credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]  # published without types
    return AbstractOperationsClient(transport=transport)


async def test_the_client_gets_an_operation(client: Any) -> None:
    """Its strict parser accepts the answer, including the error details."""
    got = await asyncio.to_thread(client.get_operation, NAMES[-1])
    assert got == operation(NAMES[-1])


async def test_the_client_lists_page_by_page(client: Any, backend: ContraryBackend) -> None:
    """The client sends each page token of the gateway until the last page."""
    pager = await asyncio.to_thread(client.list_operations, "projects/p", "done=false", page_size=2)
    found = await asyncio.to_thread(list, pager)
    assert found == [operation(name) for name in NAMES]
    requests = [(call.request.page_token, call.request.filter) for call in backend.calls]
    assert requests == [("", "done=false"), ("2", "done=false"), ("4", "done=false")]


async def test_the_client_cancels_and_deletes(client: Any, backend: ContraryBackend) -> None:
    """The client sends an empty body to cancel, and expects `{}` from both calls."""
    await asyncio.to_thread(client.cancel_operation, NAMES[0])
    await asyncio.to_thread(client.delete_operation, NAMES[1])
    assert [(call.method, call.request.name) for call in backend.calls] == [
        ("CancelOperation", NAMES[0]),
        ("DeleteOperation", NAMES[1]),
    ]


@pytest.mark.parametrize("verb", ["get_operation", "cancel_operation", "delete_operation"])
async def test_the_client_raises_the_error_of_the_backend(client: Any, verb: str) -> None:
    """The exception has the class of the code, the message, and the ErrorInfo."""
    with pytest.raises(exceptions.NotFound) as caught:
        await asyncio.to_thread(getattr(client, verb), "projects/p/operations/none")
    assert "it is gone" in caught.value.message
    assert (caught.value.reason, caught.value.domain, caught.value.metadata) == (
        "GONE",
        "acme.test",
        {"id": "x"},
    )


async def test_the_client_raises_the_error_of_the_gateway(client: Any) -> None:
    """The gateway refuses a malformed page token with INVALID_ARGUMENT."""
    request = operations_pb2.ListOperationsRequest(
        name="projects/p",
        page_token="x",  # noqa: S106 - this is not a secret
    )
    with pytest.raises(exceptions.BadRequest) as caught:
        await asyncio.to_thread(client.list_operations, request.name, page_token=request.page_token)
    assert caught.value.reason == "INVALID_PAGE_TOKEN"


async def test_the_client_follows_and_cancels_operations_of_the_demo(tmp_path: Path) -> None:
    """The future of api-core has the result of one operation, and is cancelled with another."""
    gate = Gate()
    async with (
        DemoServer.open(tmp_path, pace=gate) as demo,
        serving({"name": "demo", "target": demo.target}, sync_grace="0s") as url,
    ):
        async with gate:
            first, second = [await creation(url, each) for each in ("first", "second")]
            assert not await asyncio.to_thread(first.done)
            assert await asyncio.to_thread(second.cancel)
            with pytest.raises(exceptions.Cancelled):
                await asyncio.to_thread(second.result, timeout=60)
        database = await asyncio.to_thread(first.result, timeout=60)
    assert (database.name, database.row_count) == ("databases/first", 100)
    assert first.metadata.rows_inserted == 100


async def creation(url: str, database_id: str) -> Any:
    """Start to create a database of the demo; return the future of api-core."""
    body = {"database_id": database_id, "row_count": 100}
    async with httpx.AsyncClient(base_url=url) as client:
        answer = await client.post(
            "/v1/lro_gateway.demo.v1.DatabaseAdmin/CreateDatabase", json=body
        )
    started = json_format.Parse(answer.text, operations_pb2.Operation())
    return futures.from_gapic(  # type: ignore[no-untyped-call]  # published without types
        started, client_of(url), pb.Database, metadata_type=pb.CreateDatabaseMetadata
    )

"""Clients of other projects follow operations of a backend of Node.js."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.api_core import exceptions, operation
from google.longrunning import operations_pb2
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty

from tests import factory
from tests.faces.test_google_client import client_of
from tests.gateways import serving
from tests.googleapis.test_node_client import node
from tests.node.test_reflection import machine, node_backend
from tests.protos import source_directory

pytestmark = pytest.mark.anyio

FACTORY = "/v1/factory.v1.Factory"
LINE = "lines/1"


@pytest.fixture(params=[False, True], ids=["camelCase", "keepCase"])
async def url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Serve a gateway to a backend that has nothing but its reflection."""
    async with (
        node_backend(keep_case=request.param) as target,
        serving({"name": "b", "target": target}, sync_grace="0s") as url,
    ):
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of the gateway."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield client


async def test_api_core_follows_an_operation_to_its_end(
    url: str, client: httpx.AsyncClient
) -> None:
    """The future has the metadata and the result in their types; then it is listed and deleted."""
    future, google = await start_deletion(url, client)
    assert not await asyncio.to_thread(future.done)
    assert await asyncio.to_thread(future.result, timeout=60) == Empty()
    assert future.metadata == Duration(seconds=3)
    pager = await asyncio.to_thread(google.list_operations, LINE, "")
    assert [(each.name, each.done) for each in pager] == [(f"{LINE}/operations/1", True)]
    await asyncio.to_thread(google.delete_operation, f"{LINE}/operations/1")
    with pytest.raises(exceptions.NotFound, match="there is no such operation"):
        await asyncio.to_thread(google.get_operation, f"{LINE}/operations/1")


async def test_api_core_cancels_an_operation(url: str, client: httpx.AsyncClient) -> None:
    """The future of a cancelled operation raises."""
    future, _ = await start_deletion(url, client)
    assert await asyncio.to_thread(future.cancel)
    with pytest.raises(exceptions.Cancelled, match="somebody cancelled it"):
        await asyncio.to_thread(future.result, timeout=60)


async def start_deletion(url: str, client: httpx.AsyncClient) -> tuple[Any, Any]:
    """Start an operation; return api-core's future of it, and its client of operations."""
    google = client_of(url)
    answer = await client.post(f"{FACTORY}/DeleteMachine", json={"name": f"{LINE}/machines/1"})
    started = json_format.Parse(answer.text, operations_pb2.Operation())
    from_gapic: Callable[..., Any] = partial(operation.from_gapic, metadata_type=Duration)
    return from_gapic(started, google, Empty), google


async def test_the_json_of_grpcurl_starts_reads_lists_and_cancels(
    client: httpx.AsyncClient,
) -> None:
    """Requests have the names of the .proto file, and answers are ProtoJSON."""
    sent = {"title": "t", "wanted_state": "RUNNING", "engine": {"power": "5", "warm_up": "3s"}}
    sent |= {"parts": {"p": {"title": "inner"}}}
    payload = {"@type": "type.googleapis.com/factory.v1.Machine", **machine()}
    running = [
        {"name": f"{LINE}/operations/{number}", "metadata": payload, "done": False}
        for number in (1, 2)
    ]
    for each in running:
        started = await client.post(f"{FACTORY}/BuildMachine", json={"machine": sent})
        assert started.json() == each
    assert (await client.get(f"/v1/{LINE}/operations")).json() == {"operations": running}
    assert (await client.get(f"/v1/{LINE}/operations/1")).json() == running[0]
    ended = {**running[0], "done": True, "response": payload}
    assert (await client.get(f"/v1/{LINE}/operations/1")).json() == ended
    assert (await client.post(f"/v1/{LINE}/operations/2:cancel")).json() == {}
    cancelled = {
        **running[1],
        "done": True,
        "error": {"code": 1, "message": "somebody cancelled it"},
    }
    assert (await client.get(f"/v1/{LINE}/operations/2")).json() == cancelled
    assert (await client.delete(f"/v1/{LINE}/operations/2")).json() == {}
    assert (await client.get(f"/v1/{LINE}/operations")).json() == {"operations": [ended]}


async def test_the_json_of_grpcurl_is_checked_by_the_reflected_types(
    client: httpx.AsyncClient,
) -> None:
    """An error is that of the backend, or it names what was wrong."""
    for call, body, status, text in (
        ("BuildMachine", {}, 400, "a machine is needed"),
        ("BuildMachine", {"machin": {}}, 400, "machin"),
        ("BuildMachine", {"machine": {"wanted_state": "OFF"}}, 400, "machine.wanted_state"),
        ("BuildMachines", {}, 404, "BuildMachines"),
    ):
        answer = await client.post(f"{FACTORY}/{call}", json=body)
        assert answer.status_code == status, (call, body)
        assert text in answer.json()["error"]["message"]


async def test_google_gax_follows_and_cancels_operations(tmp_path: Path) -> None:
    """A descriptor set in front has the HTTP rules, which this client sends."""
    (tmp_path / "factory.binpb").write_bytes(factory.descriptor_set().SerializeToString())
    descriptors = [str(tmp_path / "factory.binpb"), "reflection"]
    async with node_backend(keep_case=False) as target:
        settings = {"name": "b", "target": target, "descriptors": descriptors}
        with source_directory() as directory:
            async with (
                serving(settings, sync_grace="0s") as url,
                node("factory_client.js", url, str(directory)) as printed,
            ):
                output = await anext(printed)
    names = [f"{LINE}/operations/{number}" for number in (1, 2)]
    assert output == {"power": 5, "listed": [[name, True] for name in names], "codes": [1, 5]}

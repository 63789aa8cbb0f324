"""What a summary tells of an operation because it was started through the gateway."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from google.longrunning import operations_pb2

from lro_gateway.records.location import NOWHERE, Location
from tests import factory
from tests.contrary import ContraryBackend, answering, knowing
from tests.gateways import serving

BUILD = f"{factory.SERVICE}/BuildMachine"
NAME = "operations/1"
RUNNING = operations_pb2.Operation(name=NAME)
"""An operation that says nothing about itself."""


@asynccontextmanager
async def gateway(tmp_path: Path, location: Location) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of a gateway before a backend whose operations have no metadata."""
    descriptors = tmp_path / "factory.binpb"
    descriptors.write_bytes(factory.descriptor_set().SerializeToString())
    async with (
        ContraryBackend.open(
            knowing(RUNNING), methods={BUILD: answering(RUNNING)}, pool=factory.pool()
        ) as backend,
        serving(
            {"name": "b", "target": backend.target, "descriptors": [str(descriptors)]},
            store=location,
        ) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        yield client


async def summaries(client: httpx.AsyncClient) -> list[Any]:
    """Return the summary of the operation in a list, a read, a wait and a stream of each kind."""
    query = {"summary": "true"}
    listed = (await client.get("/v1/operations", params=query)).json()["operations"][0]
    read = (await client.get(f"/v1/{NAME}", params=query)).json()
    waited = (await client.post(f"/v1/{NAME}:wait", params=query, json={"timeout": "0.01s"})).json()
    streams = [await first_event(client, name) for name in (NAME, "operations")]
    return [each["summary"] for each in (listed, read, waited, *streams)]


async def first_event(client: httpx.AsyncClient, name: str) -> Any:
    """Return the operation in the first event of a stream."""
    async with client.stream("GET", f"/v1/{name}:watch?summary=true") as response:
        lines = (each async for each in response.aiter_lines() if each.startswith("data: "))
        return json.loads((await anext(lines)).removeprefix("data: "))


async def test_a_summary_tells_the_method_and_the_times_of_what_was_started_here(
    tmp_path: Path, location: Location
) -> None:
    """They are those of the list of one's own operations, also after a restart."""
    async with gateway(tmp_path, location) as client:
        started = await client.post("/v1/lines/1/machines", json={"title": "Press"})
        assert started.json()["name"] == NAME
        before = await summaries(client)
    async with gateway(tmp_path, location) as client:
        after = await summaries(client)
        (mine,) = (await client.get("/v1/operations:mine")).json()["operations"]
    expected = {
        "state": "running",
        "backend": "b",
        "kind": "BuildMachine",
        "createTime": mine["startTime"],
        "updateTime": mine["updateTime"],
    }
    assert [in_milliseconds(each) for each in (*before, *after)] == [expected] * 10


async def test_a_summary_tells_what_the_operation_says_if_it_was_not_started_here(
    tmp_path: Path, location: Location
) -> None:
    """Nothing is made up for an operation of somebody else, or without a store."""
    for store in (location, NOWHERE):
        async with gateway(tmp_path, store) as client:
            assert await summaries(client) == [{"state": "running", "backend": "b"}] * 5


def in_milliseconds(summary: Any) -> Any:
    """Return a summary with times of the precision that the list of one's own operations has."""
    times = ("createTime", "updateTime")
    return {**summary, **{key: f"{summary[key][:23]}Z" for key in times}}

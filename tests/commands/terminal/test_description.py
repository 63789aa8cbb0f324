"""The description of an operation whose metadata has no times, before a gateway with a store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
from google.longrunning import operations_pb2

from lro_gateway.demo.pace import Gate
from lro_gateway.records.location import Location
from tests import factory
from tests.commands.stage import Stage
from tests.contrary import ContraryBackend, answering
from tests.demo.client import Client
from tests.gateways import serving

BUILD = f"{factory.SERVICE}/BuildMachine"
NAME = "operations/1"


async def test_the_timeline_has_what_the_gateway_knows_if_the_metadata_has_no_times(
    tmp_path: Path,
) -> None:
    """The words tell that the gateway saw it, because the backend may have another time."""
    operation = operations_pb2.Operation(name=NAME)

    async def latest(_request: Any, _context: Any) -> operations_pb2.Operation:
        return operation

    descriptors = tmp_path / "factory.binpb"
    descriptors.write_bytes(factory.descriptor_set().SerializeToString())
    async with (
        ContraryBackend.open(
            {"GetOperation": latest}, methods={BUILD: answering(operation)}, pool=factory.pool()
        ) as backend,
        serving(
            {"name": "b", "target": backend.target, "descriptors": [str(descriptors)]},
            store=Location(tmp_path / "store.sqlite3"),
        ) as url,
        httpx.AsyncClient(base_url=url) as client,
        grpc.aio.insecure_channel(backend.target) as channel,
    ):
        stage = Stage(Gate(), Client(channel), url, backend.target)
        await client.post("/v1/lines/1/machines", json={"title": "Press"})
        running = await stage.run("operations", "describe", NAME)
        operation.done = True
        ended = await stage.run("operations", "describe", NAME)
        alone = await stage.run("operations", "describe", NAME, "--backend", backend.target)
    shown = [re.findall(r"ago +(.*)", each.stdout) for each in (running, ended, alone)]
    start = "start through the gateway"
    assert shown == [
        [start, "last change that the gateway saw"],
        [start, "end that the gateway saw"],
        [],
    ]

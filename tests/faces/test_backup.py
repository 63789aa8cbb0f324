"""Somebody starts a backup of the demo, follows it, and reads what it made.

Each with another client: the SDK's with an extension that follows tasks, the SDK's without one, the
SDK's first major version with its core tasks, and curl.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import anyio
import grpc.aio
import pytest
from mcp import Client

from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from tests.demo.client import Client as Owner
from tests.gateways import serving
from tests.mcp.following import FollowTasks

BACKUP = {"name": "databases/orders", "backupId": "monday"}
MADE = {
    "@type": "type.googleapis.com/lro_gateway.demo.v1.Backup",
    "name": "databases/orders/backups/monday",
    "createTime": ANY,
    "sizeBytes": ANY,
}
TESTS = Path(__file__).parents[1]
OLD_PYTHON = TESTS.parent / ".venv" / "mcp-1" / "bin" / "python"


@pytest.fixture
def gate() -> Gate:
    """Hold the demo's operations."""
    return Gate()


@pytest.fixture
async def url(tmp_path: Path, gate: Gate) -> AsyncIterator[str]:
    """Serve a gateway to the demo, which has a database; what comes next is held."""
    async with (
        DemoServer.open(tmp_path, pace=gate) as demo,
        grpc.aio.insecure_channel(demo.target) as channel,
        serving({"name": "demo", "target": demo.target}, sync_grace="0.1s") as url,
    ):
        await Owner(channel).create("orders")
        async with gate:
            yield url


async def test_a_client_that_follows_tasks_makes_one_call(url: str, gate: Gate) -> None:
    """What it gets is the result, however long that takes."""
    following = FollowTasks(gate.release)
    async with Client(f"{url}/mcp", mode="2026-07-28", extensions=[following]) as client:
        result = await client.call_tool("backup_database", BACKUP)
    assert (following.statuses[0], following.statuses[-1]) == ("working", "completed")
    assert result.structured_content is not None
    assert result.structured_content["response"] == MADE


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_a_client_without_tasks_waits_by_a_tool(url: str, gate: Gate, mode: str) -> None:
    """It gets the running operation, with a word on what to do, and waits."""
    async with Client(f"{url}/mcp", mode=mode) as client:
        running = (await client.call_tool("backup_database", BACKUP)).structured_content
        assert running is not None
        assert running["done"] is False
        gate.release()
        ended = await client.call_tool("wait_operation", {"name": running["name"]})
    assert ended.structured_content is not None
    assert ended.structured_content["response"] == MADE


@asynccontextmanager
async def client_of_mcp_1(url: str, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """Run a client of the old SDK, which cannot live beside the new one; yields what it says."""
    assert OLD_PYTHON.exists(), "scripts/setup --tests installs it"
    process = await asyncio.create_subprocess_exec(
        *(str(OLD_PYTHON), str(TESTS / "mcp" / "client_of_mcp_1.py"), f"{url}/mcp", *arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    yield process.stdout
    assert await process.wait() == 0


async def test_a_client_of_mcp_1_follows_a_core_task(url: str, gate: Gate) -> None:
    """It declares nothing: whether the server has tasks, and for which tools, it is told."""
    async with client_of_mcp_1(url, "backup_database", json.dumps(BACKUP)) as said:
        assert [json.loads(await said.readline()) for _ in range(2)] == [
            {"capability": {"cancel": {}, "requests": {"tools": {"call": {}}}}},
            {"created": "working"},
        ]
        gate.release()
        assert json.loads(await said.readline()) == {"last": "completed", "response": MADE}


async def test_a_client_of_mcp_1_cancels_a_core_task(url: str) -> None:
    """The answer says cancelled only when it is."""
    async with client_of_mcp_1(url, "backup_database", json.dumps(BACKUP), "cancel") as said:
        told = [json.loads(line) async for line in said]
    assert told[1:] == [{"created": "working"}, {"cancelled": "cancelled"}]


async def curl(*arguments: str) -> Any:
    """Run curl and return the JSON that it prints."""
    done = await anyio.run_process(["curl", "--silent", "--show-error", *arguments])
    return json.loads(done.stdout)


async def test_curl_starts_an_export_watches_it_and_cancels_it(url: str) -> None:
    """By the routes that its service's own google.api.http rules say."""
    export = json.dumps({"query": "select * from orders", "format": "JSON_LINES"})
    started = await curl("-d", export, f"{url}/v1/databases/orders:exportQuery")
    operation = f"{url}/v1/{started['name']}"
    assert (started["done"], started["metadata"]["@type"]) == (
        False,
        "type.googleapis.com/lro_gateway.demo.v1.ExportQueryMetadata",
    )
    assert (await curl(operation))["done"] is False
    assert await curl("-X", "POST", f"{operation}:cancel") == {}
    ended = await curl("-X", "POST", f"{operation}:wait")
    assert (ended["done"], ended["error"]["code"]) == (True, 1)


async def test_curl_reads_the_rows_of_an_export(url: str, gate: Gate) -> None:
    """The typed result says where they are."""
    gate.release()
    export = json.dumps({"query": "select 1 as one"})
    ended = await curl("-d", export, f"{url}/v1/databases/orders:exportQuery")
    assert (ended["done"], ended["response"]["rowCount"]) == (True, "1")

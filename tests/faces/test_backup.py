"""Four clients start an operation of the demo, follow it, and read its result.

They are the MCP SDK's client with an extension that follows tasks, the same client without it, the
client of the SDK's version 1 with core tasks, and curl.
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

BACKUP_ARGUMENTS = {"name": "databases/orders", "backupId": "monday"}
BACKUP = {
    "@type": "type.googleapis.com/lro_gateway.demo.v1.Backup",
    "name": "databases/orders/backups/monday",
    "createTime": ANY,
    "sizeBytes": ANY,
}
TESTS = Path(__file__).parents[1]
OLD_PYTHON = TESTS.parent / ".venv" / "mcp-1" / "bin" / "python"


@pytest.fixture
def gate() -> Gate:
    """Return the gate that stops the demo's operations."""
    return Gate()


@pytest.fixture
async def url(tmp_path: Path, gate: Gate) -> AsyncIterator[str]:
    """Serve a gateway to the demo, which has a database; the gate stops later operations."""
    async with (
        DemoServer.open(tmp_path, pace=gate) as demo,
        grpc.aio.insecure_channel(demo.target) as channel,
        serving({"name": "demo", "target": demo.target}, sync_grace="0.1s") as url,
    ):
        await Owner(channel).create("orders")
        async with gate:
            yield url


async def test_a_client_that_follows_tasks_makes_one_call(url: str, gate: Gate) -> None:
    """The call returns the result, however long the operation takes."""
    following = FollowTasks(gate.release)
    async with Client(f"{url}/mcp", mode="2026-07-28", extensions=[following]) as client:
        result = await client.call_tool("backup_database", BACKUP_ARGUMENTS)
    assert (following.statuses[0], following.statuses[-1]) == ("working", "completed")
    assert result.structured_content is not None
    assert result.structured_content["response"] == BACKUP


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_a_client_without_tasks_calls_the_tool_that_waits(
    url: str, gate: Gate, mode: str
) -> None:
    """The client gets the running operation, and then calls `wait_operation`."""
    async with Client(f"{url}/mcp", mode=mode) as client:
        running = (await client.call_tool("backup_database", BACKUP_ARGUMENTS)).structured_content
        assert running is not None
        assert running["done"] is False
        gate.release()
        ended = await client.call_tool("wait_operation", {"name": running["name"]})
    assert ended.structured_content is not None
    assert ended.structured_content["response"] == BACKUP


@asynccontextmanager
async def client_of_mcp_1(url: str, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """Run a client of the SDK's version 1 in a separate environment; yields its output."""
    assert OLD_PYTHON.exists(), "run scripts/setup --tests, which installs it"
    process = await asyncio.create_subprocess_exec(
        *(str(OLD_PYTHON), str(TESTS / "mcp" / "client_of_mcp_1.py"), f"{url}/mcp", *arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    yield process.stdout
    assert await process.wait() == 0


async def test_a_client_of_mcp_1_follows_a_core_task(url: str, gate: Gate) -> None:
    """The server declares its task capability, and the client declares none."""
    async with client_of_mcp_1(url, "backup_database", json.dumps(BACKUP_ARGUMENTS)) as output:
        assert [json.loads(await output.readline()) for _ in range(2)] == [
            {"capability": {"cancel": {}, "requests": {"tools": {"call": {}}}}},
            {"created": "working"},
        ]
        gate.release()
        assert json.loads(await output.readline()) == {"last": "completed", "response": BACKUP}


async def test_a_client_of_mcp_1_cancels_a_core_task(url: str) -> None:
    """The answer has the status cancelled only after the operation was cancelled."""
    async with client_of_mcp_1(
        url, "backup_database", json.dumps(BACKUP_ARGUMENTS), "cancel"
    ) as output:
        printed = [json.loads(line) async for line in output]
    assert printed[1:] == [{"created": "working"}, {"cancelled": "cancelled"}]


async def curl(*arguments: str) -> Any:
    """Run curl and return the JSON that it prints."""
    done = await anyio.run_process(["curl", "--silent", "--show-error", *arguments])
    return json.loads(done.stdout)


async def test_curl_starts_an_export_and_cancels_it(url: str) -> None:
    """The routes are the google.api.http rules of the service's .proto file."""
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


async def test_curl_reads_the_result_of_an_export(url: str, gate: Gate) -> None:
    """The result of the export has the number of rows."""
    gate.release()
    export = json.dumps({"query": "select 1 as one"})
    # A busy machine may need longer than the grace of the start.
    started = await curl("-d", export, f"{url}/v1/databases/orders:exportQuery")
    ended = await curl("-X", "POST", f"{url}/v1/{started['name']}:wait")
    assert (ended["done"], ended["response"]["rowCount"]) == (True, "1")

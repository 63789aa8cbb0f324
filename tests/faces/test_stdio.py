"""MCP over stdio: the real command as a subprocess of the SDK's client."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from google.longrunning import operations_pb2
from mcp import Client, StdioServerParameters

from tests.contrary import ContraryBackend, answering

COMMAND = str(Path(sys.executable).with_name("lro-gateway"))
DONE = operations_pb2.Operation(name="jobs/1", done=True)


@pytest.fixture
async def backend() -> AsyncIterator[ContraryBackend]:
    """Serve one operation."""
    async with ContraryBackend.open({"GetOperation": answering(DONE)}) as opened:
        yield opened


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy", "auto"])
async def test_a_client_calls_tools_over_stdio(mode: str, backend: ContraryBackend) -> None:
    """The same tools and answers as over HTTP, in either era."""
    server = StdioServerParameters(
        command=COMMAND, args=["serve", "--stdio", "--backend", backend.target]
    )
    with anyio.fail_after(30):
        async with Client(server, mode=mode) as client:
            listed = await client.list_tools()
            result = await client.call_tool("get_operation", {"name": "jobs/1"})
    assert [tool.name for tool in listed.tools] == [
        "get_operation",
        "list_operations",
        "wait_operation",
        "cancel_operation",
        "delete_operation",
    ]
    assert result.structured_content == {"name": "jobs/1", "done": True}


async def test_stdout_has_nothing_but_protocol_and_the_end_of_stdin_ends_it() -> None:
    """Even with a backend that is down and a line that is no message; it exits with 0."""
    request = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    lines = ["not json", json.dumps(request)]
    with anyio.fail_after(30):
        done = await anyio.run_process(
            [COMMAND, "serve", "--stdio", "--backend", "127.0.0.1:1"],
            input="".join(line + "\n" for line in lines).encode(),
            env=dict(os.environ),
        )
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(message["jsonrpc"] == "2.0" for message in messages)
    assert messages[-1]["result"]["serverInfo"]["name"] == "lro-gateway"
    assert b"Traceback" not in done.stderr

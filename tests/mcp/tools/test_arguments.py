"""Arguments that are not a JSON object, as a whole or at any depth."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lro_gateway.demo.server import DemoServer
from tests.gateways import serving
from tests.mcp.tool_client import MODES


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Open an HTTP client of a gateway to the demo backend."""
    async with (
        DemoServer.open(tmp_path) as demo,
        serving({"name": "demo", "target": demo.target}) as url,
        httpx.AsyncClient(base_url=url) as opened,
    ):
        yield opened


async def answer(client: httpx.AsyncClient, mode: str, arguments: Any, **params: Any) -> Any:
    """Send a tools/call of create_database with these arguments, as a client without an SDK."""
    version = "2025-11-25" if mode == "legacy" else mode
    meta = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    call = {"name": "create_database", "arguments": arguments, "_meta": meta, **params}
    response = await client.post(
        "/mcp",
        json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call},
        headers={
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": version,
            "mcp-method": "tools/call",
            "mcp-name": "create_database",
        },
    )
    return json.loads(response.text.partition("data: ")[2] or response.text)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('{"databaseId": "a"}', "arguments: an object is needed, not a string that holds JSON"),
        ("databaseId=a", "arguments: an object is needed, not 'databaseId=a'"),
        ([], "arguments: an object is needed, not a list"),
        ({"databaseId": ["a"]}, "databaseId: a string is needed, not a list"),
        (
            {"databaseId": "a", "rowCount": '{"value": 1}'},
            "rowCount: an integer of 32 bits is needed, not a string that holds JSON",
        ),
    ],
)
async def test_the_tool_error_says_what_is_needed(
    client: httpx.AsyncClient, mode: str, arguments: Any, message: str
) -> None:
    """A model does not see a JSON-RPC error, but it sees a tool error and corrects its call."""
    result = (await answer(client, mode, arguments))["result"]
    assert result["isError"] is True
    status = json.loads(result["content"][0]["text"])
    assert (status["status"], status["message"]) == ("INVALID_ARGUMENT", message)
    assert "Correct the argument that the message names" in result["content"][1]["text"]


async def test_a_call_that_asks_for_a_task_gets_a_json_rpc_error(
    client: httpx.AsyncClient,
) -> None:
    """A task of 2025-11-25 cannot be created for such a call."""
    error = (await answer(client, "legacy", "{}", task={}))["error"]
    assert (error["code"], error["message"]) == (
        -32602,
        "arguments: an object is needed, not a string that holds JSON",
    )

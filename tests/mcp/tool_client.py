"""The MCP SDK's client of a gateway to one backend, and the texts of tool results."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
from google.longrunning import operations_pb2
from google.protobuf import any_pb2
from mcp import Client

from tests.contrary import ContraryBackend, Handler, answering
from tests.gateways import serving
from tests.shapes import pool

MODES = ("2026-07-28", "legacy")
RUNNING = operations_pb2.Operation(name="jobs/1")


def packed(payload: Any) -> any_pb2.Any:
    """Return a message packed into a google.protobuf.Any."""
    packed_payload = any_pb2.Any()
    packed_payload.Pack(payload)
    return packed_payload


@asynccontextmanager
async def client_of(
    mode: str, handlers: dict[str, Handler], **settings: Any
) -> AsyncIterator[tuple[Client, ContraryBackend]]:
    """Open a backend whose types are known, a gateway to it, and the SDK's client.

    `mode` is the client's protocol mode. `handlers` are the backend's RPCs by name. `settings` are
    further settings of the backend in the gateway's configuration.
    """
    async with (
        ContraryBackend.open(handlers, reflection_versions=("v1",), pool=pool()) as backend,
        serving({"name": "b", "target": backend.target, **settings}) as url,
        Client(f"{url}/mcp", mode=mode) as client,
    ):
        yield client, backend


def texts(result: types.CallToolResult) -> list[str]:
    """Return the text of each content block of a result."""
    assert all(isinstance(block, types.TextContent) for block in result.content)
    return [block.text for block in result.content if isinstance(block, types.TextContent)]


async def text_beside_json(operation: Any) -> str:
    """Return the text for a model that get_operation returns beside the operation's JSON."""
    async with client_of("2026-07-28", {"GetOperation": answering(operation)}) as (client, _):
        result = await client.call_tool("get_operation", {"name": "jobs/1"})
    assert result.is_error is False
    as_json, text = texts(result)
    assert json.loads(as_json) == result.structured_content
    return text

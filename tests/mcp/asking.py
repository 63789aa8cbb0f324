"""The MCP SDK's client over one backend, and the words that a tool answers with."""

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
    """Pack a message as services do."""
    holder = any_pb2.Any()
    holder.Pack(payload)
    return holder


@asynccontextmanager
async def client_of(
    mode: str, handlers: dict[str, Handler], **settings: Any
) -> AsyncIterator[tuple[Client, ContraryBackend]]:
    """Open the SDK's client over one backend whose types are known."""
    async with (
        ContraryBackend.open(handlers, reflection_versions=("v1",), pool=pool()) as backend,
        serving({"name": "b", "target": backend.target, **settings}) as url,
        Client(f"{url}/mcp", mode=mode) as client,
    ):
        yield client, backend


def texts(result: types.CallToolResult) -> list[str]:
    """Return the text of each block."""
    assert all(isinstance(block, types.TextContent) for block in result.content)
    return [block.text for block in result.content if isinstance(block, types.TextContent)]


async def told(operation: Any) -> str:
    """Return the words beside an operation."""
    async with client_of("2026-07-28", {"GetOperation": answering(operation)}) as (client, _):
        result = await client.call_tool("get_operation", {"name": "jobs/1"})
    assert result.is_error is False
    as_json, words = texts(result)
    assert json.loads(as_json) == result.structured_content
    return words

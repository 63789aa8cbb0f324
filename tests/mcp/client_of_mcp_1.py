# mypy: ignore-errors
# It runs under the SDK's first major version, in an environment of its own.
"""A client of mcp 1: follows a tool as a core task, and prints what it met as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import CallToolResult


async def main(url: str) -> None:
    """Start, follow and read one task, and cancel another."""
    async with (
        streamablehttp_client(url) as (reader, writer, _),
        ClientSession(reader, writer) as session,
    ):
        hello = await session.initialize()
        tasks = session.experimental
        created = await tasks.call_tool_as_task("slow_compute", {"seconds": 1, "label": "a"})
        statuses = [state.status async for state in tasks.poll_task(created.task.taskId)]
        result = await tasks.get_task_result(created.task.taskId, CallToolResult)
        other = await tasks.call_tool_as_task("slow_compute", {"seconds": 60})
        cancelled = await tasks.cancel_task(other.task.taskId)
    met = {
        "capability": hello.capabilities.tasks.model_dump(exclude_none=True),
        "created": created.task.status,
        "last": statuses[-1],
        "response": result.structuredContent["response"],
        "cancelled": cancelled.status,
    }
    sys.stdout.write(json.dumps(met))


asyncio.run(main(sys.argv[1]))

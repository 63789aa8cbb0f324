# mypy: ignore-errors
# It runs under the SDK's first major version, in an environment of its own.
"""A client of mcp 1: runs a tool as a core task, and prints what it meets, one JSON a line."""

from __future__ import annotations

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import CallToolResult


async def main(url: str, tool: str, arguments: str, *, cancels: bool) -> None:
    """Start a tool as a task, then follow it and read its result, or cancel it."""
    async with (
        streamablehttp_client(url) as (reader, writer, _),
        ClientSession(reader, writer) as session,
    ):
        hello = await session.initialize()
        tell(capability=hello.capabilities.tasks.model_dump(exclude_none=True))
        tasks = session.experimental
        created = await tasks.call_tool_as_task(tool, json.loads(arguments))
        tell(created=created.task.status)
        task_id = created.task.taskId
        if cancels:
            tell(cancelled=(await tasks.cancel_task(task_id)).status)
            return
        async for state in tasks.poll_task(task_id):
            last = state.status
        result = await tasks.get_task_result(task_id, CallToolResult)
        tell(last=last, response=result.structuredContent["response"])


def tell(**met: object) -> None:
    """Print a line at once."""
    sys.stdout.write(json.dumps(met) + "\n")
    sys.stdout.flush()


asyncio.run(main(*sys.argv[1:4], cancels=sys.argv[4:] == ["cancel"]))

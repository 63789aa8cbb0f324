# mypy: ignore-errors
# This script runs in its own environment, which has version 1 of the package mcp.
"""A client that uses mcp 1: it runs a tool as a core task, and prints one JSON line per step."""

from __future__ import annotations

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import CallToolResult


async def main(url: str, tool: str, arguments: str, *, cancels: bool) -> None:
    """Start a tool as a task, then cancel the task, or poll it to its end and read its result."""
    async with (
        streamablehttp_client(url) as (reader, writer, _),
        ClientSession(reader, writer) as session,
    ):
        hello = await session.initialize()
        print_line(capability=hello.capabilities.tasks.model_dump(exclude_none=True))
        tasks = session.experimental
        created = await tasks.call_tool_as_task(tool, json.loads(arguments))
        print_line(created=created.task.status)
        task_id = created.task.taskId
        if cancels:
            print_line(cancelled=(await tasks.cancel_task(task_id)).status)
            return
        async for state in tasks.poll_task(task_id):
            last = state.status
        result = await tasks.get_task_result(task_id, CallToolResult)
        print_line(last=last, response=result.structuredContent["response"])


def print_line(**step: object) -> None:
    """Print a step as one line of JSON, and flush it."""
    sys.stdout.write(json.dumps(step) + "\n")
    sys.stdout.flush()


asyncio.run(main(*sys.argv[1:4], cancels=sys.argv[4:] == ["cancel"]))

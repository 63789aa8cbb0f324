"""Tests with the SDK's client, with and without an extension that supports tasks."""

from __future__ import annotations

import asyncio

import pytest
from mcp import Client

from tests.mcp.following import FollowTasks
from tests.mcp.jobs import Clock

pytestmark = pytest.mark.anyio


async def test_a_client_with_tasks_gets_the_result(url: str, clock: Clock) -> None:
    """The caller makes one call, although the operation lasts longer than the grace."""
    following = FollowTasks(lambda: clock.forward(100))
    async with Client(url, mode="2026-07-28", extensions=[following]) as client:
        result = await client.call_tool("slow_compute", {"seconds": 100, "label": "a"})
    assert following.statuses == ["working", "completed"]
    assert result.structured_content is not None
    assert result.structured_content["response"]["label"] == "a"


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_a_client_without_tasks_waits_with_a_tool(url: str, clock: Clock, mode: str) -> None:
    """The client gets the running operation, and then the done operation from wait_operation."""
    async with Client(url, mode=mode) as client:
        result = await client.call_tool("slow_compute", {"seconds": 100, "label": "a"})
        assert result.structured_content is not None
        assert result.structured_content["done"] is False
        async with asyncio.TaskGroup() as group:
            name = result.structured_content["name"]
            waiting = group.create_task(client.call_tool("wait_operation", {"name": name}))
            await client.call_tool("get_operation", {"name": name})
            clock.ahead = 100
    ended = waiting.result().structured_content
    assert ended is not None
    assert ended["response"]["label"] == "a"

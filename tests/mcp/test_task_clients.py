"""Clients as they are: the SDK's, with an extension that follows tasks and without one."""

from __future__ import annotations

import asyncio

import pytest
from mcp import Client

from tests.mcp.following import FollowTasks
from tests.mcp.jobs import Clock

pytestmark = pytest.mark.anyio


async def test_a_client_that_follows_tasks_gets_the_result(url: str, clock: Clock) -> None:
    """One call, however long the operation lasts."""
    following = FollowTasks(lambda: clock.forward(100))
    async with Client(url, mode="2026-07-28", extensions=[following]) as client:
        result = await client.call_tool("slow_compute", {"seconds": 100, "label": "a"})
    assert following.followed == ["working", "completed"]
    assert result.structured_content is not None
    assert result.structured_content["response"]["label"] == "a"


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_a_client_without_tasks_waits_by_a_tool(url: str, clock: Clock, mode: str) -> None:
    """It gets the running operation, then what wait_operation answers."""
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

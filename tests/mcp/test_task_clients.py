"""Clients as they are: the SDK's, with an extension that follows tasks and without one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import mcp_types as types
import pytest
from mcp import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim

from tests.mcp.jobs import Clock
from tests.mcp.wire import EXTENSION

pytestmark = pytest.mark.anyio


class TaskResult(types.Result):
    """A CreateTaskResult, as a client reads it."""

    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    poll_interval_ms: int


class GetTask(types.Request[types.GetTaskRequestParams, Literal["tasks/get"]]):
    """A request of tasks/get; its id also goes into the Mcp-Name header."""

    method: Literal["tasks/get"] = "tasks/get"
    params: types.GetTaskRequestParams
    name_param = "taskId"


class DetailedTask(types.Result):
    """What tasks/get answers, as far as a client needs it."""

    status: str
    result: dict[str, Any] | None = None


class FollowTasks(ClientExtension):
    """Follows a task to its result, so that a caller sees only that."""

    identifier = EXTENSION

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.followed: list[str] = []

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=TaskResult, resolve=self._resolve)]

    async def _resolve(self, task: TaskResult, context: ClaimContext) -> types.CallToolResult:
        request = GetTask(params=types.GetTaskRequestParams(task_id=task.task_id))
        while True:
            state = await context.session.send_request(request, DetailedTask)
            self.followed.append(state.status)
            if state.result is not None:
                return types.CallToolResult.model_validate(state.result)
            # A real client waits for poll_interval_ms; this one sets the backend's clock.
            self._clock.ahead += 100


async def test_a_client_that_follows_tasks_gets_the_result(url: str, clock: Clock) -> None:
    """One call, however long the operation lasts."""
    following = FollowTasks(clock)
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

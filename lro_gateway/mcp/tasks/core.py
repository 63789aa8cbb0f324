"""Tasks on 2025-11-25, where they were part of the core protocol."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import Any, Final

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from lro_gateway.errors import JSON
from lro_gateway.mcp.tasks.tasks import Tasks, TaskState, TaskStatus
from lro_gateway.mcp.wire import is_core, no_such_method, timestamp
from lro_gateway.principal import Principal

CAPABILITY: Final[JSON] = {"cancel": {}, "requests": {"tools": {"call": {}}}}
"""`capabilities.tasks`: no list, because nothing is stored that could be listed."""

_RELATED_TASK: Final = "io.modelcontextprotocol/related-task"
_CANCEL_GRACE: Final = timedelta(seconds=3)
"""How long tasks/cancel waits to see the task cancelled, which its reply must say."""


class CoreTasks:
    """The methods of the core protocol; other revisions have none of them."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    async def get(
        self, context: ServerRequestContext[Any], caller: Principal, task_id: str
    ) -> JSON:
        """tasks/get: how the task stands, without its result."""
        _admit(context)
        return task(task_id, await self._tasks.get(caller, task_id))

    async def result(
        self, context: ServerRequestContext[Any], caller: Principal, task_id: str
    ) -> JSON:
        """tasks/result: wait for the task to end, then return what the tool gave."""
        _admit(context)
        state = await self._ended(caller, task_id)
        if state.error is not None:
            raise MCPError.from_error_data(state.error)
        result = state.result or _without_result(state)
        dumped = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        dumped.pop("resultType", None)  # a word of 2026-07-28
        meta = {**dumped.get("_meta", {}), _RELATED_TASK: {"taskId": task_id}}
        return {**dumped, "_meta": meta}

    async def cancel(
        self, context: ServerRequestContext[Any], caller: Principal, task_id: str
    ) -> JSON:
        """tasks/cancel: cancel the task, and say so only once it is."""
        _admit(context)
        before = await self._tasks.get(caller, task_id)
        if before.status.is_terminal:
            message = f"The task has ended already: {_status(before)}"
            raise MCPError(types.INVALID_PARAMS, message)
        await self._tasks.cancel(caller, task_id)
        try:
            async with asyncio.timeout(_CANCEL_GRACE.total_seconds()):
                state = await self._ended(caller, task_id)
        except TimeoutError:
            raise MCPError(
                types.INTERNAL_ERROR,
                "Cancellation was asked for, but the task goes on for now; tasks/get tells its end",
            ) from None
        if state.status is not TaskStatus.CANCELLED:
            message = f"The task was not cancelled, it ended before: {_status(state)}"
            raise MCPError(types.INTERNAL_ERROR, message)
        return task(task_id, state)

    async def _ended(self, caller: Principal, task_id: str) -> TaskState:
        async with aclosing(self._tasks.watch(caller, task_id)) as states:
            async for state in states:
                if state.status.is_terminal:
                    return state
        raise AssertionError("unreachable: a watch ends with the task's end")


def task(task_id: str, state: TaskState) -> JSON:
    """Return a Task; a dict, because a model would lose `ttl: null`."""
    return {
        "taskId": task_id,
        "status": _status(state),
        "statusMessage": state.message,
        "createdAt": timestamp(state.created_at),
        "lastUpdatedAt": timestamp(state.updated_at),
        "ttl": None,
        "pollInterval": state.poll_interval * 1000,
    }


def _status(state: TaskState) -> str:
    """Return the status; on this wire a tool's error is a failed task."""
    if state.status is TaskStatus.COMPLETED and state.result is not None and state.result.is_error:
        return TaskStatus.FAILED.value
    return state.status.value


def _without_result(state: TaskState) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=state.message)], is_error=True
    )


def _admit(context: ServerRequestContext[Any]) -> None:
    if not is_core(context):
        raise no_such_method(context)

"""Tasks of revision 2025-11-25, where tasks are part of the core protocol."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import Any, Final

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from lro_gateway.access.expiry import until_expiry
from lro_gateway.errors import JSON
from lro_gateway.mcp.failures import task_errors
from lro_gateway.mcp.tasks.tasks import Tasks, TaskState, TaskStatus
from lro_gateway.mcp.wire import is_core, no_such_method, timestamp
from lro_gateway.principal import Principal

CAPABILITY: Final[JSON] = {"cancel": {}, "requests": {"tools": {"call": {}}}}
"""The value of `capabilities.tasks`. It has no tasks/list, because the gateway stores no tasks."""

_RELATED_TASK: Final = "io.modelcontextprotocol/related-task"
_CANCEL_GRACE: Final = timedelta(seconds=3)
"""The maximum time that tasks/cancel waits for the end of the task.

The core protocol requires that the result of tasks/cancel has the status `cancelled`.
"""


class CoreTasks:
    """Serves the task methods of the core protocol. Requests of other revisions get -32601."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    async def get(
        self, context: ServerRequestContext[Any], caller: Principal, task_id: str
    ) -> JSON:
        """Answer tasks/get: return the task's state, without its result."""
        _require_core(context)
        state = await self._tasks.get(caller, task_id)
        return with_meta(task(task_id, state), state)

    async def result(
        self, context: ServerRequestContext[Any], caller: Principal, task_id: str
    ) -> JSON:
        """Answer tasks/result: wait until the task has ended, then return the tool's result."""
        _require_core(context)
        state = await self._ended(caller, task_id)
        if state.error is not None:
            raise MCPError.from_error_data(state.error)
        result = state.result or _without_result(state)
        dumped = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        dumped.pop("resultType", None)  # only 2026-07-28 has this property
        meta = {**dumped.get("_meta", {}), _RELATED_TASK: {"taskId": task_id}}
        return {**dumped, "_meta": meta}

    async def cancel(
        self, context: ServerRequestContext[Any], caller: Principal, task_id: str
    ) -> JSON:
        """Answer tasks/cancel: cancel the task, wait until it is cancelled, and return it.

        Raises -32602 if the task had ended before the request, and -32603 if the task is not
        cancelled within `_CANCEL_GRACE`.
        """
        _require_core(context)
        before = await self._tasks.get(caller, task_id)
        if before.status.is_terminal:
            message = f"The task has already ended. Its status is {_status(before)}"
            raise MCPError(types.INVALID_PARAMS, message)
        await self._tasks.cancel(caller, task_id)
        try:
            async with asyncio.timeout(_CANCEL_GRACE.total_seconds()):
                state = await self._ended(caller, task_id)
        except TimeoutError:
            raise MCPError(
                types.INTERNAL_ERROR,
                "Cancellation was requested, but the task is still running. Call tasks/get to see"
                " how it ends.",
            ) from None
        if state.status is not TaskStatus.CANCELLED:
            message = f"The task ended before it could be cancelled. Its status is {_status(state)}"
            raise MCPError(types.INTERNAL_ERROR, message)
        return with_meta(task(task_id, state), state)

    async def _ended(self, caller: Principal, task_id: str) -> TaskState:
        with task_errors():
            async with until_expiry(caller), aclosing(self._tasks.watch(caller, task_id)) as states:
                async for state in states:
                    if state.status.is_terminal:
                        return state
        raise AssertionError("unreachable, because a watch yields until the task has ended")


def task(task_id: str, state: TaskState) -> JSON:
    """Return a Task as a dict, because a pydantic model would omit the required `ttl: null`."""
    return {
        "taskId": task_id,
        "status": _status(state),
        "statusMessage": state.message,
        "createdAt": timestamp(state.created_at),
        "lastUpdatedAt": timestamp(state.updated_at),
        "ttl": None,
        "pollInterval": state.poll_interval * 1000,
    }


def with_meta(answer: JSON, state: TaskState) -> JSON:
    """Return an answer about a task with the `_meta` of the task's state."""
    return {**answer, "_meta": state.meta} if state.meta else answer


def _status(state: TaskState) -> str:
    """Return the status. In the core protocol, a task whose result is a tool error is `failed`."""
    if state.status is TaskStatus.COMPLETED and state.result is not None and state.result.is_error:
        return TaskStatus.FAILED.value
    return state.status.value


def _without_result(state: TaskState) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=state.message)], is_error=True
    )


def _require_core(context: ServerRequestContext[Any]) -> None:
    if not is_core(context):
        raise no_such_method(context)

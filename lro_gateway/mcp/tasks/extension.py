"""Tasks of revision 2026-07-28: the extension `io.modelcontextprotocol/tasks` (SEP-2663)."""

from __future__ import annotations

from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value

from lro_gateway.errors import JSON
from lro_gateway.mcp.tasks.tasks import Tasks, TaskState, TaskStatus
from lro_gateway.mcp.wire import require_extension, timestamp
from lro_gateway.principal import Principal


class UpdateTaskRequestParams(types.RequestParams):
    """The params of tasks/update: a task's id, and answers to its input requests, by key."""

    task_id: str
    input_responses: dict[str, Any]


class ExtensionTasks:
    """Serves the task methods of the extension.

    Results are dicts, because pydantic models would omit the required `ttlMs: null`.
    """

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    async def get(
        self, context: ServerRequestContext[Any], caller: Principal, task_id: str
    ) -> JSON:
        """Answer tasks/get: return the state, with the result, error or open input requests."""
        _check(context, task_id)
        return detailed(task_id, await self._tasks.get(caller, task_id))

    async def cancel(
        self, context: ServerRequestContext[Any], caller: Principal, task_id: str
    ) -> JSON:
        """Answer tasks/cancel: request the cancellation. tasks/get later shows the task's end."""
        _check(context, task_id)
        await self._tasks.cancel(caller, task_id)
        return {"resultType": "complete"}

    async def update(
        self,
        context: ServerRequestContext[Any],
        caller: Principal,
        params: UpdateTaskRequestParams,
    ) -> JSON:
        """Answer tasks/update: pass on the answers. tasks/get then shows the new state."""
        _check(context, params.task_id)
        await self._tasks.update(caller, params.task_id, params.input_responses)
        return {"resultType": "complete"}


def created(task_id: str, state: TaskState) -> JSON:
    """Return a CreateTaskResult: the task, without its result, error or input requests."""
    return {"resultType": "task", **_base(task_id, state)}


def detailed(task_id: str, state: TaskState) -> JSON:
    """Return a DetailedTask, as tasks/get and notifications/tasks carry it."""
    task: JSON = {"resultType": "complete", **_base(task_id, state)}
    if state.status is TaskStatus.COMPLETED and state.result is not None:
        task["result"] = state.result.model_dump(mode="json", by_alias=True, exclude_none=True)
    elif state.status is TaskStatus.FAILED and state.error is not None:
        task["error"] = state.error.model_dump(mode="json", exclude_none=True)
    elif state.status is TaskStatus.INPUT_REQUIRED:
        task["inputRequests"] = dict(state.input_requests)
    return task


def _base(task_id: str, state: TaskState) -> JSON:
    task = {
        "taskId": task_id,
        "status": state.status.value,
        "statusMessage": state.message,
        "createdAt": timestamp(state.created_at),
        "lastUpdatedAt": timestamp(state.updated_at),
        "ttlMs": None,
        "pollIntervalMs": state.poll_interval * 1000,
    }
    return {**task, "_meta": state.meta} if state.meta else task


def _check(context: ServerRequestContext[Any], task_id: str) -> None:
    """Refuse a request that does not declare the extension, or whose header names another task."""
    headers = getattr(context.request, "headers", {})
    name = headers.get(MCP_NAME_HEADER)
    # A missing header is accepted, because some clients never send it for tasks.
    if name is not None and decode_header_value(name) != task_id:
        raise MCPError(
            types.HEADER_MISMATCH,
            f"{MCP_NAME_HEADER} header does not match the request body's 'taskId' parameter",
        )
    require_extension(context)

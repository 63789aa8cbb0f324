"""An extension of the SDK's client that follows tasks, as one would write it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import mcp_types as types
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim

from tests.mcp.wire import EXTENSION


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

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = meanwhile
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
            # A real client waits for poll_interval_ms; this one has the work go on.
            self._meanwhile()

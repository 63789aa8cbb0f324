"""An extension of the SDK's client that polls a task until it has a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import mcp_types as types
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim

from tests.mcp.wire import EXTENSION


class TaskResult(types.Result):
    """The fields of a CreateTaskResult that the client needs."""

    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    poll_interval_ms: int


class GetTask(types.Request[types.GetTaskRequestParams, Literal["tasks/get"]]):
    """A request of tasks/get. The SDK also sends the task's id in the Mcp-Name header."""

    method: Literal["tasks/get"] = "tasks/get"
    params: types.GetTaskRequestParams
    name_param = "taskId"


class DetailedTask(types.Result):
    """The fields of the result of tasks/get that the client needs."""

    status: str
    result: dict[str, Any] | None = None


class FollowTasks(ClientExtension):
    """Polls a task until it has a result, so that the caller of the tool gets only the result.

    The extension calls `between_polls` after each poll without a result. `statuses` are the
    statuses that it has read.
    """

    identifier = EXTENSION

    def __init__(self, between_polls: Callable[[], None]) -> None:
        self._between_polls = between_polls
        self.statuses: list[str] = []

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=TaskResult, resolve=self._resolve)]

    async def _resolve(self, task: TaskResult, context: ClaimContext) -> types.CallToolResult:
        request = GetTask(params=types.GetTaskRequestParams(task_id=task.task_id))
        while True:
            state = await context.session.send_request(request, DetailedTask)
            self.statuses.append(state.status)
            if state.result is not None:
                return types.CallToolResult.model_validate(state.result)
            # A real client sleeps for poll_interval_ms. This client advances the work instead.
            self._between_polls()

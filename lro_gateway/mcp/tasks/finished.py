"""Tasks of calls that have finished already. The task's id holds the call's result."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

import mcp_types as types

from lro_gateway.mcp.answers import TaskKey
from lro_gateway.mcp.tasks.tasks import TaskState, TaskStatus
from lro_gateway.principal import Principal


class FinishedTasks:
    """The tasks of calls that ended, with a result or a tool error, before their task was created.

    In the core protocol of 2025-11-25, the client decides that a call is a task. So a call that
    ends at once needs a task too.
    """

    name: Final = "settled"  # Task ids hold this name, so it must not change.

    def key(self, tool: str, result: types.CallToolResult) -> TaskKey:
        """Return the key of a new task. It holds the time when the call ended, and the result."""
        dumped = result.model_dump_json(by_alias=True, exclude_none=True)
        return TaskKey(self.name, tool, (dt.datetime.now(dt.UTC).isoformat(), dumped))

    async def get(self, _caller: Principal, reference: tuple[str, ...]) -> TaskState:
        """Return the ended task with its result."""
        ended, dumped = reference
        result = types.CallToolResult.model_validate_json(dumped)
        moment = dt.datetime.fromisoformat(ended)
        texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
        message = texts[-1] if texts else "Done."
        return TaskState(
            TaskStatus.COMPLETED, message, moment, moment, result=result, meta=result.meta
        )

    async def watch(
        self, caller: Principal, reference: tuple[str, ...]
    ) -> AsyncGenerator[TaskState]:
        """Yield the ended task with its result."""
        yield await self.get(caller, reference)

    async def cancel(self, _caller: Principal, _reference: tuple[str, ...]) -> None:
        """Do nothing, because the task has ended."""

    async def update(
        self, _caller: Principal, _reference: tuple[str, ...], _answers: Mapping[str, Any]
    ) -> None:
        """Do nothing, because the task has no input requests."""

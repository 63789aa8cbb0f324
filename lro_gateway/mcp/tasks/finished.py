"""Tasks of calls that have finished: the task's id holds the result."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

import mcp_types as types

from lro_gateway.mcp.answers import TaskKey
from lro_gateway.mcp.tasks.tasks import TaskState, TaskStatus
from lro_gateway.principal import Principal


class FinishedTasks:
    """For a client that wants a task although the tool has answered, or has refused, already."""

    name: Final = "settled"

    def key(self, tool: str, result: types.CallToolResult) -> TaskKey:
        """Return the content of the id of a new task: the time, and the result."""
        dumped = result.model_dump_json(by_alias=True, exclude_none=True)
        return TaskKey(self.name, tool, (dt.datetime.now(dt.UTC).isoformat(), dumped))

    async def get(self, _caller: Principal, reference: tuple[str, ...]) -> TaskState:
        """Return the result."""
        ended, dumped = reference
        result = types.CallToolResult.model_validate_json(dumped)
        moment = dt.datetime.fromisoformat(ended)
        texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
        said = texts[-1] if texts else "Done."
        return TaskState(TaskStatus.COMPLETED, said, moment, moment, result=result)

    async def watch(
        self, caller: Principal, reference: tuple[str, ...]
    ) -> AsyncGenerator[TaskState]:
        """Yield the result."""
        yield await self.get(caller, reference)

    async def cancel(self, _caller: Principal, _reference: tuple[str, ...]) -> None:
        """Do nothing: it has ended."""

    async def update(
        self, _caller: Principal, _reference: tuple[str, ...], _answers: Mapping[str, Any]
    ) -> None:
        """Do nothing: it asks for nothing."""

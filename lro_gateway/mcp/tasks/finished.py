"""Tasks that had ended when they began: their result travels in their id."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

import mcp_types as types

from lro_gateway.mcp.tasks.ids import TaskKey
from lro_gateway.mcp.tasks.tasks import TaskState, TaskStatus
from lro_gateway.principal import Principal


class SettledTasks:
    """For a client that wants a task where the tool, or its refusal, is already complete."""

    name: Final = "settled"

    def key(self, tool: str, result: types.CallToolResult) -> TaskKey:
        """Return what the id of such a task holds: the result, and when it was."""
        dumped = result.model_dump_json(by_alias=True, exclude_none=True)
        return TaskKey(self.name, tool, (dt.datetime.now(dt.UTC).isoformat(), dumped))

    async def get(self, _caller: Principal, place: tuple[str, ...]) -> TaskState:
        """Return the result."""
        ended, dumped = place
        result = types.CallToolResult.model_validate_json(dumped)
        moment = dt.datetime.fromisoformat(ended)
        texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
        said = texts[-1] if texts else "Done."
        return TaskState(TaskStatus.COMPLETED, said, moment, moment, result=result)

    async def watch(self, caller: Principal, place: tuple[str, ...]) -> AsyncGenerator[TaskState]:
        """Yield the result."""
        yield await self.get(caller, place)

    async def cancel(self, _caller: Principal, _place: tuple[str, ...]) -> None:
        """Do nothing: it has ended."""

    async def update(
        self, _caller: Principal, _place: tuple[str, ...], _answers: Mapping[str, Any]
    ) -> None:
        """Do nothing: it asks for nothing."""

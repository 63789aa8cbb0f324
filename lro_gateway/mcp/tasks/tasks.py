"""Tasks, whichever wire carries them: how they stand, where they come from, and their ids."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import mcp_types as types
from mcp.shared.exceptions import MCPError

from lro_gateway.errors import JSON, Code, StatusError, code_name
from lro_gateway.mcp.tasks.ids import TaskIds, TaskKey
from lro_gateway.principal import Principal
from lro_gateway.sealing import UnsealError

_UNKNOWN: Final = frozenset({Code.NOT_FOUND, Code.INVALID_ARGUMENT, Code.PERMISSION_DENIED})
"""What a backend or the router says of a sealed name that leads nowhere any more."""


class TaskStatus(enum.Enum):
    """The statuses of both wires."""

    WORKING = "working"
    INPUT_REQUIRED = "input_required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether a task stays as it is."""
        return self not in {TaskStatus.WORKING, TaskStatus.INPUT_REQUIRED}


@dataclass(frozen=True, slots=True)
class TaskState:
    """How a task stands.

    `result` is what the tool gave, an error of the tool included (then `status` is COMPLETED); a
    cancelled task may have one too. `error` is a JSON-RPC error, and its status FAILED.
    `input_requests` are those that wait for an answer. `poll_interval` is in seconds.
    """

    status: TaskStatus
    message: str
    created_at: dt.datetime
    updated_at: dt.datetime
    poll_interval: int = 1
    result: types.CallToolResult | None = None
    error: types.ErrorData | None = None
    input_requests: Mapping[str, JSON] = field(default_factory=dict)


class TaskSource(Protocol):
    """Where tasks of one kind come from.

    `place` is what the task's id holds for it. Each method raises `StatusError`, NOT_FOUND for a
    task that is no more.
    """

    @property
    def name(self) -> str:
        """The name in task ids; it must not change."""

    async def get(self, caller: Principal, place: tuple[str, ...]) -> TaskState:
        """Return how a task stands."""

    def watch(self, caller: Principal, place: tuple[str, ...]) -> AsyncGenerator[TaskState]:
        """Yield how a task stands now and after each change, until it has ended."""

    async def cancel(self, caller: Principal, place: tuple[str, ...]) -> None:
        """Ask for a task to end; how it ends shows in its state."""

    async def update(
        self, caller: Principal, place: tuple[str, ...], answers: Mapping[str, Any]
    ) -> None:
        """Take answers to some of its input requests; others than those are ignored."""


class Tasks:
    """The tasks of every source, by id. Failures come as `MCPError`, one for all unknown ids."""

    def __init__(self, ids: TaskIds, sources: Iterable[TaskSource]) -> None:
        self._ids = ids
        self._sources = {source.name: source for source in sources}

    def id_of(self, caller: Principal, key: TaskKey) -> str:
        """Return the id of a task for its caller."""
        return self._ids.seal(caller, key)

    def knows(self, caller: Principal, task_id: str) -> bool:
        """Tell whether an id is the caller's, without asking its source."""
        try:
            self._find(caller, task_id)
        except MCPError:
            return False
        return True

    async def get(self, caller: Principal, task_id: str) -> TaskState:
        """Return how a task stands."""
        source, key = self._find(caller, task_id)
        return await self._get(source, caller, key)

    async def state(self, caller: Principal, key: TaskKey) -> TaskState:
        """Return how a task stands whose id nobody has yet."""
        return await self._get(self._sources[key.source], caller, key)

    async def cancel(self, caller: Principal, task_id: str) -> None:
        """Ask for a task to end; one that has ended already stays as it is."""
        source, key = self._find(caller, task_id)
        try:
            await source.cancel(caller, key.place)
        except StatusError as error:
            # Some backends refuse to cancel what is done; then there is nothing to refuse here.
            state = await self._get(source, caller, key)
            if not state.status.is_terminal:
                raise _failure(error) from error

    async def update(self, caller: Principal, task_id: str, answers: Mapping[str, Any]) -> None:
        """Give a task answers to its input requests."""
        source, key = self._find(caller, task_id)
        try:
            await source.update(caller, key.place, answers)
        except StatusError as error:
            raise _failure(error) from error

    async def watch(self, caller: Principal, task_id: str) -> AsyncGenerator[TaskState]:
        """Yield how a task stands now and after each change, until it has ended."""
        source, key = self._find(caller, task_id)
        try:
            async with aclosing(source.watch(caller, key.place)) as states:
                async for state in states:
                    yield state
        except StatusError as error:
            raise _failure(error) from error

    async def _get(self, source: TaskSource, caller: Principal, key: TaskKey) -> TaskState:
        try:
            return await source.get(caller, key.place)
        except StatusError as error:
            raise _failure(error) from error

    def _find(self, caller: Principal, task_id: str) -> tuple[TaskSource, TaskKey]:
        try:
            key = self._ids.unseal(caller, task_id)
        except UnsealError:
            raise _unknown() from None
        source = self._sources.get(key.source)
        if source is None:
            raise _unknown()
        return source, key


def _unknown() -> MCPError:
    """Return the one answer for every id that leads nowhere, whatever the reason."""
    return MCPError(types.INVALID_PARAMS, "Unknown task: it may have expired, or never existed")


def _failure(error: StatusError) -> MCPError:
    if error.code in _UNKNOWN:
        return _unknown()
    data = {"code": error.status.code, "status": code_name(error.status.code)}
    return MCPError(types.INTERNAL_ERROR, error.message, data)

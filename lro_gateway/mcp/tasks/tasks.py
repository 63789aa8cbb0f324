"""Tasks, whichever wire carries them: how they stand, where they come from, and their ids."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

import mcp_types as types
from mcp.shared.exceptions import MCPError

from lro_gateway.errors import JSON, StatusError
from lro_gateway.mcp.answers import TaskKey
from lro_gateway.mcp.failures import task_errors, unknown_task
from lro_gateway.mcp.tasks.ids import TaskIds
from lro_gateway.principal import Principal
from lro_gateway.sealing import UnsealError


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

    `reference` is the part of the task's id by which the source finds the task. Each method raises
    `StatusError`, NOT_FOUND if the task no longer exists.
    """

    @property
    def name(self) -> str:
        """The name in task ids; it must not change."""

    async def get(self, caller: Principal, reference: tuple[str, ...]) -> TaskState:
        """Return how a task stands."""

    def watch(self, caller: Principal, reference: tuple[str, ...]) -> AsyncGenerator[TaskState]:
        """Yield how a task stands now and after each change, until it has ended."""

    async def cancel(self, caller: Principal, reference: tuple[str, ...]) -> None:
        """Ask for a task to end; how it ends shows in its state."""

    async def update(
        self, caller: Principal, reference: tuple[str, ...], answers: Mapping[str, Any]
    ) -> None:
        """Take answers to some of its input requests; others than those are ignored."""


class Tasks:
    """The tasks of every source, by id.

    Failures are raised as `MCPError`; all unknown ids have the same one. `ValueError` if two
    sources have one name.
    """

    def __init__(self, ids: TaskIds, sources: Iterable[TaskSource]) -> None:
        self._ids = ids
        self._sources: dict[str, TaskSource] = {}
        for source in sources:
            if source.name in self._sources:
                raise ValueError(f"two sources of tasks are called {source.name!r}")
            self._sources[source.name] = source

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
        with task_errors():
            try:
                await source.cancel(caller, key.reference)
            except StatusError:
                # Some backends refuse to cancel an operation that is done: that is no failure.
                if not (await source.get(caller, key.reference)).status.is_terminal:
                    raise

    async def update(self, caller: Principal, task_id: str, answers: Mapping[str, Any]) -> None:
        """Give a task answers to its input requests."""
        source, key = self._find(caller, task_id)
        with task_errors():
            await source.update(caller, key.reference, answers)

    async def watch(self, caller: Principal, task_id: str) -> AsyncGenerator[TaskState]:
        """Yield how a task stands now and after each change, until it has ended."""
        source, key = self._find(caller, task_id)
        with task_errors():
            async with aclosing(source.watch(caller, key.reference)) as states:
                async for state in states:
                    yield state

    async def _get(self, source: TaskSource, caller: Principal, key: TaskKey) -> TaskState:
        with task_errors():
            return await source.get(caller, key.reference)

    def _find(self, caller: Principal, task_id: str) -> tuple[TaskSource, TaskKey]:
        try:
            key = self._ids.unseal(caller, task_id)
        except UnsealError:
            raise unknown_task() from None
        source = self._sources.get(key.source)
        if source is None:
            raise unknown_task()
        return source, key

"""The states, the sources and the ids of tasks. They are the same in both task protocols."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

import mcp_types as types
from mcp.shared.exceptions import MCPError

from lro_gateway.access.sealing import UnsealError
from lro_gateway.errors import JSON, StatusError
from lro_gateway.mcp.answers import TaskKey
from lro_gateway.mcp.failures import cancel_error, task_errors, unknown_task
from lro_gateway.mcp.tasks.ids import TaskIds
from lro_gateway.principal import Principal


class TaskStatus(enum.Enum):
    """The status of a task. Both task protocols have the same statuses."""

    WORKING = "working"
    INPUT_REQUIRED = "input_required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the status is final."""
        return self not in {TaskStatus.WORKING, TaskStatus.INPUT_REQUIRED}


@dataclass(frozen=True, slots=True)
class TaskState:
    """The state of a task.

    `result` is the tool's result, or its tool error, if `status` is COMPLETED. A cancelled task may
    have a result too. `error` is a JSON-RPC error if `status` is FAILED. `input_requests` are the
    requests without an answer, by key. `poll_interval` is in seconds. `meta` is the `_meta` of each
    answer that has this state.
    """

    status: TaskStatus
    message: str
    created_at: dt.datetime
    updated_at: dt.datetime
    poll_interval: int = 1
    result: types.CallToolResult | None = None
    error: types.ErrorData | None = None
    input_requests: Mapping[str, JSON] = field(default_factory=dict)
    meta: JSON | None = None


class TaskSource(Protocol):
    """The source of all tasks of one kind.

    `reference` is the part of the task's id by which the source finds the task. Each method raises
    `StatusError` if it fails, with NOT_FOUND if the task no longer exists.
    """

    @property
    def name(self) -> str:
        """The name of the source. Task ids hold it, so it must not change."""

    async def get(self, caller: Principal, reference: tuple[str, ...]) -> TaskState:
        """Return the state of a task."""

    def watch(self, caller: Principal, reference: tuple[str, ...]) -> AsyncGenerator[TaskState]:
        """Yield the state of a task now and after each change, until the task has ended."""

    async def cancel(self, caller: Principal, reference: tuple[str, ...]) -> None:
        """Request the cancellation of a task. A later state shows how the task ended."""

    async def update(
        self, caller: Principal, reference: tuple[str, ...], answers: Mapping[str, Any]
    ) -> None:
        """Take answers to input requests, by key; answers without an open request are ignored."""


class Tasks:
    """The tasks of every source, by id.

    Each method raises `MCPError` if it fails. The error is the same for all unknown ids. The
    constructor raises `ValueError` if two sources have the same name.
    """

    def __init__(self, ids: TaskIds, sources: Iterable[TaskSource]) -> None:
        self._ids = ids
        self._sources: dict[str, TaskSource] = {}
        for source in sources:
            if source.name in self._sources:
                raise ValueError(f"two sources of tasks have the name {source.name!r}")
            self._sources[source.name] = source

    def id_of(self, caller: Principal, key: TaskKey) -> str:
        """Return the id of a task for the caller that created the task."""
        return self._ids.seal(caller, key)

    def is_known(self, caller: Principal, task_id: str) -> bool:
        """Return whether an id belongs to the caller; the task may no longer exist."""
        try:
            self._find(caller, task_id)
        except MCPError:
            return False
        return True

    async def get(self, caller: Principal, task_id: str) -> TaskState:
        """Return the state of a task."""
        source, key = self._find(caller, task_id)
        return await self._get(source, caller, key)

    async def state(self, caller: Principal, key: TaskKey) -> TaskState:
        """Return the state of a new task, whose id no client has yet."""
        return await self._get(self._sources[key.source], caller, key)

    async def cancel(self, caller: Principal, task_id: str) -> None:
        """Request the cancellation of a task; do nothing if the task has ended already."""
        source, key = self._find(caller, task_id)
        with task_errors():
            try:
                await source.cancel(caller, key.reference)
            except StatusError as error:
                # Some backends refuse to cancel an operation that is done. Ignore that refusal.
                if not (await source.get(caller, key.reference)).status.is_terminal:
                    raise cancel_error(error) from error

    async def update(self, caller: Principal, task_id: str, answers: Mapping[str, Any]) -> None:
        """Give a task's source the answers to the task's input requests."""
        source, key = self._find(caller, task_id)
        with task_errors():
            await source.update(caller, key.reference, answers)

    async def watch(self, caller: Principal, task_id: str) -> AsyncGenerator[TaskState]:
        """Yield the state of a task now and after each change, until the task has ended."""
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

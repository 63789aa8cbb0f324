"""Tasks that ask questions before they act: they wait for the answers, then act.

An extension makes such tasks with `InputTasks`. The task's id holds its subject, which decides the
questions. The answers are kept in `Records`, by default in the memory of the process that took
them. A task whose answers are lost, by a restart, on another replica or because newer tasks took
their place, asks again; it never acts without answers.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import anyio
import mcp_types as types
from cachetools import LRUCache

from lro_gateway.errors import JSON, StatusError
from lro_gateway.mcp.answers import Answer, TaskKey
from lro_gateway.mcp.failures import task_error, tool_error
from lro_gateway.mcp.tasks.operations import OperationTasks
from lro_gateway.mcp.tasks.tasks import TaskState, TaskStatus
from lro_gateway.principal import Principal
from lro_gateway.service.service import OperationService

_MOST: Final = 1000


class Inquiry(Protocol):
    """A kind of task that asks questions first. `subject` tells one task from another."""

    @property
    def name(self) -> str:
        """The name in task ids; it must not change."""

    def questions(self, subject: tuple[str, ...]) -> Mapping[str, JSON]:
        """Return the input requests of a task, by key; the same each time for one subject."""

    async def proceed(
        self, caller: Principal, subject: tuple[str, ...], answers: Mapping[str, Any]
    ) -> Answer | types.CallToolResult:
        """Act, once every question has an answer; a running operation goes on as the task."""


@dataclass(frozen=True, slots=True)
class Record:
    """The state of one task that its id does not hold.

    `acting` is set before the task acts, so that it acts once. Then the task has `ended`, or goes
    on as an operation, whose reference is `operation`.
    """

    answers: Mapping[str, Any] = field(default_factory=dict)
    acting: bool = False
    ended: TaskState | None = None
    operation: tuple[str, ...] | None = None


class Records(Protocol):
    """The store of the tasks' records."""

    def read(self, task: tuple[str, ...]) -> Record:
        """Return a task's record, or an empty one."""

    def write(self, task: tuple[str, ...], record: Record) -> None:
        """Keep a task's record."""


class MemoryRecords:
    """Keeps records in the memory of this process, up to `most`."""

    def __init__(self, most: int = _MOST) -> None:
        self._records: LRUCache[tuple[str, ...], Record] = LRUCache(most)

    def read(self, task: tuple[str, ...]) -> Record:
        """Return a task's record, or an empty one."""
        return self._records.get(task, Record())

    def write(self, task: tuple[str, ...], record: Record) -> None:
        """Keep a task's record; if there are too many, forget the one used longest ago."""
        self._records[task] = record


class InputTasks:
    """The tasks of one inquiry; a reference is the time of the start, a nonce, and the subject."""

    def __init__(
        self, inquiry: Inquiry, service: OperationService, records: Records | None = None
    ) -> None:
        self._inquiry = inquiry
        self._operations = OperationTasks(service)
        self._records = records or MemoryRecords()

    @property
    def name(self) -> str:
        """The inquiry's name."""
        return self._inquiry.name

    def key(self, tool: str, *subject: str) -> TaskKey:
        """Return the content of a new task's id; each call makes another task."""
        begun = dt.datetime.now(dt.UTC).isoformat()
        return TaskKey(self.name, tool, (begun, secrets.token_urlsafe(12), *subject))

    async def get(self, caller: Principal, reference: tuple[str, ...]) -> TaskState:
        """Return the questions that wait for an answer, or the result of the answers."""
        record = self._records.read(reference)
        if record.ended is not None:
            return record.ended
        if record.operation is not None:
            return await self._operations.get(caller, record.operation)
        begun = dt.datetime.fromisoformat(reference[0])
        if record.acting:
            return TaskState(
                TaskStatus.WORKING, "Every question is answered; the task goes on.", begun, begun
            )
        open_ = self._open(reference, record)
        said = f"Waiting for {len(open_)} answer{'' if len(open_) == 1 else 's'}."
        return TaskState(TaskStatus.INPUT_REQUIRED, said, begun, begun, input_requests=open_)

    async def watch(
        self, caller: Principal, reference: tuple[str, ...]
    ) -> AsyncGenerator[TaskState]:
        """Yield the questions that wait for an answer, then the result of the answers."""
        latest = await self.get(caller, reference)
        yield latest
        while not latest.status.is_terminal:
            # Answers come with another request, perhaps to another process: so poll for them.
            await asyncio.sleep(latest.poll_interval)
            state = await self.get(caller, reference)
            if state != latest:
                yield state
            latest = state

    async def cancel(self, caller: Principal, reference: tuple[str, ...]) -> None:
        """End a task that waits for answers; cancel the operation of one that has acted."""
        record = self._records.read(reference)
        if record.operation is not None:
            await self._operations.cancel(caller, record.operation)
        elif not record.acting and record.ended is None:
            ended = _ended(
                reference, TaskStatus.CANCELLED, "Cancelled before every question was answered."
            )
            self._records.write(reference, Record(record.answers, ended=ended))

    async def update(
        self, caller: Principal, reference: tuple[str, ...], answers: Mapping[str, Any]
    ) -> None:
        """Take answers to open questions; the last one makes the task act, in any case."""
        record = self._records.read(reference)
        if record.acting or record.ended is not None:
            return
        open_ = self._open(reference, record)
        taken = {key: answer for key, answer in answers.items() if key in open_}
        complete = len(taken) == len(open_)
        record = Record({**record.answers, **taken}, acting=complete)
        self._records.write(reference, record)
        if complete:
            with anyio.CancelScope(shield=True):
                self._records.write(reference, await self._act(caller, reference, record))

    def _open(self, reference: tuple[str, ...], record: Record) -> dict[str, JSON]:
        questions = self._inquiry.questions(reference[2:])
        return {key: asked for key, asked in questions.items() if key not in record.answers}

    async def _act(self, caller: Principal, reference: tuple[str, ...], record: Record) -> Record:
        try:
            reply = await self._inquiry.proceed(caller, reference[2:], record.answers)
        except StatusError as error:
            reply = tool_error(error)
        except Exception as error:  # noqa: BLE001 - whoever polls the task must learn that it ended
            data = task_error(error).error
            failed = _ended(reference, TaskStatus.FAILED, data.message, error=data)
            return Record(record.answers, acting=True, ended=failed)
        if isinstance(reply, Answer):
            if (operation := reply.operation) is not None and operation.name:
                followed = self._operations.key("", operation).reference
                return Record(record.answers, acting=True, operation=followed)
            reply = reply.to_result()
        ended = _ended(reference, TaskStatus.COMPLETED, "Done.", result=reply)
        return Record(record.answers, acting=True, ended=ended)


def _ended(
    reference: tuple[str, ...],
    status: TaskStatus,
    message: str,
    *,
    result: types.CallToolResult | None = None,
    error: types.ErrorData | None = None,
) -> TaskState:
    begun = dt.datetime.fromisoformat(reference[0])
    now = dt.datetime.now(dt.UTC)
    return TaskState(status, message, begun, now, result=result, error=error)

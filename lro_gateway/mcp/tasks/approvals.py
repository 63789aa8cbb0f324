"""Tasks that ask questions before they act, and act when every question has an answer.

An extension creates such tasks with `InputTasks`. The task's id holds the subject of the task, and
the questions depend on the subject. `Records` keeps the answers, by default in the memory of the
process that received them. The answers are lost if that process restarts, if another replica serves
the task, or if newer tasks replace the record. Then the task asks its questions again. It never
acts without answers.
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

_MAX_RECORDS: Final = 1000


class Inquiry(Protocol):
    """A kind of task that asks questions before it acts.

    `subject` is the content that distinguishes one task of this kind from another.
    """

    @property
    def name(self) -> str:
        """The name of this kind of task. Task ids hold it, so it must not change."""

    def questions(self, subject: tuple[str, ...]) -> Mapping[str, JSON]:
        """Return the input requests of a task, by key.

        Each call with the same subject must return the same requests.
        """

    async def proceed(
        self, caller: Principal, subject: tuple[str, ...], answers: Mapping[str, Any]
    ) -> Answer | types.CallToolResult:
        """Act on the answers to all questions.

        If the returned answer has an operation, the task continues as that operation.
        """


@dataclass(frozen=True, slots=True)
class Record:
    """The part of one task's state that its id does not hold.

    `acting` becomes True before the task acts, so that the task acts only once. After the task has
    acted, `ended` is its last state, or `operation` is the reference of the operation that the task
    started.
    """

    answers: Mapping[str, Any] = field(default_factory=dict)
    acting: bool = False
    ended: TaskState | None = None
    operation: tuple[str, ...] | None = None


class Records(Protocol):
    """The store of the tasks' records."""

    def read(self, task: tuple[str, ...]) -> Record:
        """Return a task's record, or an empty record if there is none."""

    def write(self, task: tuple[str, ...], record: Record) -> None:
        """Store a task's record in place of the earlier record."""


class MemoryRecords:
    """Keeps at most `max_records` records, in the memory of this process."""

    def __init__(self, max_records: int = _MAX_RECORDS) -> None:
        self._records: LRUCache[tuple[str, ...], Record] = LRUCache(max_records)

    def read(self, task: tuple[str, ...]) -> Record:
        """Return a task's record, or an empty record if there is none."""
        return self._records.get(task, Record())

    def write(self, task: tuple[str, ...], record: Record) -> None:
        """Store a task's record. If there are too many, drop the least recently used one."""
        self._records[task] = record


class InputTasks:
    """The source of the tasks of one `Inquiry`.

    A task's reference is its creation time in ISO 8601, a nonce, and the parts of its subject.
    """

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
        """Return the key of a new task. Each call returns a different key."""
        created = dt.datetime.now(dt.UTC).isoformat()
        return TaskKey(self.name, tool, (created, secrets.token_urlsafe(12), *subject))

    async def get(self, caller: Principal, reference: tuple[str, ...]) -> TaskState:
        """Return the state of a task.

        Before the task acts, its state has the questions that have no answer yet. If the task has
        started an operation, its state is the state of the operation.
        """
        record = self._records.read(reference)
        if record.ended is not None:
            return record.ended
        if record.operation is not None:
            return await self._operations.get(caller, record.operation)
        created = dt.datetime.fromisoformat(reference[0])
        if record.acting:
            message = "Every question has an answer, and the task is acting on the answers."
            return TaskState(TaskStatus.WORKING, message, created, created)
        open_ = self._open(reference, record)
        message = f"Waiting for {len(open_)} answer{'' if len(open_) == 1 else 's'}."
        return TaskState(TaskStatus.INPUT_REQUIRED, message, created, created, input_requests=open_)

    async def watch(
        self, caller: Principal, reference: tuple[str, ...]
    ) -> AsyncGenerator[TaskState]:
        """Yield the task's state now and after each change, until the task has ended."""
        latest = await self.get(caller, reference)
        yield latest
        while not latest.status.is_terminal:
            # Another process may receive the answers, so this process must poll the record.
            await asyncio.sleep(latest.poll_interval)
            state = await self.get(caller, reference)
            if state != latest:
                yield state
            latest = state

    async def cancel(self, caller: Principal, reference: tuple[str, ...]) -> None:
        """End the task if it waits for answers; cancel its operation if it has started one."""
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
        """Store answers to open questions. After the last one, act even if the caller leaves."""
        record = self._records.read(reference)
        if record.acting or record.ended is not None:
            return
        open_ = self._open(reference, record)
        accepted = {key: answer for key, answer in answers.items() if key in open_}
        complete = len(accepted) == len(open_)
        record = Record({**record.answers, **accepted}, acting=complete)
        self._records.write(reference, record)
        if complete:
            with anyio.CancelScope(shield=True):
                self._records.write(reference, await self._act(caller, reference, record))

    def _open(self, reference: tuple[str, ...], record: Record) -> dict[str, JSON]:
        questions = self._inquiry.questions(reference[2:])
        return {key: each for key, each in questions.items() if key not in record.answers}

    async def _act(self, caller: Principal, reference: tuple[str, ...], record: Record) -> Record:
        try:
            reply = await self._inquiry.proceed(caller, reference[2:], record.answers)
        except StatusError as error:
            reply = tool_error(error)
        except Exception as error:  # noqa: BLE001 - the task must end for the clients that poll it
            data = task_error(error).error
            failed = _ended(reference, TaskStatus.FAILED, data.message, error=data)
            return Record(record.answers, acting=True, ended=failed)
        if isinstance(reply, Answer):
            if (operation := reply.operation) is not None and operation.name:
                followed = self._operations.key("", operation, reply.request_id).reference
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
    created = dt.datetime.fromisoformat(reference[0])
    now = dt.datetime.now(dt.UTC)
    return TaskState(status, message, created, now, result=result, error=error)

"""Tasks that ask before they act: they wait for answers, then go on.

What a task asks, and of what, travels in its id. What it was answered cannot: that is kept here, in
the process that took the answers, for the latest `MemoryRecords.most` tasks. A task whose record is
lost, by a restart, another replica or age, asks again; it never acts on what it was not told.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import anyio
import mcp_types as types

from lro_gateway.errors import JSON, StatusError
from lro_gateway.mcp.failures import failure
from lro_gateway.mcp.tasks.ids import TaskKey
from lro_gateway.mcp.tasks.operations import OperationTasks
from lro_gateway.mcp.tasks.tasks import TaskState, TaskStatus
from lro_gateway.mcp.tools.verb_tools import Answer
from lro_gateway.principal import Principal

logger: Final = logging.getLogger(__name__)

_MOST: Final = 1000


class Inquiry(Protocol):
    """A kind of task that asks first. `subject` is what one task is about."""

    @property
    def name(self) -> str:
        """The name in task ids; it must not change."""

    def questions(self, subject: tuple[str, ...]) -> Mapping[str, JSON]:
        """Return the input requests of a task, by keys of its own; always the same for one."""

    async def proceed(
        self, caller: Principal, subject: tuple[str, ...], answers: Mapping[str, Any]
    ) -> Answer | types.CallToolResult:
        """Act once all is answered; a running operation goes on as the task."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one task beside its id.

    `acting` is set before it acts, so that it acts once; then it has `ended`, or goes on as
    `operation`, whose place this is.
    """

    answers: Mapping[str, Any] = field(default_factory=dict)
    acting: bool = False
    ended: TaskState | None = None
    operation: tuple[str, ...] | None = None


class Records(Protocol):
    """Where the records of tasks are."""

    def read(self, task: tuple[str, ...]) -> Record:
        """Return a task's record, or an empty one."""

    def write(self, task: tuple[str, ...], record: Record) -> None:
        """Keep a task's record."""


class MemoryRecords:
    """Keeps the latest records in this process."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._records: OrderedDict[tuple[str, ...], Record] = OrderedDict()

    def read(self, task: tuple[str, ...]) -> Record:
        """Return a task's record, or an empty one."""
        return self._records.get(task, Record())

    def write(self, task: tuple[str, ...], record: Record) -> None:
        """Keep a task's record; the one written longest ago goes when there are too many."""
        self._records[task] = record
        self._records.move_to_end(task)
        if len(self._records) > self._most:
            self._records.popitem(last=False)


class InputTasks:
    """The tasks of one kind of inquiry; their place is when, a nonce, and the subject."""

    def __init__(
        self, inquiry: Inquiry, operations: OperationTasks, records: Records | None = None
    ) -> None:
        self._inquiry = inquiry
        self._operations = operations
        self._records = records or MemoryRecords()

    @property
    def name(self) -> str:
        """The inquiry's."""
        return self._inquiry.name

    def key(self, tool: str, *subject: str) -> TaskKey:
        """Return what the id of a new task holds; each call makes another task."""
        begun = dt.datetime.now(dt.UTC).isoformat()
        return TaskKey(self.name, tool, (begun, secrets.token_urlsafe(12), *subject))

    async def get(self, caller: Principal, place: tuple[str, ...]) -> TaskState:
        """Return what is open still, or what came of the answers."""
        record = self._records.read(place)
        if record.ended is not None:
            return record.ended
        if record.operation is not None:
            return await self._operations.get(caller, record.operation)
        begun = dt.datetime.fromisoformat(place[0])
        if record.acting:
            return TaskState(TaskStatus.WORKING, "All is answered; going on.", begun, begun)
        open_ = self._open(place, record)
        said = f"Waiting for {len(open_)} answer{'' if len(open_) == 1 else 's'}."
        return TaskState(TaskStatus.INPUT_REQUIRED, said, begun, begun, input_requests=open_)

    async def watch(self, caller: Principal, place: tuple[str, ...]) -> AsyncGenerator[TaskState]:
        """Yield what is open, then what came of the answers."""
        latest = await self.get(caller, place)
        yield latest
        while not latest.status.is_terminal:
            # Answers come by another request, and records may be elsewhere: there is nothing to
            # wait for but time.
            await asyncio.sleep(latest.poll_interval)
            state = await self.get(caller, place)
            if state != latest:
                yield state
            latest = state

    async def cancel(self, caller: Principal, place: tuple[str, ...]) -> None:
        """Stop waiting, or ask for the operation to be cancelled that it goes on as."""
        record = self._records.read(place)
        if record.operation is not None:
            await self._operations.cancel(caller, record.operation)
        elif not record.acting and record.ended is None:
            ended = _ended(place, TaskStatus.CANCELLED, "Cancelled before all was answered.")
            self._records.write(place, Record(record.answers, ended=ended))

    async def update(
        self, caller: Principal, place: tuple[str, ...], answers: Mapping[str, Any]
    ) -> None:
        """Take answers to what is open; with the last of them, act, even if the caller leaves."""
        record = self._records.read(place)
        if record.acting or record.ended is not None:
            return
        open_ = self._open(place, record)
        taken = {key: answer for key, answer in answers.items() if key in open_}
        complete = len(taken) == len(open_)
        record = Record({**record.answers, **taken}, acting=complete)
        self._records.write(place, record)
        if complete:
            with anyio.CancelScope(shield=True):
                self._records.write(place, await self._act(caller, place, record))

    def _open(self, place: tuple[str, ...], record: Record) -> dict[str, JSON]:
        questions = self._inquiry.questions(place[2:])
        return {key: asked for key, asked in questions.items() if key not in record.answers}

    async def _act(self, caller: Principal, place: tuple[str, ...], record: Record) -> Record:
        try:
            reply = await self._inquiry.proceed(caller, place[2:], record.answers)
        except StatusError as error:
            reply = failure(error)
        except Exception:
            # Whoever polls the task must learn that it ended; the log has why.
            logger.exception("%s failed", self.name)
            error_data = types.ErrorData(
                code=types.INTERNAL_ERROR, message="the gateway failed; its log says why"
            )
            failed = _ended(place, TaskStatus.FAILED, error_data.message, error=error_data)
            return Record(record.answers, acting=True, ended=failed)
        if isinstance(reply, Answer):
            if (operation := reply.operation) is not None and operation.name:
                followed = self._operations.key("", operation).place
                return Record(record.answers, acting=True, operation=followed)
            reply = reply.to_result()
        ended = _ended(place, TaskStatus.COMPLETED, "Done.", result=reply)
        return Record(record.answers, acting=True, ended=ended)


def _ended(
    place: tuple[str, ...],
    status: TaskStatus,
    message: str,
    *,
    result: types.CallToolResult | None = None,
    error: types.ErrorData | None = None,
) -> TaskState:
    begun = dt.datetime.fromisoformat(place[0])
    now = dt.datetime.now(dt.UTC)
    return TaskState(status, message, begun, now, result=result, error=error)

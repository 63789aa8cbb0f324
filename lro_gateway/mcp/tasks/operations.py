"""Operations as tasks. The gateway stores nothing, because the operation itself is the task."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

import mcp_types as types

from lro_gateway.access.sealing import Sealer
from lro_gateway.backends.recent import is_recent
from lro_gateway.errors import JSON
from lro_gateway.mcp import words
from lro_gateway.mcp.answers import REQUEST_ID_META, TaskKey, archived_meta, operation_answer
from lro_gateway.mcp.kept_answers import KeptAnswers
from lro_gateway.mcp.large_answers import LargeAnswers
from lro_gateway.mcp.tasks.approval_questions import answer, questions
from lro_gateway.mcp.tasks.tasks import TaskState, TaskStatus
from lro_gateway.operations.operation import Operation, State
from lro_gateway.principal import Principal
from lro_gateway.service.approval_handles import is_pending
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import NameRequest

_STATUSES: Final = {
    State.RUNNING: TaskStatus.WORKING,
    State.SUCCEEDED: TaskStatus.COMPLETED,
    State.FAILED: TaskStatus.COMPLETED,
    State.CANCELLED: TaskStatus.CANCELLED,
}


class OperationTasks:
    """The tasks that stand for operations.

    A task's reference is the operation's backend and the operation's name. If the operation was
    new, the reference also has the time, in seconds since the epoch, when the gateway first met it.
    By this time every worker knows that the operation is new, and that its backend may not find it
    yet. If the gateway filled in a request_id, it is the fourth part of the reference, after an
    empty time if the operation was not new. Clients that drop the `_meta` of a new task then learn
    the request_id later.
    """

    name: Final = "operation"

    def __init__(self, service: OperationService, large: LargeAnswers | None = None) -> None:
        """Take the service, and what cuts the results of tasks; the default has its own limit."""
        self._service = service
        self._large = large or LargeAnswers(service, KeptAnswers(Sealer()))

    def key(self, tool: str, operation: Operation, request_id: str = "") -> TaskKey:
        """Return the key of the task that stands for an operation."""
        begun = (str(int(operation.first_seen)),) if is_recent(operation) else ()
        filled = (*(begun or ("",)), request_id) if request_id else begun
        return TaskKey(self.name, tool, (operation.backend, operation.name, *filled))

    async def key_if_readable(
        self, caller: Principal, tool: str, operation: Operation, request_id: str
    ) -> TaskKey | None:
        """Return the key of a new task, or None if tasks/get would not know the task."""
        if not operation.name or not await self._service.can_read(caller, operation):
            return None
        return self.key(tool, operation, request_id)

    async def get(self, caller: Principal, reference: tuple[str, ...]) -> TaskState:
        """Get the operation, and return its state as a task."""
        request = self._request(caller, reference)
        operation = await self._service.get(caller, request, patiently=True)
        state = await self.state_of(operation, request_id=_request_id(reference))
        return await self._asking(caller, operation, state)

    async def watch(
        self, caller: Principal, reference: tuple[str, ...]
    ) -> AsyncGenerator[TaskState]:
        """Yield the task's state now and after each change, until the operation is done."""
        async with aclosing(
            self._service.watch(caller, self._request(caller, reference))
        ) as sightings:
            latest: TaskState | None = None
            async for sighting in sightings:
                request_id = _request_id(reference)
                operation = sighting.operation
                state = await self.state_of(operation, sighting.percent, request_id)
                state = await self._asking(caller, operation, state)
                # The metadata may have changed in fields that a task does not show.
                if state != latest:
                    yield state
                latest = state

    async def cancel(self, caller: Principal, reference: tuple[str, ...]) -> None:
        """Request the cancellation of the operation."""
        await self._service.cancel(caller, self._request(caller, reference))

    async def update(
        self, caller: Principal, reference: tuple[str, ...], answers: Mapping[str, Any]
    ) -> None:
        """Approve or refuse a call that waits for that. An operation has no input requests."""
        await answer(self._service, caller, reference[1], answers)

    async def _asking(self, caller: Principal, operation: Operation, state: TaskState) -> TaskState:
        """Return the state with the question whether to approve, if the caller may answer it."""
        if state.status is not TaskStatus.INPUT_REQUIRED:
            return state
        asked = await questions(self._service, caller, operation)
        return replace(state, input_requests=asked) if asked else state

    def _request(self, caller: Principal, reference: tuple[str, ...]) -> NameRequest:
        backend, name, *begun = reference
        request = NameRequest(name, backend)
        if begun and begun[0]:
            self._service.expect(caller, request, float(begun[0]))
        return request

    async def state_of(
        self, operation: Operation, percent: float | None = None, request_id: str = ""
    ) -> TaskState:
        """Return the state of an operation as a task.

        A failed operation is a completed task whose result is a tool error (SEP-2663). `percent`
        replaces the percentage in the metadata. If the metadata has no create time, `created_at`
        is the time when the gateway first read the operation. If the metadata has no update time,
        `updated_at` is `created_at`.
        """
        created = operation.create_time or dt.datetime.fromtimestamp(operation.first_seen, dt.UTC)
        updated = operation.update_time
        meta = archived_meta(operation, {REQUEST_ID_META: request_id} if request_id else None)
        status = _STATUSES[operation.state]
        return TaskState(
            status=TaskStatus.INPUT_REQUIRED if is_pending(operation) else status,
            message=words.describe_task(operation, percent, request_id),
            created_at=created,
            updated_at=max(created, updated or created),
            poll_interval=operation.poll_interval,
            result=await self._result(operation, meta) if operation.done else None,
            meta=meta,
        )

    async def _result(self, operation: Operation, meta: JSON | None) -> types.CallToolResult:
        answer = await operation_answer(operation, words.describe(operation), meta=meta)
        answer = await self._large.fit(None, answer)
        succeeded = operation.state is State.SUCCEEDED
        return answer.to_result().model_copy(update={"is_error": not succeeded})


def _request_id(reference: tuple[str, ...]) -> str:
    return reference[3] if len(reference) > 3 else ""

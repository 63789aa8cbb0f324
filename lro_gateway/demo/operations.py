"""Runs operations: starts each one once, saves it at each step, and cancels it between steps."""

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from google.longrunning import operations_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2

from lro_gateway.demo import names
from lro_gateway.demo.operations_store import Identified, OperationsStore
from lro_gateway.demo.pace import Pace
from lro_gateway.demo.refusals import RefusedError, invalid, not_found, refused
from lro_gateway.demo.v1 import database_admin_pb2 as pb

Metadata = (
    pb.CreateDatabaseMetadata
    | pb.BackupDatabaseMetadata
    | pb.ExportQueryMetadata
    | pb.CheckDatabaseMetadata
)
IdentifiedRequest = (
    pb.CreateDatabaseRequest
    | pb.BackupDatabaseRequest
    | pb.ExportQueryRequest
    | pb.CheckDatabaseRequest
)
M = TypeVar("M", bound=Metadata)

_METADATA_TYPES: tuple[type[Metadata], ...] = (
    pb.CreateDatabaseMetadata,
    pb.BackupDatabaseMetadata,
    pb.ExportQueryMetadata,
    pb.CheckDatabaseMetadata,
)
_STEPS = 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress(Generic[M]):
    """The progress of a job: the job changes `metadata`, then awaits `step` between batches."""

    operation_id: str
    metadata: M
    step: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Work(Generic[M]):
    """The work of an operation.

    The function `job` does the work on the resource `parent`. `metadata` is the progress at the
    start. `claim` is the name of the resource that the operation makes. Two operations that run at
    the same time cannot have the same claim.
    """

    parent: str
    metadata: M
    job: Callable[[Progress[M]], Awaitable[Message]]
    claim: str | None = None


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[None] | None = None
    started: bool = False
    cancel_requested: bool = False


def batch_size(total: int, largest: int) -> int:
    """Return the size of batches for `total` items: a twentieth of them, but at most `largest`."""
    return max(1, min(largest, -(-total // _STEPS)))


class Operations:
    """The operations of one server; each of them runs as a task of the group `tasks`."""

    def __init__(
        self,
        store: OperationsStore,
        tasks: asyncio.TaskGroup,
        *,
        pace: Pace,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._pace = pace
        self._clock = clock
        self._running: dict[str, _Running] = {}
        self._claims: dict[str, str] = {}

    def abort_interrupted(self) -> None:
        """End with ABORTED each operation that was running when an earlier process ended."""
        for operation in self._store.unfinished():
            error = refused(
                code_pb2.ABORTED,
                "the server stopped before the operation was done; start it again",
                "SERVER_STOPPED",
                operation=operation.name,
            )
            for kind in _METADATA_TYPES:
                metadata = kind()
                if operation.metadata.Unpack(metadata):
                    self._finish(operation, metadata, error.status)

    def repeated(self, request: IdentifiedRequest) -> operations_pb2.Operation | None:
        """Return the operation that this request started before, or None if `request_id` is new."""
        request_id = names.require_request_id(request.request_id)
        known = self._store.find(request_id) if request_id else None
        if known is None:
            return None
        operation, content = known
        if content != _content(request):
            raise invalid(
                "request_id", f"{request_id!r} was used for another request", "REQUEST_ID_REUSED"
            )
        return operation

    def start(self, request: IdentifiedRequest, work: Work[M]) -> operations_pb2.Operation:
        """Start an operation, or return the one that the same request started."""
        # Nothing is awaited between this check and the start of the task, so the same request
        # cannot start a second operation.
        if (known := self.repeated(request)) is not None:
            return known
        operation = operations_pb2.Operation(name=names.new_operation_name(work.parent))
        if work.claim is not None:
            self._claim(work.claim, operation.name)
        work.metadata.create_time.FromDatetime(self._clock())
        operation.metadata.Pack(work.metadata)
        identified = (
            Identified(request.request_id.lower(), _content(request))
            if request.request_id
            else None
        )
        self._store.add(operation, work.parent, identified)
        started = operations_pb2.Operation()
        started.CopyFrom(operation)
        running = self._running[operation.name] = _Running()
        running.task = self._tasks.create_task(self._run(operation, work, running))
        running.task.add_done_callback(lambda _: self._forget(operation.name, work.claim))
        return started

    def get(self, name: str) -> operations_pb2.Operation:
        """Return the latest state of an operation."""
        operation = self._store.get(names.require_operation(name))
        if operation is None:
            raise not_found("operation", name)
        return operation

    def cancel(self, name: str) -> None:
        """Ask an operation to stop. It stops after its present batch."""
        self.get(name)
        running = self._running.get(name)
        if running is None or running.cancel_requested:
            return
        running.cancel_requested = True
        if running.started and running.task is not None:
            running.task.cancel()

    def delete(self, name: str) -> None:
        """Delete the record of an operation; a running operation goes on without a record."""
        if not self._store.delete(names.require_operation(name)):
            raise not_found("operation", name)

    async def wait(self, name: str, timeout: float | None) -> operations_pb2.Operation:  # noqa: ASYNC109 (the end of the time is a result of this method, not an error)
        """Return the state of an operation once it is done, or after `timeout` seconds."""
        operation = self.get(name)
        running = self._running.get(name)
        if running is None or running.task is None:
            return operation
        await asyncio.wait({running.task}, timeout=timeout)
        return self.get(name)

    def stop(self) -> None:
        """Stop all work; the next start of the server aborts the operations that were not done."""
        for running in self._running.values():
            if running.task is not None:
                running.task.cancel()

    def _claim(self, resource: str, operation: str) -> None:
        if (other := self._claims.setdefault(resource, operation)) != operation:
            raise refused(
                code_pb2.ABORTED,
                f"the operation {other!r} is already making {resource!r}",
                "OPERATION_IN_PROGRESS",
                operation=other,
                resource=resource,
            )

    def _forget(self, operation: str, claim: str | None) -> None:
        del self._running[operation]
        if claim is not None:
            del self._claims[claim]

    async def _run(
        self, operation: operations_pb2.Operation, work: Work[M], running: _Running
    ) -> None:
        running.started = True
        if running.cancel_requested:
            result: Message = _cancelled(operation.name).status
        else:
            result = await self._result(operation, work, running)
        # Nothing is awaited between the last step of a job and this call, so an operation whose
        # file is published is also saved as done.
        self._finish(operation, work.metadata, result)

    async def _result(
        self, operation: operations_pb2.Operation, work: Work[M], running: _Running
    ) -> Message:
        """Return the response, or a `Status` if the job failed."""
        try:
            return await work.job(self._progress(operation, work.metadata))
        except RefusedError as error:
            return error.status
        except asyncio.CancelledError:
            if not running.cancel_requested:
                raise
            return _cancelled(operation.name).status
        except Exception:  # noqa: BLE001 (a fault in one job must end only its own operation)
            _log.exception("operation %s failed", operation.name)
            return _failed(operation.name).status

    def _progress(self, operation: operations_pb2.Operation, metadata: M) -> Progress[M]:
        async def step() -> None:
            operation.metadata.Pack(metadata)
            self._store.save(operation)
            await self._pace()

        return Progress(operation.name.rpartition("/")[2], metadata, step)

    def _finish(
        self, operation: operations_pb2.Operation, metadata: Metadata, result: Message
    ) -> None:
        operation.done = True
        if isinstance(result, status_pb2.Status):
            operation.error.CopyFrom(result)
        else:
            metadata.progress_percent = 100
            operation.response.Pack(result)
        metadata.end_time.FromDatetime(self._clock())
        operation.metadata.Pack(metadata)
        self._store.save(operation)


def _content(request: IdentifiedRequest) -> bytes:
    # `request_id` is left out, because its case does not matter. The type of the request identifies
    # its method.
    bare = copy.deepcopy(request)
    bare.ClearField("request_id")
    return bare.DESCRIPTOR.full_name.encode() + b"\n" + bare.SerializeToString(deterministic=True)


def _cancelled(operation: str) -> RefusedError:
    return refused(
        code_pb2.CANCELLED,
        "the operation was cancelled",
        "OPERATION_CANCELLED",
        operation=operation,
    )


def _failed(operation: str) -> RefusedError:
    return refused(
        code_pb2.INTERNAL,
        "the operation failed; the reason is in the log of the server",
        "INTERNAL_ERROR",
        operation=operation,
    )

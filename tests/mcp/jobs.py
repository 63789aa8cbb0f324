"""A backend of jobs. A job runs no code; the clock decides whether it has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import code_pb2, status_pb2

from tests.contrary import ContraryBackend, Handler, answering, refusing
from tests.protos import pool_of

SERVICE = "jobs.v1.Jobs"
GRACE = "0.1s"
"""The `sync_grace` of the gateways in these tests: a start waits this long for its end."""


def pool() -> DescriptorPool:
    """Return the descriptor pool of the backend."""
    return pool_of("jobs")


def message(name: str, **fields: Any) -> Any:
    """Return a message of the package `jobs.v1`."""
    descriptor = pool().FindMessageTypeByName(f"jobs.v1.{name}")
    return message_factory.GetMessageClass(descriptor)(**fields)


class Clock:
    """A clock that stands still, at a whole second, until a test sets it forward."""

    def __init__(self) -> None:
        self._start = int(time.time())
        self.ahead = 0.0

    def __call__(self) -> float:
        """Return the time in seconds since the epoch."""
        return self._start + self.ahead

    def forward(self, seconds: float) -> None:
        """Set the clock forward by a number of seconds."""
        self.ahead += seconds


@dataclass
class Job:
    """One job.

    `start_time` is in seconds since the epoch. `seconds` is the job's duration. If `failure` is
    set, the job fails with that message.
    """

    start_time: float
    seconds: float
    label: str
    failure: str = ""
    cancelled: bool = False


@dataclass
class Jobs:
    """A backend and its jobs, by the names of their operations.

    If `obeys_cancel` is False, a cancelled job still runs to its end. The next `failures` calls of
    GetOperation fail with INTERNAL. While `is_behind`, GetOperation does not find any job. If
    `is_closed` is True, it refuses every call. If `counts_reads` is True, the metadata has the
    number of calls of GetOperation.
    """

    target: str = ""
    clock: Callable[[], float] = time.time
    obeys_cancel: bool = True
    failures: int = 0
    is_behind: bool = False
    is_closed: bool = False
    counts_reads: bool = False
    reads: int = 0
    read: asyncio.Condition = field(default_factory=asyncio.Condition)
    jobs: dict[str, Job] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, str]:
        """The settings of this backend in a gateway's configuration."""
        return {"name": "jobs", "target": self.target}

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        more: Callable[[Jobs], Mapping[str, Handler]] | None = None,
        types: DescriptorPool | None = None,
        **options: Any,
    ) -> AsyncIterator[Jobs]:
        """Serve the backend; `options` are the fields of this class.

        `more` makes the handlers of further RPCs, by `pkg.Service/Method`. `types` has the types of
        all RPCs.
        """
        jobs = cls(**options)
        own = {f"{SERVICE}/{name}": handler for name, handler in jobs._methods().items()}
        async with ContraryBackend.open(
            {"GetOperation": jobs._get, "CancelOperation": jobs._cancel},
            methods={**own, **(more(jobs) if more else {})},
            pool=types or pool(),
            reflection_versions=("v1",),
        ) as backend:
            jobs.target = backend.target
            yield jobs

    def begin(self, seconds: float, label: str = "", failure: str = "") -> str:
        """Start a job; return the name of its operation."""
        name = f"operations/{len(self.jobs) + 1}"
        self.jobs[name] = Job(self.clock(), seconds, label, failure)
        return name

    async def next_reads(self, count: int) -> None:
        """Wait until the backend gets this many more calls of GetOperation."""
        async with self.read:
            until = self.reads + count
            await self.read.wait_for(lambda: self.reads >= until)

    def _methods(self) -> dict[str, Handler]:
        return {
            "SlowCompute": self._slow_compute,
            "TestSimpleText": answering(message("Text", text="This is a simple text.")),
            "TestLoggingTool": answering(message("Text", text="Nothing was logged.")),
            "TestErrorHandling": refusing(grpc.StatusCode.INTERNAL, "this method always fails"),
        }

    async def _slow_compute(self, request: Any, _context: Any) -> Any:
        return self.operation(self.begin(request.seconds, request.label, request.failure))

    async def _get(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        async with self.read:
            self.reads += 1
            self.read.notify_all()
        if self.is_closed:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "jobs are private")
        if self.failures:
            self.failures -= 1
            await context.abort(grpc.StatusCode.INTERNAL, "the store is busy")
        if self.is_behind or request.name not in self.jobs:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such job")
        return self.operation(request.name)

    async def _cancel(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        operation = self.operation(request.name)
        if operation.done:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the job has ended")
        self.jobs[request.name].cancelled = self.obeys_cancel
        return empty_pb2.Empty()

    def operation(self, name: str) -> operations_pb2.Operation:
        """Return the operation of a job in its present state."""
        job = self.jobs[name]
        operation = operations_pb2.Operation(name=name)
        elapsed = self.clock() - job.start_time
        percent = 100 if elapsed >= job.seconds else int(100 * elapsed / job.seconds)
        reads = self.reads if self.counts_reads else 0
        metadata = message("JobMetadata", progress_percent=percent, reads=reads)
        metadata.create_time.FromSeconds(int(job.start_time))
        metadata.update_time.FromSeconds(int(job.start_time))
        operation.metadata.Pack(metadata)
        if job.cancelled:
            operation.done = True
            operation.error.code = code_pb2.CANCELLED
        elif elapsed >= job.seconds:
            operation.done = True
            if job.failure:
                error = status_pb2.Status(code=code_pb2.INTERNAL, message=job.failure)
                operation.error.CopyFrom(error)
            else:
                operation.response.Pack(message("SlowComputeResponse", label=job.label))
        return operation

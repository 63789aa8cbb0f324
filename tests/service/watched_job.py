"""A watched operation that a test controls, behind a gateway that polls it often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

from google.longrunning import operations_pb2
from google.rpc import status_pb2

from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import NameRequest
from lro_gateway.service.watch import Sighting
from tests.contrary import Answer, ContraryBackend, Handler
from tests.shapes import message, pool

JOB = NameRequest("jobs/1")


OFTEN = ["0.02s"] * 3


NEVER = ["3600s"] * 3


class Job:
    """An operation whose percent and end a test sets. A handler `instead` replaces its answers."""

    def __init__(self) -> None:
        self.percent = 0
        self.end: status_pb2.Status | None = None
        self.done = False
        self.instead: Handler | None = None
        self.polled = asyncio.Condition()
        self.polls = 0

    async def get(self, request: Any, context: Any) -> Answer:
        """Answer GetOperation with the job, or with the handler `instead` if there is one."""
        async with self.polled:
            self.polls += 1
            self.polled.notify_all()
        if self.instead is not None:
            return await self.instead(request, context)
        operation: Any = operations_pb2.Operation(name="jobs/1", done=self.done)
        operation.metadata.Pack(message("progress.v1.Percent", progress_percent=self.percent))
        if self.end is not None:
            operation.error.CopyFrom(self.end)
        answer: Answer = operation
        return answer

    async def next_poll(self) -> None:
        """Wait until the backend gets one more call of GetOperation."""
        async with self.polled:
            before = self.polls
            await self.polled.wait_for(lambda: self.polls > before)


class Hanging:
    """A handler that never answers. It sets `called`, and `left` when its caller has left."""

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, _request: Any, _context: Any) -> Answer:
        self.called.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()
        return b""


@asynccontextmanager
async def watched(
    job: Job,
    poll_intervals: list[str] = OFTEN,
    limits: Mapping[str, Any] | None = None,
    **handlers: Handler,
) -> AsyncIterator[tuple[OperationService, ContraryBackend]]:
    """Open a gateway to a backend that has the job. The gateway does not reuse states."""
    async with (
        ContraryBackend.open(
            {"GetOperation": job.get, **handlers}, reflection_versions=("v1",), pool=pool()
        ) as backend,
        asyncio.timeout(60),
    ):
        config = GatewayConfig.model_validate(
            {
                "limits": limits or {},
                "backends": [
                    {
                        "name": "b",
                        "target": backend.target,
                        "poll_intervals": poll_intervals,
                        "polls_per_second": 1000,
                        "freshness": "0s",
                    }
                ],
            }
        )
        async with Gateway.open(config) as gateway:
            yield gateway.service, backend


async def whole(operation: Operation) -> bytes:
    """Return the view of a reader of a list that shows the whole operation."""
    content: bytes = operation.proto.SerializeToString()
    return content


def reading(service: OperationService) -> aclosing[AsyncGenerator[Sighting]]:
    """Return a reader of the job's watch."""
    return aclosing(service.watch(ANONYMOUS, JOB))


async def last(service: OperationService) -> Sighting:
    """Read the job's watch to its end, and return the last sighting."""
    async with reading(service) as sightings:
        latest = await anext(sightings)
        async for sighting in sightings:
            latest = sighting
    return latest

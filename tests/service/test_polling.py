"""Polling: how often a backend is called, and with which RPC."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2

from lro_gateway.errors import StatusError
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import NameRequest
from tests.contrary import Answer, answering, refusing
from tests.service.watched_job import Hanging, Job, last, reading, watched
from tests.shapes import message


class Jobs(Job):
    """Running operations of every name."""

    def __init__(self) -> None:
        super().__init__()
        self.instead = self._named

    async def _named(self, request: Any, _context: Any) -> Answer:
        answer: Answer = operations_pb2.Operation(name=request.name)
        return answer

    async def next_polls(self, count: int) -> None:
        """Wait until the backend gets more calls of GetOperation."""
        for _ in range(count):
            await self.next_poll()


async def answered(job: Job, service: OperationService) -> None:
    """End the job while it is watched, and wait until a reader sees the end."""
    reader = asyncio.create_task(last(service))
    await job.next_poll()
    await job.next_poll()
    job.done = True
    assert (await reader).operation.done


async def test_a_backend_without_wait_operation_gets_one_call_of_it() -> None:
    """After UNIMPLEMENTED the gateway polls with GetOperation, also for later readers."""
    job = Job()
    async with watched(job) as (service, backend):
        await answered(job, service)
        job.done = False
        await answered(job, service)
    assert backend.count("WaitOperation") <= 1


@pytest.mark.usefixtures("_any_answer_is_early")
async def test_a_wait_operation_that_returns_at_once_is_not_repeated() -> None:
    """The gateway polls such a backend with GetOperation, because WaitOperation did not block."""
    job = Job()
    async with watched(job, ["0.2s"] * 3, WaitOperation=job.get) as (service, backend):
        await answered(job, service)
    assert backend.count("WaitOperation") == 1


async def test_a_wait_operation_that_returns_changes_at_once_is_called_ten_times_a_second() -> None:
    """Without this limit, metadata that changes with each call would use the whole budget."""
    job = Job()

    async def change(_request: Any, _context: Any) -> Answer:
        job.percent += 1
        operation: Any = operations_pb2.Operation(name="jobs/1", done=job.percent == 10)
        operation.metadata.Pack(message("progress.v1.Percent", progress_percent=job.percent))
        answer: Answer = operation
        return answer

    loop = asyncio.get_running_loop()
    async with watched(job, WaitOperation=change) as (service, _):
        began = loop.time()
        assert (await last(service)).percent == 10
    assert loop.time() - began > 0.8


async def test_a_wait_operation_that_hangs_is_given_up() -> None:
    """The backend answers GetOperation, so only its WaitOperation is not called again."""
    job = Job()
    async with watched(job, WaitOperation=Hanging()) as (service, backend):
        await answered(job, service)
    assert backend.count("WaitOperation") == 1


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.value[0]], ids=str)
async def test_no_error_of_wait_operation_ends_a_watch(code: grpc.StatusCode) -> None:
    """GetOperation finds the operation, so the gateway polls with it."""
    job = Job()
    async with watched(job, WaitOperation=refusing(code, "no")) as (service, backend):
        await answered(job, service)
    assert backend.count("WaitOperation") <= 3  # gRPC itself repeats a call after UNAVAILABLE


@pytest.mark.parametrize(
    "answer", [b"\xff\xff", operations_pb2.Operation(name="jobs/2", done=True)]
)
async def test_a_wrong_answer_of_wait_operation_is_ignored(answer: Answer) -> None:
    """It is malformed, or it is the state of another operation."""
    job = Job()
    async with watched(job, WaitOperation=answering(answer)) as (service, backend):
        await answered(job, service)
    assert backend.count("WaitOperation") == 1


async def test_an_error_of_wait_operation_is_not_reported_as_a_problem_of_the_backend() -> None:
    """Readers get states, and no outage."""
    job = Job()
    refused = refusing(grpc.StatusCode.PERMISSION_DENIED, "no")
    async with watched(job, WaitOperation=refused) as (service, _), reading(service) as sightings:
        await anext(sightings)
        for percent in (10, 20):
            job.percent = percent
            sighting = await anext(sightings)
            assert (sighting.percent, sighting.outage) == (percent, None)


async def test_wait_operation_that_fails_for_three_operations_is_not_called_for_others() -> None:
    """Each of the three fails once, and GetOperation finds all of them."""
    refused = refusing(grpc.StatusCode.INTERNAL, "no")
    jobs = Jobs()
    async with watched(jobs, WaitOperation=refused) as (service, backend):
        for number in range(6):
            request = NameRequest(f"jobs/{number}")
            async with aclosing(service.watch(ANONYMOUS, request)) as sightings:
                await anext(sightings)
                await jobs.next_polls(3)
        assert backend.count("WaitOperation") == 3


async def test_one_operation_for_which_wait_operation_fails_does_not_affect_the_others() -> None:
    """The gateway still calls WaitOperation for every other operation."""

    async def wait(request: Any, context: Any) -> Answer:
        if request.name == "jobs/bad":
            return await refusing(grpc.StatusCode.INTERNAL, "no")(request, context)
        answer: Answer = operations_pb2.Operation(name=request.name, done=True)
        return answer

    jobs = Jobs()
    async with watched(jobs, WaitOperation=wait) as (service, backend):
        for name in ("jobs/bad", "jobs/1", "jobs/2", "jobs/3", "jobs/bad"):
            async with aclosing(service.watch(ANONYMOUS, NameRequest(name))) as sightings:
                await anext(sightings)
                if name == "jobs/bad":
                    await jobs.next_polls(3)
                else:
                    assert (await anext(sightings)).operation.done
        named = [call.request.name for call in backend.calls if call.method == "WaitOperation"]
    assert named == ["jobs/bad", "jobs/1", "jobs/2", "jobs/3"]


async def test_an_operation_that_goes_missing_ends_the_watch_although_wait_operation_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error of GetOperation counts."""
    monkeypatch.setattr("lro_gateway.backends.recent.RECENT", 0.0)
    job = Job()
    refused = refusing(grpc.StatusCode.PERMISSION_DENIED, "not for you")
    async with watched(job, WaitOperation=refused) as (service, _), reading(service) as sightings:
        await anext(sightings)
        job.instead = refusing(grpc.StatusCode.NOT_FOUND, "gone")
        with pytest.raises(StatusError, match="gone"):
            await anext(sightings)

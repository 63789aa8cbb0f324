"""Errors of polls: which of them readers outlast, over every way of following an operation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf import any_pb2

from lro_gateway.errors import StatusError
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.list_watch import ListChange
from lro_gateway.service.verb_requests import ListRequest, WaitRequest
from tests.contrary import Answer, ContraryBackend, Handler, answering, refusing
from tests.gateways import service_of
from tests.service.watched_job import JOB, Job, last, reading, watched, whole

pytestmark = pytest.mark.usefixtures("_short_pauses")

Code = grpc.StatusCode
PASSING = (
    *(Code.RESOURCE_EXHAUSTED, Code.INTERNAL, Code.ABORTED, Code.UNKNOWN, Code.CANCELLED),
    *(Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED),
)
LASTING = (
    *(Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.UNAUTHENTICATED, Code.INVALID_ARGUMENT),
    *(Code.FAILED_PRECONDITION, Code.UNIMPLEMENTED, Code.DATA_LOSS),
)
MALFORMED = answering(b"\xff\xff")
STAYING = [*(refusing(code, "again") for code in PASSING[:5]), MALFORMED]
"""Handlers of a backend that was reached, but does not show the state."""


@pytest.fixture
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll again soon after an error."""
    monkeypatch.setattr("lro_gateway.service.patience._FIRST_PAUSE", 0.002)
    monkeypatch.setattr("lro_gateway.service.patience._LONGEST_PAUSE", 0.002)


class Failing:
    """A handler that fails, and counts its calls."""

    def __init__(self, error: Handler) -> None:
        self.calls = 0
        self._error = error

    async def __call__(self, request: Any, context: Any) -> Answer:
        self.calls += 1
        return await self._error(request, context)


def refusing_first(count: int, error: Handler, then: Handler) -> Handler:
    """Return a handler that fails for its first `count` calls."""
    left = [error] * count

    async def handler(request: Any, context: Any) -> Answer:
        return await (left.pop() if left else then)(request, context)

    return handler


@pytest.mark.parametrize("error", [*(refusing(c, "once") for c in PASSING), MALFORMED])
async def test_one_error_that_may_pass_does_not_end_a_watch(error: Handler) -> None:
    """The reader gets the latest state with the error, and then the next state."""
    job = Job()
    async with watched(job) as (service, _), reading(service) as sightings:
        await anext(sightings)
        job.instead = error
        failed = await anext(sightings)
        job.instead, job.percent = None, 50
        after = await anext(sightings)
        while after.percent == 0:
            after = await anext(sightings)
    assert failed.outage is not None
    assert (failed.percent, after.percent, after.outage) == (0, 50, None)


@pytest.mark.parametrize("error", STAYING)
async def test_an_error_that_stays_is_raised_after_six_answers(error: Handler) -> None:
    """The backend answers, so the reader learns that it gets no further state."""
    job, failing = Job(), Failing(error)
    async with watched(job) as (service, _), reading(service) as sightings:
        await anext(sightings)
        job.instead = failing
        with pytest.raises(StatusError):
            _ = [sighting async for sighting in sightings]
    assert failing.calls == 6


async def test_answers_between_the_errors_of_a_poll_keep_a_watch_alive() -> None:
    """Only errors in a row count, because each answer shows a state again."""
    job = Job()
    answers = 0

    async def mostly_failing(request: Any, context: Any) -> Answer:
        nonlocal answers
        answers += 1
        if answers % 5:
            return await refusing(Code.INTERNAL, "busy")(request, context)
        job.done = answers == 40
        operation: Answer = operations_pb2.Operation(name="jobs/1", done=job.done)
        return operation

    async with watched(job) as (service, _), reading(service) as sightings:
        await anext(sightings)
        job.instead = mostly_failing
        seen = [sighting async for sighting in sightings]
    assert seen[-1].operation.done


@pytest.mark.usefixtures("_nothing_is_recent")
@pytest.mark.parametrize("code", LASTING)
async def test_an_error_that_would_come_again_ends_a_watch_at_once(code: grpc.StatusCode) -> None:
    """The gateway does not poll again."""
    job, failing = Job(), Failing(refusing(code, "no"))
    async with watched(job) as (service, _):
        reader = asyncio.create_task(last(service))
        await job.next_poll()
        job.instead = failing
        with pytest.raises(StatusError, match="no"):
            await reader
    assert failing.calls == 1


async def test_an_answer_that_is_too_large_ends_a_watch_at_once() -> None:
    """RESOURCE_EXHAUSTED may pass, but the same answer is too large each time."""
    large: Any = operations_pb2.Operation(name="jobs/1", done=True)
    large.response.CopyFrom(any_pb2.Any(type_url="x/y", value=bytes(5_000_000)))
    job, failing = Job(), Failing(answering(large))
    async with watched(job) as (service, _):
        reader = asyncio.create_task(last(service))
        await job.next_poll()
        job.instead = failing
        with pytest.raises(StatusError, match="max_message_bytes"):
            await reader
    assert failing.calls == 1


@pytest.mark.parametrize("error", STAYING)
@pytest.mark.parametrize("how", ["wait", "watch"])
async def test_the_first_read_is_repeated_twice(how: str, error: Handler) -> None:
    """Two errors before the first state are outlasted, and the third is raised."""
    for errors in (2, 3):
        done = operations_pb2.Operation(name="jobs/1", done=True)
        handlers = {"GetOperation": refusing_first(errors, error, answering(done))}
        async with (
            ContraryBackend.open(handlers) as backend,
            service_of(backend.target, freshness="0s") as service,
        ):
            request = WaitRequest("jobs/1", timedelta(seconds=20))
            first = service.wait(ANONYMOUS, request) if how == "wait" else last(service)
            if errors == 2:
                ended: Any = await first
                assert getattr(ended, "operation", ended).done
            else:
                with pytest.raises(StatusError):
                    await first
            assert backend.count("GetOperation") == 3


async def test_a_wait_goes_on_after_an_error_that_passes() -> None:
    """The caller gets the end of the operation."""
    job = Job()
    async with watched(job) as (service, _):
        request = WaitRequest("jobs/1", timedelta(seconds=20))
        waiting = asyncio.create_task(service.wait(ANONYMOUS, request))
        await job.next_poll()
        for code in PASSING[:5]:
            job.instead = refusing(code, "busy")
            await job.next_poll()
            await job.next_poll()
            job.instead = None
            await job.next_poll()
        job.done = True
        assert (await waiting).done


async def test_an_error_of_the_poll_after_a_cancel_does_not_end_the_watch() -> None:
    """The watch polls at once after a cancel, and knows a state already."""
    job = Job()

    async def cancel(_request: Any, _context: Any) -> Answer:
        job.instead = refusing_first(3, refusing(Code.UNAVAILABLE, "restarting"), job_done)
        return b""

    async def job_done(_request: Any, _context: Any) -> Answer:
        answer: Answer = operations_pb2.Operation(name="jobs/1", done=True)
        return answer

    async with watched(job, ["3600s"] * 3, CancelOperation=cancel) as (service, _):
        reader = asyncio.create_task(last(service))
        await job.next_poll()
        await service.cancel(ANONYMOUS, JOB)
        assert (await reader).operation.done


@pytest.mark.parametrize("error", STAYING)
async def test_one_error_does_not_end_the_watch_of_a_list(
    error: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next page comes after it, and the sixth error in a row ends the watch."""
    monkeypatch.setattr("lro_gateway.service.list_watch._INTERVAL", 0.002)
    page = operations_pb2.ListOperationsResponse(
        operations=[operations_pb2.Operation(name="jobs/1")]
    )
    other = operations_pb2.ListOperationsResponse(
        operations=[operations_pb2.Operation(name="jobs/2")]
    )
    turns = [answering(page), *[error] * 5, answering(other), *[error] * 6]

    async def listed(request: Any, context: Any) -> Answer:
        return await (turns.pop(0) if len(turns) > 1 else turns[0])(request, context)

    async with (
        ContraryBackend.open({"ListOperations": listed}) as backend,
        service_of(backend.target) as service,
    ):
        changes: AsyncGenerator[ListChange] = service.watch_list(
            ANONYMOUS, ListRequest(), whole, every=3600.0
        )
        async with aclosing(changes):
            seen = [[each.name for each in (await anext(changes)).operations] for _ in range(2)]
            with pytest.raises(StatusError):
                await anext(changes)
    assert seen == [["jobs/1"], ["jobs/2"]]

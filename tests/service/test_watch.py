"""Watch: one poll loop per operation, however many readers."""

from __future__ import annotations

import asyncio
import gc
import traceback
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.rpc import code_pb2, status_pb2

from lro_gateway.config.models import GatewayConfig
from lro_gateway.errors import Code, StatusError
from lro_gateway.gateway import Gateway
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.polling import Budget
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import ListRequest, NameRequest, WaitRequest
from lro_gateway.service.watch import Sighting, Watch
from tests.contrary import Answer, ContraryBackend, Handler, acknowledging, refusing
from tests.shapes import message, pool

JOB = NameRequest("jobs/1")
OFTEN = ["0.02s"] * 3
NEVER = ["3600s"] * 3


class Job:
    """An operation that a test has in hand: its percent, its end, and what else is to happen."""

    def __init__(self) -> None:
        self.percent = 0
        self.end: status_pb2.Status | None = None
        self.done = False
        self.instead: Handler | None = None
        self.looked = asyncio.Condition()
        self.looks = 0

    async def get(self, request: Any, context: Any) -> Answer:
        """Answer a look, or do something else instead."""
        async with self.looked:
            self.looks += 1
            self.looked.notify_all()
        if self.instead is not None:
            return await self.instead(request, context)
        operation: Any = operations_pb2.Operation(name="jobs/1", done=self.done)
        operation.metadata.Pack(message("progress.v1.Percent", progress_percent=self.percent))
        if self.end is not None:
            operation.error.CopyFrom(self.end)
        answer: Answer = operation
        return answer

    async def another_look(self) -> None:
        """Return when the backend has been asked once more from now on."""
        async with self.looked:
            before = self.looks
            await self.looked.wait_for(lambda: self.looks > before)


class Hanging:
    """A handler that never answers; it tells when it was called, and when its caller has gone."""

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
    job: Job, poll_intervals: list[str] = OFTEN, **handlers: Handler
) -> AsyncIterator[tuple[OperationService, ContraryBackend]]:
    """Open a gateway to a backend that has the job; reads are not reused."""
    async with (
        ContraryBackend.open(
            {"GetOperation": job.get, **handlers}, reflection_versions=("v1",), pool=pool()
        ) as backend,
        asyncio.timeout(20),
    ):
        config = GatewayConfig.model_validate(
            {
                "backends": [
                    {
                        "name": "b",
                        "target": backend.target,
                        "poll_intervals": poll_intervals,
                        "polls_per_second": 1000,
                        "freshness": "0s",
                    }
                ]
            }
        )
        async with Gateway.open(config) as gateway:
            yield gateway.service, backend


def reading(service: OperationService) -> aclosing[AsyncGenerator[Sighting]]:
    """Read the job's watch."""
    return aclosing(service.watch(ANONYMOUS, JOB))


async def last(service: OperationService) -> Sighting:
    """Read the job's watch to its end; return the last sighting."""
    async with reading(service) as sightings:
        latest = await anext(sightings)
        async for sighting in sightings:
            latest = sighting
    return latest


async def test_many_readers_cost_what_one_costs() -> None:
    """Each gets the current state at once, what comes after it, and the end."""
    job, wait = Job(), Hanging()
    async with watched(job, NEVER, WaitOperation=wait) as (service, backend):
        readers = [reading(service) for _ in range(200)]
        for reader in readers:
            first = await anext(await reader.__aenter__())
            assert first.percent == 0
        await wait.called.wait()
        assert (backend.count("GetOperation"), backend.count("WaitOperation")) == (1, 1)
        for reader in readers:
            await reader.__aexit__(None, None, None)


async def test_the_last_reader_that_leaves_ends_the_watch() -> None:
    """The backend's call ends then, and not before."""
    job, wait = Job(), Hanging()
    async with watched(job, NEVER, WaitOperation=wait) as (service, backend):
        async with reading(service) as one:
            await anext(one)
            async with reading(service) as other:
                await anext(other)
            await wait.called.wait()
            assert not wait.left.is_set()
        await wait.left.wait()
        async with reading(service) as later:
            assert (await anext(later)).percent == 0
        assert backend.count("GetOperation") == 2


async def test_a_slow_reader_sees_the_newest_state_next_and_holds_nobody_up() -> None:
    """Nothing is queued for it."""
    job = Job()
    async with watched(job) as (service, _), reading(service) as slow, reading(service) as quick:
        await anext(slow)
        await anext(quick)
        seen = []
        for percent in (20, 40, 60):
            job.percent = percent
            seen.append((await anext(quick)).percent)
        assert seen == [20, 40, 60]
        assert (await anext(slow)).percent == 60


async def test_a_burst_of_changes_is_seen_in_order_and_to_its_end() -> None:
    """However many are skipped."""
    job = Job()

    async def burst(_request: Any, _context: Any) -> Answer:
        job.percent += 1
        job.done = job.percent == 100
        operation: Any = operations_pb2.Operation(name="jobs/1", done=job.done)
        operation.metadata.Pack(message("progress.v1.Percent", progress_percent=job.percent))
        answer: Answer = operation
        return answer

    job.instead = burst
    async with watched(job, ["0.001s"] * 3) as (service, _), reading(service) as sightings:
        seen = [sighting.percent or 0 async for sighting in sightings]
    assert (seen == sorted(set(seen)), seen[-1]) == (True, 100)


async def test_a_backend_that_restarts_is_waited_for_and_its_readers_are_told() -> None:
    """An outage is a sighting: the state stays what it was."""
    job = Job()
    async with watched(job) as (service, _), reading(service) as sightings:
        first = await anext(sightings)
        job.instead = refusing(grpc.StatusCode.UNAVAILABLE, "restarting")
        out = await anext(sightings)
        job.instead, job.percent = None, 50
        back = await anext(sightings)
        while back.percent == 0:  # the same state may be seen before the new one
            back = await anext(sightings)
    assert out.outage is not None
    assert (first.outage, out.outage.code, back.outage) == (None, Code.UNAVAILABLE, None)
    assert (out.operation.proto, back.percent) == (first.operation.proto, 50)


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED])
async def test_an_operation_that_goes_missing_ends_every_reader(code: grpc.StatusCode) -> None:
    """Whatever is not about reaching the backend."""
    job = Job()
    async with watched(job) as (service, _):
        readers = [asyncio.create_task(last(service)) for _ in range(3)]
        await job.another_look()
        job.instead = refusing(code, "gone")
        ends = await asyncio.gather(*readers, return_exceptions=True)
    assert [isinstance(end, StatusError) and end.code.name for end in ends] == [code.name] * 3


@pytest.mark.parametrize("ended", ["failed", "done"])
async def test_who_comes_after_the_end_is_not_told_what_a_slow_reader_has_yet_to_read(
    ended: str,
) -> None:
    """A client that never reads must not keep an old answer alive for all others."""
    job = Job()
    async with watched(job) as (service, _), reading(service) as slow:
        await anext(slow)
        reader = asyncio.create_task(last(service))
        await job.another_look()
        if ended == "done":
            job.done = True
        else:
            job.instead = refusing(grpc.StatusCode.PERMISSION_DENIED, "for a moment")
        await asyncio.gather(reader, return_exceptions=True)
        job.done, job.instead, job.percent = False, None, 70
        async with reading(service) as later:
            assert (await anext(later)).percent == 70


async def test_readers_of_one_failure_do_not_hold_each_others_frames() -> None:
    """The error they share would grow with each of them, in the log too."""
    job = Job()
    async with watched(job) as (service, _):
        readers = [asyncio.create_task(last(service)) for _ in range(100)]
        await job.another_look()
        job.instead = refusing(grpc.StatusCode.NOT_FOUND, "gone")
        ends = await asyncio.gather(*readers, return_exceptions=True)
    assert isinstance(ends[0], StatusError)
    assert len(traceback.extract_tb(ends[0].__traceback__)) < 10


async def test_a_list_is_not_watched_any_more_once_the_gateway_stops() -> None:
    """Its stream has no end, and would hold the gateway up."""
    async with watched(Job()) as (service, _):
        service.close()
        changes = service.watch_list(ANONYMOUS, ListRequest(), every=15.0)
        with pytest.raises(StatusError) as caught:
            await anext(changes)
    assert caught.value.reason == "GATEWAY_SHUTTING_DOWN"


async def test_what_the_first_look_meets_is_raised() -> None:
    """There is no state yet that could be told."""
    job = Job()
    job.instead = refusing(grpc.StatusCode.UNAVAILABLE, "down")
    async with watched(job) as (service, _):
        with pytest.raises(StatusError) as caught:
            await last(service)
    assert caught.value.code is Code.UNAVAILABLE


async def test_progress_that_goes_back_is_not_told() -> None:
    """What was reached stays; the metadata itself is passed on as it is."""
    job = Job()
    async with watched(job) as (service, _), reading(service) as sightings:
        told = []
        for percent in (30, 10, 50):
            job.percent = percent
            sighting = await anext(sightings)
            while sighting.operation.to_json()["metadata"].get("progressPercent", 0) != percent:
                sighting = await anext(sightings)
            told.append(sighting.percent)
    assert told == [30, 30, 50]


async def test_a_cancellation_is_seen_by_every_reader_soon() -> None:
    """A cancel through the gateway has the watch look at once, on whatever cadence it is."""
    job = Job()

    async def cancel(request: Any, context: Any) -> Answer:
        job.done = True
        job.end = status_pb2.Status(code=code_pb2.CANCELLED, message="cancelled")
        return await acknowledging()(request, context)

    async with watched(job, NEVER, CancelOperation=cancel) as (service, _):
        readers = [asyncio.create_task(last(service)) for _ in range(3)]
        await job.another_look()
        await service.cancel(ANONYMOUS, JOB)
        ends = await asyncio.gather(*readers)
    assert [end.operation.error.code for end in ends] == [code_pb2.CANCELLED] * 3


async def test_who_goes_on_cancelling_does_not_keep_the_readers_from_seeing() -> None:
    """A look that each cancellation cut off would never end."""
    job, answer = Job(), asyncio.Event()

    async def slow(_request: Any, _context: Any) -> Answer:
        await answer.wait()
        operation: Any = operations_pb2.Operation(name="jobs/1")
        operation.metadata.Pack(message("progress.v1.Percent", progress_percent=70))
        told: Answer = operation
        return told

    async with (
        watched(job, NEVER, WaitOperation=Hanging(), CancelOperation=acknowledging()) as (
            service,
            backend,
        ),
        reading(service) as sightings,
    ):
        await anext(sightings)
        job.instead = slow
        for _ in range(20):
            await service.cancel(ANONYMOUS, JOB)
        assert backend.count("GetOperation") <= 3
        answer.set()
        assert (await anext(sightings)).percent == 70


async def test_a_name_that_is_deleted_while_watched_ends_every_reader() -> None:
    """With what the backend says of it."""
    job = Job()

    async def delete(request: Any, context: Any) -> Answer:
        job.instead = refusing(grpc.StatusCode.NOT_FOUND, "no such job")
        return await acknowledging()(request, context)

    async with watched(job, NEVER, DeleteOperation=delete) as (service, _):
        reader = asyncio.create_task(last(service))
        await job.another_look()
        await service.delete(ANONYMOUS, JOB)
        with pytest.raises(StatusError, match="no such job"):
            await reader


async def answered(job: Job, service: OperationService) -> None:
    """Have the job end, and a reader see it."""
    reader = asyncio.create_task(last(service))
    await job.another_look()
    await job.another_look()
    job.done = True
    assert (await reader).operation.done


async def test_a_backend_without_wait_operation_is_asked_for_it_once() -> None:
    """That it is UNIMPLEMENTED is remembered, for other operations and readers too."""
    job = Job()
    async with watched(job) as (service, backend):
        await answered(job, service)
        job.done = False
        await answered(job, service)
    assert backend.count("WaitOperation") <= 1


async def test_a_wait_operation_that_returns_at_once_is_not_repeated() -> None:
    """It did not wait, so nothing is gained by it."""
    job = Job()
    async with watched(job, ["0.2s"] * 3, WaitOperation=job.get) as (service, backend):
        await answered(job, service)
    assert backend.count("WaitOperation") == 1


async def test_a_wait_operation_that_returns_at_once_with_a_change_is_paced() -> None:
    """Metadata that differs with each call would take all that its backend's budget allows."""
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
    """The backend answers otherwise, so it is its WaitOperation that hangs."""
    job = Job()
    async with watched(job, WaitOperation=Hanging()) as (service, backend):
        await answered(job, service)
    assert backend.count("WaitOperation") == 1


async def test_a_wait_reads_the_watch_too() -> None:
    """Any number of them costs one poll loop."""
    job, wait = Job(), Hanging()
    async with watched(job, NEVER, WaitOperation=wait) as (service, backend):
        waits = [
            asyncio.create_task(service.wait(ANONYMOUS, WaitRequest("jobs/1"))) for _ in range(50)
        ]
        await wait.called.wait()
        assert backend.count("WaitOperation") == 1
        service.close()
        ends = await asyncio.gather(*waits, return_exceptions=True)
    assert {isinstance(end, StatusError) and end.reason for end in ends} == {
        "GATEWAY_SHUTTING_DOWN"
    }


async def test_more_operations_than_are_remembered_are_watched_as_few_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What has not changed is not told again, and an operation that was met long ago is old."""
    monkeypatch.setattr("lro_gateway.service.reads._MOST_BYTES", 8192)
    monkeypatch.setattr("lro_gateway.backends.backend._MAX_MET", 1)
    job, names = Job(), ("jobs/1", "jobs/2")

    async def look(request: Any, context: Any) -> Answer:
        answer: Any = await job.get(request, context)
        answer.name = request.name
        told: Answer = answer
        return told

    async with watched(Job(), GetOperation=look) as (service, _):
        readers = [service.watch(ANONYMOUS, NameRequest(name)) for name in names]
        first = [await anext(reader) for reader in readers]
        nexts = [asyncio.ensure_future(anext(reader)) for reader in readers]
        for _ in range(8):
            await job.another_look()
        assert not any(one.done() for one in nexts)
        job.percent = 50
        later = [await one for one in nexts]
        for reader in readers:
            await reader.aclose()
    met = [[sighting.operation.met for sighting in some] for some in (first, later)]
    assert met[0] == met[1]


async def test_a_turn_that_nobody_takes_any_more_is_left_to_the_next() -> None:
    """Readers that vanish in the queue do not hold up those who come."""
    budget = Budget(2)
    await budget.turn()
    queue = [asyncio.ensure_future(budget.turn()) for _ in range(1000)]
    await asyncio.sleep(0)
    for one in queue:
        one.cancel()
    await asyncio.gather(*queue, return_exceptions=True)
    async with asyncio.timeout(5):
        await budget.turn()


async def test_a_watch_that_has_ended_leaves_no_cycle() -> None:
    """Collections are rare in a server: what they alone can free lies about for long."""
    job = Job()
    async with watched(job, NEVER, WaitOperation=Hanging()) as (service, _):
        async with reading(service) as one:
            await anext(one)
        await asyncio.sleep(0.05)
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            async with reading(service) as one:
                await anext(one)
            await asyncio.sleep(0.05)
            gc.collect()
            assert not [each for each in gc.garbage if isinstance(each, Watch)]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()


async def test_an_error_that_ends_many_readers_holds_the_frames_of_few() -> None:
    """It is one error, and each reader that raises it adds to its traceback."""
    job = Job()
    async with watched(job) as (service, _):
        readers = [asyncio.create_task(last(service)) for _ in range(100)]
        await job.another_look()
        job.instead = refusing(grpc.StatusCode.NOT_FOUND, "gone")
        ends = await asyncio.gather(*readers, return_exceptions=True)
    failure = ends[0]
    assert isinstance(failure, StatusError)
    assert len(list(traceback.walk_tb(failure.__traceback__))) < 20

"""Watches: one poll loop for each operation, shared by all its readers."""

from __future__ import annotations

import asyncio
import gc
import traceback
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.rpc import code_pb2, status_pb2

from lro_gateway.errors import Code, StatusError
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.verb_requests import NameRequest, WaitRequest
from lro_gateway.service.watch import Watch
from tests.contrary import Answer, acknowledging, refusing
from tests.service.watched_job import JOB, NEVER, Hanging, Job, last, reading, watched
from tests.shapes import message


async def test_many_readers_cost_as_many_calls_as_one() -> None:
    """Each of 200 readers gets the current state at once."""
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
    """The running call of the backend is cancelled when the last reader leaves."""
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


async def test_a_slow_reader_gets_the_newest_state_next_and_delays_no_other() -> None:
    """States are not queued for it."""
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


async def test_a_slow_reader_gets_the_end() -> None:
    """Also if the operation has ended while the reader had an earlier state."""
    job = Job()
    async with watched(job) as (service, _), reading(service) as slow, reading(service) as quick:
        await anext(slow)
        await anext(quick)
        job.percent, job.done = 100, True
        assert [each.operation.done async for each in quick] == [True]
        assert [each.operation.done async for each in slow] == [True]


async def test_a_burst_of_changes_is_seen_in_order_and_to_its_end() -> None:
    """A reader may miss some states, but it gets none twice."""
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


async def test_a_watch_goes_on_while_its_backend_restarts_and_shows_the_outage() -> None:
    """A sighting with an outage has the last known state."""
    job = Job()
    async with watched(job) as (service, _), reading(service) as sightings:
        first = await anext(sightings)
        job.instead = refusing(grpc.StatusCode.UNAVAILABLE, "restarting")
        out = await anext(sightings)
        job.instead, job.percent = None, 50
        back = await anext(sightings)
        while back.percent == 0:  # The old state may be polled again before the new one.
            back = await anext(sightings)
    assert out.outage is not None
    assert (first.outage, out.outage.code, back.outage) == (None, Code.UNAVAILABLE, None)
    assert (out.operation.proto, back.percent) == (first.operation.proto, 50)


@pytest.mark.usefixtures("_nothing_is_recent")
@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED])
async def test_an_error_of_a_reached_backend_ends_every_reader(code: grpc.StatusCode) -> None:
    """Each reader gets the error."""
    job = Job()
    async with watched(job) as (service, _):
        readers = [asyncio.create_task(last(service)) for _ in range(3)]
        await job.next_poll()
        job.instead = refusing(code, "gone")
        ends = await asyncio.gather(*readers, return_exceptions=True)
    assert [isinstance(end, StatusError) and end.code.name for end in ends] == [code.name] * 3


@pytest.mark.parametrize("ended", ["failed", "done"])
async def test_a_reader_that_comes_after_the_end_of_a_watch_gets_a_new_watch(
    ended: str,
) -> None:
    """A slow reader of the ended watch must not keep an old answer alive for later readers."""
    job = Job()
    async with watched(job) as (service, _), reading(service) as slow:
        await anext(slow)
        reader = asyncio.create_task(last(service))
        await job.next_poll()
        if ended == "done":
            job.done = True
        else:
            job.instead = refusing(grpc.StatusCode.PERMISSION_DENIED, "for a moment")
        await asyncio.gather(reader, return_exceptions=True)
        job.done, job.instead, job.percent = False, None, 70
        async with reading(service) as later:
            assert (await anext(later)).percent == 70


async def test_the_traceback_of_a_shared_error_does_not_grow_with_each_reader() -> None:
    """Otherwise the error would keep the frames of all readers in memory, and fill the log."""
    job = Job()
    async with watched(job) as (service, _):
        readers = [asyncio.create_task(last(service)) for _ in range(100)]
        await job.next_poll()
        job.instead = refusing(grpc.StatusCode.PERMISSION_DENIED, "gone")
        ends = await asyncio.gather(*readers, return_exceptions=True)
    assert isinstance(ends[0], StatusError)
    assert len(traceback.extract_tb(ends[0].__traceback__)) < 10


async def test_any_error_of_the_first_read_is_raised() -> None:
    """Without a first state there is nothing to show during an outage."""
    job = Job()
    job.instead = refusing(grpc.StatusCode.UNAVAILABLE, "down")
    async with watched(job) as (service, _):
        with pytest.raises(StatusError) as caught:
            await last(service)
    assert caught.value.code is Code.UNAVAILABLE


async def test_the_percent_of_a_sighting_never_falls() -> None:
    """It stays at the highest progress so far, and the metadata is passed on unchanged."""
    job = Job()
    async with watched(job) as (service, _), reading(service) as sightings:
        seen = []
        for percent in (30, 10, 50):
            job.percent = percent
            sighting = await anext(sightings)
            while sighting.operation.to_json()["metadata"].get("progressPercent", 0) != percent:
                sighting = await anext(sightings)
            seen.append(sighting.percent)
    assert seen == [30, 30, 50]


async def test_a_cancellation_is_seen_by_every_reader_soon() -> None:
    """After a cancel through the gateway the watch polls at once, even if its interval is long."""
    job = Job()

    async def cancel(request: Any, context: Any) -> Answer:
        job.done = True
        job.end = status_pb2.Status(code=code_pb2.CANCELLED, message="cancelled")
        return await acknowledging()(request, context)

    async with watched(job, NEVER, CancelOperation=cancel) as (service, _):
        readers = [asyncio.create_task(last(service)) for _ in range(3)]
        await job.next_poll()
        await service.cancel(ANONYMOUS, JOB)
        ends = await asyncio.gather(*readers)
    assert [end.operation.error.code for end in ends] == [code_pb2.CANCELLED] * 3


async def test_repeated_cancels_do_not_keep_the_watch_from_polling() -> None:
    """If each cancel restarted the running read, that read would never end."""
    job, answer = Job(), asyncio.Event()

    async def slow(_request: Any, _context: Any) -> Answer:
        await answer.wait()
        operation: Any = operations_pb2.Operation(name="jobs/1")
        operation.metadata.Pack(message("progress.v1.Percent", progress_percent=70))
        answered: Answer = operation
        return answered

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


async def test_the_deletion_of_a_watched_operation_ends_every_reader() -> None:
    """Each reader gets the backend's error of the next poll."""
    job = Job()

    async def delete(request: Any, context: Any) -> Answer:
        job.instead = refusing(grpc.StatusCode.NOT_FOUND, "no such job")
        return await acknowledging()(request, context)

    async with watched(job, NEVER, DeleteOperation=delete) as (service, _):
        reader = asyncio.create_task(last(service))
        await job.next_poll()
        await service.delete(ANONYMOUS, JOB)
        with pytest.raises(StatusError, match="no such job"):
            await reader


async def test_waits_for_one_operation_share_its_watch() -> None:
    """50 waits cost one poll loop."""
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


async def test_more_operations_can_be_watched_than_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unchanged state is not yielded again, and `first_seen` of an operation stays the same."""
    monkeypatch.setattr("lro_gateway.backends.backend._MAX_FIRST_SEEN", 1)
    job, names = Job(), ("jobs/1", "jobs/2")

    async def get(request: Any, context: Any) -> Answer:
        operation: Any = await job.get(request, context)
        operation.name = request.name
        answer: Answer = operation
        return answer

    limits = {"kept_bytes": 8192}
    async with watched(Job(), limits=limits, GetOperation=get) as (service, _):
        readers = [service.watch(ANONYMOUS, NameRequest(name)) for name in names]
        first = [await anext(reader) for reader in readers]
        nexts = [asyncio.ensure_future(anext(reader)) for reader in readers]
        for _ in range(8):
            await job.next_poll()
        assert not any(one.done() for one in nexts)
        job.percent = 50
        later = [await one for one in nexts]
        for reader in readers:
            await reader.aclose()
    before, after = (
        [sighting.operation.first_seen for sighting in sightings] for sightings in (first, later)
    )
    assert before == after


async def test_a_watch_that_has_ended_leaves_no_cycle() -> None:
    """A server collects garbage rarely, so a cycle would stay in memory for a long time."""
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


async def test_an_error_that_ends_many_readers_refers_to_few_frames() -> None:
    """All readers raise the same error, and each raise could add frames to its traceback."""
    job = Job()
    async with watched(job) as (service, _):
        readers = [asyncio.create_task(last(service)) for _ in range(100)]
        await job.next_poll()
        job.instead = refusing(grpc.StatusCode.PERMISSION_DENIED, "gone")
        ends = await asyncio.gather(*readers, return_exceptions=True)
    failure = ends[0]
    assert isinstance(failure, StatusError)
    assert len(list(traceback.walk_tb(failure.__traceback__))) < 20

"""Watches without readers that wait: what they call, and what they hold between two polls."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from google.longrunning import operations_pb2

from lro_gateway.errors import Code
from lro_gateway.operations.names import BackendName
from lro_gateway.service.watch import Watch
from lro_gateway.service.watch_bounds import TRACKERS
from tests.contrary import Answer, refusing
from tests.service.watched_job import NEVER, Job, reading, watched

JOB_NAME = BackendName("jobs/1")


class Listener:
    """Counts its calls, and lets a test wait for the next one."""

    def __init__(self) -> None:
        self.calls = 0
        self._called = asyncio.Event()

    def __call__(self) -> None:
        """Note a call."""
        self.calls += 1
        self._called.set()

    async def next_call(self) -> None:
        """Wait for a call after the present one."""
        self._called.clear()
        await self._called.wait()


def percent_of(watch: Watch) -> float | None:
    """Return the percentage that a watch has seen."""
    assert watch.sighting is not None
    return watch.sighting.percent


async def polled(*watches: Watch) -> None:
    """Wait for the polls that are under way."""
    await asyncio.gather(*(each.task for each in watches if each.task is not None))


async def test_a_watch_has_no_task_between_two_polls() -> None:
    """Many thousands of operations can be watched, and a task for each would take memory."""

    async def get(request: Any, _context: Any) -> Answer:
        answer: Answer = operations_pb2.Operation(name=request.name)
        return answer

    async with watched(Job(), NEVER, GetOperation=get) as (service, backend):
        watches, listener = service.watches, Listener()
        first = watches.listen(TRACKERS, service.backends["b"], JOB_NAME, listener)
        await listener.next_call()
        await polled(first)
        before, calls = len(asyncio.all_tasks()), backend.count("GetOperation")
        names = [BackendName(f"jobs/{number}") for number in range(2, 52)]
        others = [watches.listen(TRACKERS, service.backends["b"], name, listener) for name in names]
        await polled(*others)
        assert (len(watches), backend.count("GetOperation") - calls) == (51, 50)
        assert [each.task for each in (first, *others)] == [None] * 51
        # Servers and the discovery of methods have some tasks of their own now and then.
        assert len(asyncio.all_tasks()) - before < len(others) // 2


async def test_a_listener_is_called_after_each_change_and_never_after_it_has_left() -> None:
    """A reader of the same watch goes on."""
    job, listener = Job(), Listener()
    async with watched(job) as (service, _), reading(service) as sightings:
        await anext(sightings)
        watch = service.watches.listen(TRACKERS, service.backends["b"], JOB_NAME, listener)
        assert (percent_of(watch), len(service.watches)) == (0, 1)
        job.percent = 20
        await listener.next_call()
        assert percent_of(watch) == 20
        service.watches.unlisten(TRACKERS, watch, listener)
        calls, job.percent = listener.calls, 40
        while (await anext(sightings)).percent != 40:
            pass
        assert listener.calls == calls
    assert len(service.watches) == 0


async def test_a_listener_is_called_when_its_watch_fails_and_when_the_gateway_stops() -> None:
    """The watch has the error."""
    job, listener = Job(), Listener()
    job.instead = refusing(grpc.StatusCode.PERMISSION_DENIED, "not yours")
    async with watched(job) as (service, _):
        watch = service.watches.listen(TRACKERS, service.backends["b"], JOB_NAME, listener)
        await listener.next_call()
        assert watch.failure is not None
        assert watch.failure.code is Code.PERMISSION_DENIED
        job.instead = None
        other = service.watches.listen(TRACKERS, service.backends["b"], JOB_NAME, listener)
        assert other is not watch
        await listener.next_call()
        service.close()
        assert other.failure is not None
        assert other.failure.reason == "GATEWAY_SHUTTING_DOWN"
        assert (other.timer, other.task) == (None, None)

"""How often a backend is asked, and by which RPC."""

from __future__ import annotations

import asyncio
from typing import Any

from google.longrunning import operations_pb2

from lro_gateway.service.polling import Budget
from lro_gateway.service.service import OperationService
from tests.contrary import Answer
from tests.service.watched_job import Hanging, Job, last, watched
from tests.shapes import message


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

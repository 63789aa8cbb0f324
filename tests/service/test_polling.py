"""Polling: how often a backend is called, and with which RPC."""

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


async def test_a_cancelled_wait_for_a_turn_uses_no_turn() -> None:
    """1000 cancelled polls in the queue do not delay the next poll."""
    budget = Budget(2)
    await budget.turn()
    queue = [asyncio.ensure_future(budget.turn()) for _ in range(1000)]
    await asyncio.sleep(0)
    for one in queue:
        one.cancel()
    await asyncio.gather(*queue, return_exceptions=True)
    async with asyncio.timeout(5):
        await budget.turn()

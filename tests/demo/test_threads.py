"""Work in a thread ends before whoever waits for it goes on."""

import asyncio
import threading

import pytest

from lro_gateway.demo.threads import Threads


async def test_the_result_and_the_failure_of_the_work_come_out() -> None:
    """As from a call that does not block."""
    threads = Threads()

    assert await threads.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 7, 0)


async def test_cancelled_work_is_interrupted_and_waited_for() -> None:
    """However often it is cancelled, nothing is closed under the thread that uses it."""
    begun, interrupted = asyncio.Event(), threading.Event()
    ended: list[bool] = []
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        ended.append(interrupted.wait(timeout=60))

    running = asyncio.create_task(Threads(interrupted.set).run(work))
    await begun.wait()
    running.cancel()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert ended == [True]


async def test_a_failure_of_cancelled_work_is_not_reported_to_anybody() -> None:
    """An interrupted statement fails, which is what its interruption is for."""
    begun, interrupted = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        interrupted.wait(timeout=60)
        raise LookupError

    running = asyncio.create_task(Threads(interrupted.set).run(work))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

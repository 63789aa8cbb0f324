"""Work in a thread ends before the coroutine that waits for it goes on."""

import asyncio
import threading

import pytest

from lro_gateway.demo.threads import Threads


async def test_run_returns_the_result_or_raises_the_error_of_the_work() -> None:
    """The caller sees no difference from a direct call."""
    threads = Threads()

    assert await threads.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 7, 0)


async def test_cancelled_work_is_interrupted_and_waited_for() -> None:
    """A second cancellation does not end the wait before the thread has ended."""
    started, interrupted = asyncio.Event(), threading.Event()
    ended: list[bool] = []
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(started.set)
        ended.append(interrupted.wait(timeout=60))

    running = asyncio.create_task(Threads(interrupted.set).run(work))
    await started.wait()
    running.cancel()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert ended == [True]


async def test_an_error_of_cancelled_work_is_ignored() -> None:
    """An interrupted SQL statement fails as expected, so asyncio must not log its error."""
    started, interrupted = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(started.set)
        interrupted.wait(timeout=60)
        raise LookupError

    running = asyncio.create_task(Threads(interrupted.set).run(work))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

"""Background tasks: each has an owner, and ends with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import pytest

from lro_gateway.background import (
    BackgroundTasks,
    Interruption,
    Slices,
    Steps,
    completed,
    race,
    task_group,
)


class Runner:
    """Work that runs until it is cancelled, and then sets `was_cancelled`."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.was_cancelled = False

    async def run(self) -> str:
        """Wait until cancelled."""
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.was_cancelled = True
        return "unreachable: nothing sets the event"


async def _returning(value: str) -> str:
    return value


async def _failing() -> None:
    raise ZeroDivisionError


async def test_a_runningreturns_the_result_of_the_work_and_cancels_the_rivals() -> None:
    """All rivals have ended when the race returns."""
    rivals = [Runner(), Runner()]
    assert await race(_returning("done"), *(rival.run() for rival in rivals)) == "done"
    assert [rival.was_cancelled for rival in rivals] == [True, True]


async def _until(rival: Coroutine[Any, Any, object], work: Coroutine[Any, Any, object]) -> object:
    """Run `work` in an interruption, which comes when the rival ends."""
    interruption = Interruption()
    rivalling = asyncio.ensure_future(rival)
    rivalling.add_done_callback(lambda _: interruption.interrupt())
    try:
        with interruption:
            return await work
        return None
    finally:
        rivalling.cancel()
        await asyncio.gather(rivalling, return_exceptions=True)


async def _race(rival: Coroutine[Any, Any, object], work: Coroutine[Any, Any, object]) -> object:
    return await race(work, rival)


Racing = Callable[[Coroutine[Any, Any, object], Coroutine[Any, Any, object]], Awaitable[object]]
BOTH = pytest.mark.parametrize("racing", [_race, _until])


@BOTH
async def test_work_that_a_rival_ends_is_cancelled(racing: Racing) -> None:
    """A rival that fails also ends the work. The present task then goes on."""
    for rival in (_returning("left"), _failing()):
        work = Runner()
        assert await racing(rival, work.run()) is None
        assert work.was_cancelled
        await asyncio.sleep(0)


@BOTH
async def test_an_exception_of_the_work_is_raised(racing: Racing) -> None:
    """The exception is not in an ExceptionGroup."""
    with pytest.raises(ZeroDivisionError):
        await racing(Runner().run(), _failing())


async def test_an_interruption_ends_nothing_before_or_after_its_body() -> None:
    """One that comes too late, or twice, does not cancel what comes next."""
    interruption = Interruption()
    interruption.interrupt()
    with interruption:
        await asyncio.sleep(0)
    interruption.interrupt()
    await asyncio.sleep(0)
    assert not interruption.has_come
    loop = asyncio.get_running_loop()
    for _ in range(2):
        loop.call_soon(interruption.interrupt)
    with interruption:
        await loop.create_future()
    await asyncio.sleep(0)
    assert interruption.has_come


async def _failing_when_cancelled() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise ZeroDivisionError from None


async def test_an_exception_that_the_body_raises_for_its_interruption_is_raised() -> None:
    """The present task is then no longer cancelled, so that it can await what follows."""
    interruption = Interruption()
    loop = asyncio.get_running_loop()
    loop.call_soon(interruption.interrupt)
    work = _failing_when_cancelled()
    with pytest.raises(ZeroDivisionError), interruption:
        await work
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_task_that_is_cancelled_beside_its_interruption_ends() -> None:
    """The interruption hides no cancellation by another, such as that of a shutdown."""
    interruption = Interruption()

    async def work() -> None:
        with interruption:
            await asyncio.get_running_loop().create_future()

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    interruption.interrupt()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@BOTH
async def test_work_that_is_cancelled_cancels_the_rivals(racing: Racing) -> None:
    """No task goes on after it."""
    runners = [Runner(), Runner()]
    running = asyncio.ensure_future(racing(*(runner.run() for runner in runners)))
    for runner in runners:
        await runner.started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [runner.was_cancelled for runner in runners] == [True, True]


async def test_a_task_group_raises_the_exception_of_its_body_itself() -> None:
    """The exception is not in an ExceptionGroup, so an ordinary `except` catches it."""
    with pytest.raises(LookupError):
        async with task_group():
            raise LookupError


async def test_a_task_that_fails_ends_the_body_of_its_group() -> None:
    """Its exception is in an ExceptionGroup, because several tasks may fail at the same time."""
    body = Runner()

    async def open_a_group() -> None:
        async with task_group() as group:
            group.create_task(_failing())
            await body.run()

    with pytest.raises(ExceptionGroup) as caught:
        await open_a_group()
    assert body.was_cancelled
    assert caught.group_contains(ZeroDivisionError)


async def test_a_background_task_is_cancelled_when_its_owner_ends_and_a_call_is_not() -> None:
    """A call may go on for the grace, because it may have started an operation."""
    task, let_go = Runner(), asyncio.Event()
    async with BackgroundTasks(timedelta(seconds=60)) as tasks:
        tasks.start(_without_result(task))
        call = tasks.start_call(_after(let_go))
        await task.started.wait()
        asyncio.get_running_loop().call_soon(let_go.set)
    assert (task.was_cancelled, call.result()) == (True, "done")


async def test_a_call_that_outlives_the_grunningis_cancelled() -> None:
    """A backend that hangs cannot keep the gateway from stopping."""
    call = Runner()
    async with BackgroundTasks(timedelta(0)) as tasks:
        tasks.start_call(call.run())
        await call.started.wait()
    assert call.was_cancelled


async def test_a_background_task_that_fails_is_logged_and_ends_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No caller waits for the task, so only the log has its error."""
    other = Runner()
    async with BackgroundTasks(timedelta(0)) as tasks:
        tasks.start(_without_result(other))
        failed = tasks.start(_failing())
        await asyncio.wait([failed])
        await other.started.wait()
        assert not other.was_cancelled
    assert [record.getMessage() for record in caplog.records] == ["a background task failed"]
    assert "ZeroDivisionError" in caplog.text


async def test_a_task_that_ignores_its_cancellation_does_not_keep_its_owner_from_ending(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the task."""
    monkeypatch.setattr("lro_gateway.background._CANCELLATION_TIMEOUT", 0.01)
    started, released = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        started.set()
        while not released.is_set():
            with suppress(asyncio.CancelledError):
                await released.wait()

    async with BackgroundTasks(timedelta()) as tasks:
        task = tasks.start(stubborn())
        await started.wait()
    assert "ignores its cancellation" in caplog.text
    released.set()
    await task


async def _without_result(runner: Runner) -> None:
    await runner.run()


async def _after(event: asyncio.Event) -> str:
    await event.wait()
    return "done"


def _busy(steps: int) -> Steps[int]:
    """Return steps that take about 1 ms each, and return their number."""
    for _ in range(steps):
        until = time.monotonic() + 0.001
        while time.monotonic() < until:
            pass
        yield
    return steps


async def test_other_tasks_run_between_the_slices_of_long_computations() -> None:
    """Computations that share slices take turns, so other tasks run after each slice."""
    slices, turns = Slices(), 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    results = await asyncio.gather(*(slices.run(_busy(20)) for _ in range(5)))
    counting.cancel()
    assert results == [20] * 5
    # 100 steps of 1 ms are about 20 slices of 5 ms.
    assert turns >= 15


def test_the_steps_of_a_computation_can_be_completed_at_once() -> None:
    """Code that has no event loop gets the same result."""
    assert completed(_busy(2)) == 2


async def test_a_task_of_the_gateway_has_no_context_variable_of_the_caller_that_started_it() -> (
    None
):
    """A call has them, because it belongs to its caller."""
    caller: ContextVar[str] = ContextVar("caller", default="nobody")
    seen: list[str] = []

    async def note() -> None:
        seen.append(caller.get())

    caller.set("ann")
    async with BackgroundTasks(timedelta(0)) as tasks:
        await asyncio.wait([tasks.start(note())])
        await asyncio.wait([tasks.start_call(note())])
    assert seen == ["nobody", "ann"]

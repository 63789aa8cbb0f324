"""Tasks that have an owner."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from lro_gateway.background import BackgroundTasks, race, task_group


class Runner:
    """Work that runs until it is cancelled, and knows whether it has been."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.was_cancelled = False

    async def run(self) -> str:
        """Wait until cancelled."""
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.was_cancelled = True
        return "unreachable: nothing sets the event"


async def _returning(value: str) -> str:
    return value


async def _failing() -> None:
    raise ZeroDivisionError


async def test_a_race_returns_what_the_work_returns_and_cancels_the_rivals() -> None:
    """A rival has ended when the race has."""
    rivals = [Runner(), Runner()]
    assert await race(_returning("done"), *(rival.run() for rival in rivals)) == "done"
    assert [rival.was_cancelled for rival in rivals] == [True, True]


async def test_a_race_that_a_rival_ends_returns_none_and_cancels_the_work() -> None:
    """A rival that fails has ended as well."""
    for rival in (_returning("left"), _failing()):
        work = Runner()
        assert await race(work.run(), rival) is None
        assert work.was_cancelled


async def test_a_race_raises_what_the_work_raises() -> None:
    """As it is, not in an ExceptionGroup."""
    with pytest.raises(ZeroDivisionError):
        await race(_failing(), Runner().run())


async def test_a_race_that_is_cancelled_cancels_everybody_in_it() -> None:
    """Nothing runs on that nobody waits for."""
    runners = [Runner(), Runner()]
    racing = asyncio.create_task(race(*(runner.run() for runner in runners)))
    for runner in runners:
        await runner.began.wait()
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing
    assert [runner.was_cancelled for runner in runners] == [True, True]


async def test_a_task_group_raises_the_error_of_its_body_as_it_is() -> None:
    """Who opens the group need not know that it is one."""
    with pytest.raises(LookupError):
        async with task_group():
            raise LookupError


async def test_a_task_that_fails_ends_the_body_of_its_group() -> None:
    """Its error comes in an ExceptionGroup, because others may fail at the same time."""
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
    """A call gets the grace, because its caller was told that the gateway makes it."""
    task, let_go = Runner(), asyncio.Event()
    async with BackgroundTasks(timedelta(seconds=60)) as tasks:
        tasks.start(_forgetting(task))
        call = tasks.start_call(_after(let_go))
        await task.began.wait()
        asyncio.get_running_loop().call_soon(let_go.set)
    assert (task.was_cancelled, call.result()) == (True, "done")


async def test_a_call_that_outlives_the_grace_is_cancelled() -> None:
    """A backend that hangs does not keep the gateway from stopping."""
    call = Runner()
    async with BackgroundTasks(timedelta(0)) as tasks:
        tasks.start_call(call.run())
        await call.began.wait()
    assert call.was_cancelled


async def test_a_background_task_that_fails_is_logged_and_ends_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody waits for it, so the log is the one place for its error."""
    other = Runner()
    async with BackgroundTasks(timedelta(0)) as tasks:
        tasks.start(_forgetting(other))
        failed = tasks.start(_failing())
        await asyncio.wait([failed])
        await other.began.wait()
        assert not other.was_cancelled
    assert [record.getMessage() for record in caplog.records] == ["a background task failed"]
    assert "ZeroDivisionError" in caplog.text


async def _forgetting(runner: Runner) -> None:
    await runner.run()


async def _after(event: asyncio.Event) -> str:
    await event.wait()
    return "done"

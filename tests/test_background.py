"""Tasks that have an owner."""

from __future__ import annotations

import asyncio

import pytest

from lro_gateway.background import race


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

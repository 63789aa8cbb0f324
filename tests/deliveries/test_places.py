"""Places of messages: origins that hang take few of them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from lro_gateway.deliveries.egress import EgressError
from lro_gateway.deliveries.happenings import STARTED
from lro_gateway.deliveries.places import Places
from lro_gateway.records.location import Location
from tests.deliveries.receiver import answering, hanging, receiving
from tests.deliveries.stages import Demo, staged

URL = "https://receiver.example/hook"


class Messages:
    """Messages to one origin that are under way until the test ends them."""

    def __init__(self, places: Places) -> None:
        self.running = 0
        self._places = places
        self._ends = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self, number: int) -> None:
        """Begin so many, and let each take its place if there is one."""
        self._tasks += [asyncio.create_task(self._send()) for _ in range(number)]
        await asyncio.sleep(0)

    async def end(self) -> None:
        """End all."""
        self._ends.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def cancel(self, *numbers: int) -> None:
        """Cancel some of them."""
        for each in numbers:
            self._tasks[each].cancel()
        await asyncio.gather(*(self._tasks[each] for each in numbers), return_exceptions=True)

    async def _send(self) -> None:
        async with self._places.of(URL):
            self.running += 1
            try:
                await self._ends.wait()
            finally:
                self.running -= 1


async def answered(places: Places, failure: str) -> None:
    """Send a message that gets an answer, or fails."""
    with suppress(EgressError):
        async with places.of(URL):
            if failure:
                raise EgressError(failure, "it failed")


@pytest.mark.parametrize(
    ("outcomes", "running"),
    [([], 1), ([""], 8), (["", "timeout"], 1), (["timeout", ""], 8), (["protocol_error"], 1)],
)
async def test_an_origin_has_many_places_only_while_it_answers(
    outcomes: list[str], running: int
) -> None:
    """The last answer or timeout counts."""
    places = Places(500, 8, 1)
    for each in outcomes:
        await answered(places, each)
    messages = Messages(places)
    await messages.begin(20)
    assert messages.running == running
    await messages.end()
    assert messages.running == 0


async def test_a_message_that_gives_up_leaves_its_place_to_the_next_one() -> None:
    """Also one that was waiting, which takes no place with it."""
    messages = Messages(Places(500, 8, 1))
    await messages.begin(4)
    await messages.cancel(1)
    assert messages.running == 1
    await messages.cancel(0, 2)
    await asyncio.sleep(0)
    assert messages.running == 1
    await messages.end()


async def test_receivers_that_hang_leave_places_to_the_others(
    location: Location, tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many messages they have not answered."""
    monkeypatch.setattr("lro_gateway.deliveries.posting._MOST", 4)
    async with AsyncExitStack() as stack:
        start = stack.enter_async_context
        dead = [await start(receiving(hanging)) for _ in range(3)]
        alive = await start(receiving(answering(200)))
        stage = await start(staged(location, demo[0], tmp_path))
        for each in dead:
            await stage.hook(each, kinds=(STARTED,))
        for name in ("one", "two", "three"):
            await stage.start(name)
        for each in dead:
            await each.after(1)
        await stage.hook(alive, kinds=(STARTED,))
        await stage.start("four")
        async with asyncio.timeout(60):
            await alive.after(1)
        assert [len(each.received) for each in dead] == [1, 1, 1]

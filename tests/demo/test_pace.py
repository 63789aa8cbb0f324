"""Paces."""

import asyncio
from datetime import timedelta

from lro_gateway.demo.pace import Gate, steady, unpaced


async def test_an_open_gate_lets_everything_pass() -> None:
    """A new gate is open."""
    gate = Gate()

    await asyncio.wait_for(gate(), timeout=1)


async def test_a_held_gate_admits_one_batch_at_a_time() -> None:
    """Whoever is not admitted stands until the gate opens."""
    gate = Gate()
    async with gate:
        first, second = (asyncio.ensure_future(gate()) for _ in range(2))
        await gate.arrival(2)
        gate.admit()
        await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
        assert [first.done(), second.done()] == [True, False]

    await asyncio.wait_for(second, timeout=1)


async def test_a_steady_pace_rests_as_long_as_it_is_told() -> None:
    """A steady pace rests; no pace does not."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    await steady(timedelta(milliseconds=20))()
    rested = loop.time()
    await unpaced()

    assert rested - began >= 0.019

"""The paces that operations can have."""

import asyncio
from datetime import timedelta

from lro_gateway.demo.pace import Gate, steady, unpaced


async def test_an_open_gate_lets_everything_pass() -> None:
    """A new gate is open, so a batch does not wait."""
    gate = Gate()

    await asyncio.wait_for(gate(), timeout=60)


async def test_a_held_gate_admits_one_batch_at_a_time() -> None:
    """A batch that is not admitted waits until the gate opens."""
    gate = Gate()
    async with gate:
        first, second = (asyncio.ensure_future(gate()) for _ in range(2))
        await gate.arrival(2)
        gate.admit()
        await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
        assert [first.done(), second.done()] == [True, False]

    await asyncio.wait_for(second, timeout=60)


async def test_a_steady_pace_waits_for_its_delay() -> None:
    """`steady` waits for its delay; `unpaced` returns at once."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    await steady(timedelta(milliseconds=20))()
    waited = loop.time()
    await unpaced()

    assert waited - began >= 0.019

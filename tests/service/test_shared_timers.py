"""Waits of the same length share timers, and end in time."""

from __future__ import annotations

import asyncio

from lro_gateway.service.shared_timers import SharedTimers

_ROUNDED = 1e-6


async def test_waits_that_end_at_nearly_the_same_time_end_at_once_and_not_late() -> None:
    """A wait may be a sixteenth shorter than its time."""
    timers, loop = SharedTimers(), asyncio.get_running_loop()
    waiters = [loop.create_future() for _ in range(100)]
    begin = loop.time()
    dues = [timers.add(each, 0.16) for each in waiters]
    end = loop.time()
    assert all(begin + 0.15 <= due + _ROUNDED and due <= end + 0.16 + _ROUNDED for due in dues)
    order: list[asyncio.Future[None]] = []
    for each in waiters:
        each.add_done_callback(order.append)
    await asyncio.gather(*waiters)
    assert loop.time() + _ROUNDED >= max(dues)
    assert [dues[waiters.index(each)] for each in order] == sorted(dues)


async def test_a_wait_that_ended_sooner_is_forgotten() -> None:
    """It ends no other wait, and a timer that ends no wait is cancelled."""
    timers, loop = SharedTimers(), asyncio.get_running_loop()
    gone, ended, waits = (loop.create_future() for _ in range(3))
    dues = [timers.add(each, 3600) for each in (gone, ended)]
    for each, due in zip((gone, ended), dues, strict=True):
        timers.remove(each, due)
        timers.remove(each, due)
    ended.set_result(None)
    cancelled = loop.create_future()
    timers.add(cancelled, 0.01)
    cancelled.cancel()
    timers.add(waits, 0.02)
    await waits
    assert (gone.done(), ended.done(), cancelled.cancelled()) == (False, True, True)

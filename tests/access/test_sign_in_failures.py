"""Failed sign-ins are recorded up to a bound, and the others are counted."""

from __future__ import annotations

import asyncio

from lro_gateway.access.sign_in_failures import FIRST, MOST, FailureLimit


async def test_each_host_and_reason_has_its_own_first_failures() -> None:
    """So a flood of one host does not hide the failure of another one."""
    told: list[tuple[str, str, int]] = []
    limit = FailureLimit(lambda *each: told.append(each))
    flood = [limit.passes("10.0.0.1", "TOKEN_UNKNOWN") for _ in range(3 * FIRST)]
    assert flood == [True] * FIRST + [False] * (2 * FIRST)
    assert limit.passes("10.0.0.1", "TOKEN_EXPIRED")
    assert limit.passes("10.0.0.2", "TOKEN_UNKNOWN")
    limit.close()
    assert told == [("10.0.0.1", "TOKEN_UNKNOWN", 2 * FIRST)]
    assert limit.passes("10.0.0.1", "TOKEN_UNKNOWN")
    limit.close()
    assert told == [("10.0.0.1", "TOKEN_UNKNOWN", 2 * FIRST)]


async def test_many_hosts_together_have_a_bound_too() -> None:
    """A network of machines sends one wrong token each, and gets one number in all."""
    told: list[tuple[str, str, int]] = []
    limit = FailureLimit(lambda *each: told.append(each))
    flood = [limit.passes(f"10.0.{number}.1", "TOKEN_UNKNOWN") for number in range(MOST + 50)]
    assert flood == [True] * MOST + [False] * 50
    assert not limit.passes("10.0.0.1", "TOKEN_UNKNOWN")
    limit.close()
    assert told == [("10.0.0.1", "TOKEN_UNKNOWN", 1), ("", "", 50)]


async def test_the_number_comes_at_the_end_of_the_window_without_another_failure() -> None:
    """An operator reads it although the flood has ended."""
    told: asyncio.Queue[tuple[str, str, int]] = asyncio.Queue()
    limit = FailureLimit(lambda *each: told.put_nowait(each), window=0.01)
    for _ in range(FIRST + 1):
        limit.passes("10.0.0.1", "TOKEN_UNKNOWN")
    async with asyncio.timeout(60):
        assert await told.get() == ("10.0.0.1", "TOKEN_UNKNOWN", 1)
    assert limit.passes("10.0.0.1", "TOKEN_UNKNOWN")
    limit.close()
    assert told.empty()

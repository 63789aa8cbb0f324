"""Watches: what readers cost the backend, how soon they know, what is left when they vanish."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import quantiles
from typing import Final

from scripts.benchmark.processes import ProcessError, Program, Served, gateway_with, program
from scripts.benchmark.usage import resident_mb

LAST_READER_TARGET_MS: Final = 250.0
VANISHED_TARGET_SECONDS: Final = 5.0
MEMORY_LEFT: Final = 0.1
"""The part of what readers take that still counts as given back."""
_GLANCE: Final = 0.05
_LIMIT: Final = 20.0
_FANNED_OUT: Final = 10_000
"""The number of the operation that has many readers, without their number."""


@dataclass(frozen=True, slots=True)
class FanOut:
    """One operation changes, and `readers` read its watch as server-sent events.

    `delays_ms` tell, for each change, the time from the backend's answer with the new state to the
    last reader; RPCs are all that the backend saw, from the first reader on.
    """

    readers: int
    rpcs: int
    delays_ms: tuple[float, ...]

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of the delays."""
        return quantiles(self.delays_ms, n=100, method="inclusive")[98]


@dataclass(frozen=True, slots=True)
class Vanishing:
    """Readers, each of an operation of its own, vanish at once.

    As many came and went before, so that the gateway has what memory they need: allocators keep it.
    Megabytes are resident: what the first readers took, and before, with and after the second.
    `seconds` is when the backend saw the calls of all watches end and the memory was back; None if
    that took longer than the target.
    """

    readers: int
    seconds: float | None
    taken_mb: float
    before_mb: float
    with_mb: float
    after_mb: float

    @property
    def reached(self) -> bool:
        """Whether the target is."""
        return self.seconds is not None


@dataclass(frozen=True, slots=True)
class Watching:
    """What was measured of readers over REST."""

    one: FanOut
    many: FanOut
    vanishing: Vanishing | None

    @property
    def rpc_ratio(self) -> float:
        """What many readers cost the backend, over what one costs it."""
        return self.many.rpcs / self.one.rpcs


class _Course:
    """A backend whose operations change, a gateway, and a program full of readers."""

    def __init__(self, backend: Program, gateway: Served, readers: Program) -> None:
        self._backend = backend
        self._gateway = gateway
        self._readers = readers

    @staticmethod
    @asynccontextmanager
    async def open() -> AsyncIterator[_Course]:
        async with program("changing") as backend, program("readers") as readers:
            # Readers of many operations are all served at once, not so many a second.
            rules = {"polls_per_second": 10_000}
            target = {"name": "backend", "target": backend.served.address, **rules}
            async with gateway_with(target) as gateway:
                yield _Course(backend, gateway, readers)

    async def fan_out(self, readers: int, changes: int) -> FanOut:
        """Change an operation so often, each time as soon as all readers saw the last change."""
        calls = (await self._backend.ask())["calls"]
        # An operation of its own: what was read a moment ago would cost one RPC less.
        await self._come(readers, apart=False, first=_FANNED_OUT + readers)
        await self._all_wait(1)
        delays = []
        for _ in range(changes):
            state = (await self._backend.ask(change=True))["state"]
            seen = await self._readers.ask(state=state)
            delays.append((seen["last"] - (await self._backend.ask())["answered"]) * 1000)
        await self._all_wait(1)
        rpcs = (await self._backend.ask())["calls"] - calls
        await self._readers.ask()
        await self._gone()
        return FanOut(readers, rpcs, tuple(delays))

    async def vanishing(self, readers: int) -> Vanishing | None:
        """Have readers come and vanish twice; None where /proc is not."""
        if resident_mb(self._gateway.pid) is None:
            return None
        at_first = self._resident()
        taken = await self._come_apart(readers) - at_first
        await self._readers.ask()
        await self._gone()
        before = self._resident()
        with_them = await self._come_apart(readers)
        await self._readers.ask()
        seconds = await self._gone(before + taken * MEMORY_LEFT)
        return Vanishing(readers, seconds, taken, before, with_them, self._resident())

    async def _come(self, readers: int, *, apart: bool, first: int = 0) -> None:
        """Have readers come, each of an operation of its own or all of the first."""
        state = (await self._backend.ask())["state"]
        address = self._gateway.address
        await self._readers.ask(
            readers=readers, apart=apart, first=first, state=state, address=address
        )

    async def _come_apart(self, readers: int) -> float:
        await self._come(readers, apart=True)
        await self._all_wait(readers)
        return self._resident()

    async def _all_wait(self, watches: int) -> None:
        """Return when the backend has a WaitOperation of each watch under way."""
        if await self._seconds_until(lambda waiting: waiting >= watches, _LIMIT) is None:
            raise ProcessError(f"the backend saw no WaitOperation of each of {watches} watches")

    async def _gone(self, most_mb: float = math.inf) -> float | None:
        """Return the seconds to the end of all watches and to this memory, or None if too many."""
        return await self._seconds_until(
            lambda waiting: not waiting and self._resident() <= most_mb, VANISHED_TARGET_SECONDS
        )

    async def _seconds_until(self, reached: Callable[[int], bool], limit: float) -> float | None:
        begin = time.perf_counter()
        while (seconds := time.perf_counter() - begin) <= limit:
            if reached((await self._backend.ask())["waiting"]):
                return seconds
            await asyncio.sleep(_GLANCE)
        return None

    def _resident(self) -> float:
        return resident_mb(self._gateway.pid) or 0.0


async def measure_watching(readers: int, changes: int) -> Watching:
    """Have readers vanish; then one reader and so many see an operation change so often."""
    async with _Course.open() as course:
        vanishing = await course.vanishing(readers)
        one, many = [await course.fan_out(number, changes) for number in (1, readers)]
    return Watching(one, many, vanishing)

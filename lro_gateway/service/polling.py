"""How often a backend is asked about an operation: a cadence by age, stretched by a budget."""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from lro_gateway.backends.backend import Backend
from lro_gateway.errors import Code, StatusError
from lro_gateway.operations.operation import Operation

OUT_OF_REACH: Final = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED})
"""What says nothing of the operation: it is asked for again."""

_JITTER: Final = 0.1
_SHORT: Final = 0.5
"""The part of its timeout under which a WaitOperation that brought nothing new did not wait."""

_PACE: Final = 0.1
"""Seconds between two calls of WaitOperation, at least."""


class Budget:
    """Lets so many polls a second through; further ones wait their turn, in order."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1 / per_second
        self._next = 0.0
        self._queue = asyncio.Lock()

    async def turn(self) -> None:
        """Return when a poll may be made; who leaves before takes no turn from the others."""
        async with self._queue:
            now = asyncio.get_running_loop().time()
            turn = max(now, self._next)
            if turn > now:
                await asyncio.sleep(turn - now)
            self._next = turn + self._gap


@dataclass(frozen=True, slots=True)
class Poller:
    """Looks at the operations of one backend, in its turn."""

    backend: Backend
    budget: Budget

    async def next_state(
        self, name: str, latest: Operation, *, within: float = math.inf
    ) -> Operation:
        """Return the state after the interval of the operation's age, or at its end if sooner.

        By WaitOperation where the backend serves it: that it does not, hangs or comes back at once
        is remembered for a while. `within` is a shorter interval, in seconds.
        """
        interval = min(latest.rules.cadence.interval(latest.age), within)
        if not self.backend.waits_natively:
            await asyncio.sleep(jittered(interval))
            await self.budget.turn()
            return await self.backend.get(name)
        await self.budget.turn()
        return await self._wait(name, latest, interval)

    async def _wait(self, name: str, latest: Operation, interval: float) -> Operation:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            operation = await self.backend.wait(name, timedelta(seconds=interval))
        except StatusError as error:
            hung = error.code is Code.DEADLINE_EXCEEDED
            if not hung and error.code is not Code.UNIMPLEMENTED:
                raise
            # Only what answers otherwise is known to hang.
            operation = await self.backend.get(name)
            self.backend.stop_waiting()
            return operation
        waited = loop.time() - started
        if not operation.done and operation.proto == latest.proto and waited < interval * _SHORT:
            self.backend.stop_waiting()
            await asyncio.sleep(jittered(interval - waited))
        elif not operation.done and waited < _PACE:
            # It may tell of each change, or change with each call: such as the time.
            await asyncio.sleep(_PACE - waited)
        return operation


def jittered(seconds: float) -> float:
    """Return about as many seconds, so that what began together does not stay together."""
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret

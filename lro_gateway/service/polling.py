"""Polls: how often a backend is asked about an operation, by its age and within a budget."""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from lro_gateway.backends.backend import Backend
from lro_gateway.errors import Code, StatusError
from lro_gateway.operations.names import BackendName
from lro_gateway.operations.operation import Operation

OUT_OF_REACH: Final = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED})
"""Codes that tell nothing of the operation, so that it is polled again."""

_JITTER: Final = 0.1
_SHORT: Final = 0.5
"""An unchanged answer sooner than this fraction of the timeout means that WaitOperation does not
block."""
_PACE: Final = 0.1
"""The fewest seconds between two calls of WaitOperation."""


class Budget:
    """A number of polls per second. Further polls wait for their turn, in order."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1 / per_second
        self._next = 0.0
        self._queue = asyncio.Lock()

    async def turn(self) -> None:
        """Return when the next poll may be made. A poll that is cancelled before uses no turn."""
        async with self._queue:
            now = asyncio.get_running_loop().time()
            turn = max(now, self._next)
            if turn > now:
                await asyncio.sleep(turn - now)
            self._next = turn + self._gap


@dataclass(frozen=True, slots=True)
class Poller:
    """Polls the operations of one backend."""

    backend: Backend
    budget: Budget

    async def next_state(
        self, name: BackendName, latest: Operation, *, within: float = math.inf
    ) -> Operation:
        """Return the state after the interval for the operation's age, or at its end if sooner.

        Uses WaitOperation, unless the backend does not implement it, hangs in it, or answers it at
        once; this is remembered for a while. `within` is a shorter interval, in seconds.
        """
        interval = min(latest.rules.cadence.interval(latest.age), within)
        if not self.backend.waits_natively:
            await asyncio.sleep(jittered(interval))
            await self.budget.turn()
            return await self.backend.get(name)
        await self.budget.turn()
        return await self._wait(name, latest, interval)

    async def _wait(self, name: BackendName, latest: Operation, interval: float) -> Operation:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            operation = await self.backend.wait(name, timedelta(seconds=interval))
        except StatusError as error:
            hung = error.code is Code.DEADLINE_EXCEEDED
            if not hung and error.code is not Code.UNIMPLEMENTED:
                raise
            # The backend answers, so it is WaitOperation alone that hangs.
            operation = await self.backend.get(name)
            self.backend.stop_waiting()
            return operation
        waited = loop.time() - started
        if not operation.done and operation.proto == latest.proto and waited < interval * _SHORT:
            self.backend.stop_waiting()
            await asyncio.sleep(jittered(interval - waited))
        elif not operation.done and waited < _PACE:
            # The metadata may change with each call, if it holds the time for example.
            await asyncio.sleep(_PACE - waited)
        return operation


def jittered(seconds: float) -> float:
    """Vary a number of seconds, so that watches that began together do not poll together."""
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret

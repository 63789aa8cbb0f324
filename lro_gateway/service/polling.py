"""Polling: an operation's age sets its poll interval, and a budget limits each backend's polls."""

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
"""The codes after which the gateway polls again, because they do not show the state."""

_JITTER: Final = 0.1
"""The largest random change of an interval, as a fraction of the interval."""
_BLOCKING_FRACTION: Final = 0.5
"""If WaitOperation returns an unchanged state before this fraction of the timeout has passed, the
gateway concludes that WaitOperation does not block."""
_MIN_WAIT_INTERVAL: Final = 0.1
"""The minimum time between two calls of WaitOperation for one operation, in seconds."""


class Budget:
    """A limit on polls per second. Polls over the limit wait for their turn, in order."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1 / per_second
        self._next = 0.0
        self._queue = asyncio.Lock()

    async def turn(self) -> None:
        """Wait until the next poll may be made. A cancelled wait does not count as a poll."""
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
        """Return the state after the poll interval, or at the operation's end if that is sooner.

        The operation's age decides the interval, which is at most `within` seconds. The poller
        calls WaitOperation. If the backend does not implement WaitOperation, hangs in it, or
        answers it without blocking, the poller calls GetOperation for the next ten minutes.
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
            # If GetOperation succeeds, WaitOperation is the only RPC that fails.
            operation = await self.backend.get(name)
            self.backend.stop_waiting()
            return operation
        waited = loop.time() - started
        blocking = interval * _BLOCKING_FRACTION
        if not operation.done and operation.proto == latest.proto and waited < blocking:
            self.backend.stop_waiting()
            await asyncio.sleep(jittered(interval - waited))
        elif not operation.done and waited < _MIN_WAIT_INTERVAL:
            # Some metadata changes with each call, for example if it holds the current time.
            await asyncio.sleep(_MIN_WAIT_INTERVAL - waited)
        return operation


def jittered(seconds: float) -> float:
    """Vary an interval at random, so that watches that started together do not poll together."""
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret

"""Polling: an operation's age sets its poll interval, and each poll waits for its turn."""

from __future__ import annotations

import asyncio
import math
import random
import time
from datetime import timedelta
from typing import Final

from cachetools import TTLCache

from lro_gateway.backends.backend import Backend
from lro_gateway.errors import Code, StatusError
from lro_gateway.operations.names import BackendName
from lro_gateway.operations.operation import Operation
from lro_gateway.service.budget import Budget, Readers

_JITTER: Final = 0.1
"""The largest random change of an interval, as a fraction of the interval."""
_BLOCKING_FRACTION: Final = 0.5
"""If WaitOperation returns an unchanged state before this fraction of the timeout has passed, the
gateway concludes that WaitOperation does not block."""
_MIN_WAIT_INTERVAL: Final = 0.1
"""The minimum time between two calls of WaitOperation for one operation, in seconds."""
_NO_WAIT_PERIOD: Final = 600.0
"""Seconds for which WaitOperation is not called again after it failed."""
_MAX_FAILURES: Final = 3
_MAX_OPERATIONS: Final = 4096


class WaitSupport:
    """Tells for which operations of a backend the gateway calls WaitOperation.

    After a failure, the gateway does not call it again for that operation for ten minutes. After
    UNIMPLEMENTED, or after failures for three operations in a row, it does not call it for any
    operation of the backend for ten minutes. So one bad operation does not affect the others.
    """

    def __init__(self) -> None:
        self._failed: TTLCache[BackendName, None] = TTLCache(_MAX_OPERATIONS, _NO_WAIT_PERIOD)
        self._in_a_row = 0
        self._from = -math.inf

    def covers(self, name: BackendName) -> bool:
        """Return whether the gateway calls WaitOperation for an operation now."""
        return time.monotonic() >= self._from and name not in self._failed

    def succeeded(self) -> None:
        """Note that WaitOperation has waited, or has returned the end of an operation."""
        self._in_a_row = 0

    def failed(self, name: BackendName, *, is_unimplemented: bool = False) -> None:
        """Note that WaitOperation has failed for an operation that GetOperation finds."""
        self._failed[name] = None
        self._in_a_row += 1
        if is_unimplemented or self._in_a_row == _MAX_FAILURES:
            self._from = time.monotonic() + _NO_WAIT_PERIOD
            # After the period, one failure suffices to stop again.
            self._in_a_row = _MAX_FAILURES - 1


class Poller:
    """Polls the operations of one backend."""

    def __init__(self, backend: Backend, budget: Budget) -> None:
        self._backend = backend
        self._budget = budget
        self._support = WaitSupport()

    def waits_for(self, name: BackendName) -> bool:
        """Return whether the next poll of an operation is a WaitOperation, which waits itself."""
        return self._support.covers(name) and self._backend.calls.has_room_to_wait

    async def next_state(
        self, name: BackendName, latest: Operation, readers: Readers, wait: float
    ) -> Operation:
        """Return the present state, or the one after a WaitOperation of `wait` seconds if not 0.

        Raises only errors of GetOperation, because WaitOperation may fail for an operation that is
        running.
        """
        await self._budget.turn(readers)
        if not wait:
            return await self._backend.get(name)
        return await self._wait(name, latest, readers, wait)

    async def _wait(
        self, name: BackendName, latest: Operation, readers: Readers, interval: float
    ) -> Operation:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            operation = await self._backend.wait(name, timedelta(seconds=interval))
        except StatusError as error:
            if error.reason == "TOO_MANY_CALLS":
                # Other waits have the slots, which says nothing of WaitOperation.
                await asyncio.sleep(jittered(interval))
                await self._budget.turn(readers)
                return await self._backend.get(name)
            is_unimplemented = error.code is Code.UNIMPLEMENTED
        else:
            # A backend may answer with another name of the operation than the caller's, but then
            # GetOperation answers with that name too.
            if operation.backend_name in {name, latest.backend_name}:
                await self._pace(name, latest, operation, interval, loop.time() - started)
                return operation
            is_unimplemented = False
        await self._budget.turn(readers)
        operation = await self._backend.get(name)
        if operation.is_recalled:
            # Neither RPC finds the new operation yet, so the failure says nothing of WaitOperation.
            await asyncio.sleep(jittered(interval))
        else:
            self._support.failed(name, is_unimplemented=is_unimplemented)
        return operation

    async def _pace(
        self,
        name: BackendName,
        latest: Operation,
        operation: Operation,
        interval: float,
        waited: float,
    ) -> None:
        """Wait if WaitOperation has answered too soon to be called again at once."""
        is_same = not operation.done and operation.proto == latest.proto
        if is_same and waited < interval * _BLOCKING_FRACTION:
            self._support.failed(name)
            await asyncio.sleep(jittered(interval - waited))
            return
        self._support.succeeded()
        if not operation.done and waited < _MIN_WAIT_INTERVAL:
            # Some metadata changes with each call, for example if it holds the current time.
            await asyncio.sleep(_MIN_WAIT_INTERVAL - waited)


def jittered(seconds: float) -> float:
    """Vary an interval at random, so that watches that started together do not poll together."""
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret

"""Waits for operations: each ends when the operation is done, or at its timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import timedelta
from functools import partial
from typing import Final

from lro_gateway.backends.backend import Backend
from lro_gateway.errors import StatusError
from lro_gateway.operations.names import BackendName
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Reader
from lro_gateway.service.budget import Budgets, Readers
from lro_gateway.service.patience import first_read
from lro_gateway.service.reads import Reads
from lro_gateway.service.watch import Sighting
from lro_gateway.service.watches import Watches

MAX_WAIT: Final = timedelta(seconds=50)
"""The maximum time of a wait. Clients and proxies would give up on a wait of a minute."""

PROGRESS_INTERVAL: Final = 5.0
"""Seconds between two progress reports. Without reports, clients give up on a long call."""

_FINAL_READ: Final = 2.0
"""Seconds allowed for one final read after a wait times out."""

OnProgress = Callable[[Sighting], Awaitable[None]]
"""Called with each state of the operation during a wait."""


class Waits:
    """Waits for operations of all backends.

    `default` is the time of a wait whose caller gives no timeout. It is at most `MAX_WAIT`.
    """

    def __init__(
        self, reads: Reads, watches: Watches, budgets: Budgets, default: timedelta = MAX_WAIT
    ) -> None:
        self.default = default
        self._reads = reads
        self._budgets = budgets
        self._watches = watches

    async def until_done(
        self,
        reader: Reader,
        backend: Backend,
        name: BackendName,
        timeout: timedelta | None,  # noqa: ASYNC109 - the RPC's field
        on_progress: OnProgress | None,
    ) -> Operation:
        """Return an operation once it is done, or its latest state after the timeout.

        The timeout is at most `MAX_WAIT`. `on_progress` gets every new state, and the latest one
        again after each `PROGRESS_INTERVAL`. The end of the timeout is not an error.
        """
        limit = min(self.default if timeout is None else timeout, MAX_WAIT)
        if not limit:
            return await self._reads.get(backend, name)
        end = asyncio.get_running_loop().time() + limit.total_seconds()
        # After this read there is a state to return, even if all later reads fail.
        turn = partial(self._turn_before, end, backend, reader)
        operation = await first_read(partial(self._reads.get, backend, name, turn))
        if operation.done or asyncio.get_running_loop().time() >= end:
            return operation
        every = PROGRESS_INTERVAL if on_progress is not None else None
        sightings = self._watches.follow(reader, backend, name, every=every)
        try:
            async with asyncio.timeout_at(end), aclosing(sightings):
                async for sighting in sightings:
                    operation = sighting.operation
                    if on_progress is not None:
                        await on_progress(sighting)
        except TimeoutError:
            if not operation.done:
                return await self._final_read(backend, name, operation)
        return operation

    async def _turn_before(self, end: float, backend: Backend, reader: Reader) -> None:
        """Wait for the turn of a poll, but at most until `end`, in the time of the loop.

        The caller then reads without a turn, as a caller that does not wait reads.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                await self._budgets.of(backend).turn(Readers(reader))

    async def quick_end(
        self, reader: Reader, backend: Backend, operation: Operation, grace: timedelta
    ) -> Operation:
        """Wait at most `grace` for a new operation to end, and return its latest state.

        Never raises, because the caller must learn of the started operation even if polls fail.
        """
        name = operation.backend_name
        sightings = self._watches.follow(reader, backend, name, ends_soon=True)
        try:
            async with asyncio.timeout(grace.total_seconds()), aclosing(sightings):
                async for sighting in sightings:
                    operation = sighting.operation
        except (TimeoutError, StatusError):
            pass
        return operation

    async def _final_read(
        self, backend: Backend, name: BackendName, latest: Operation
    ) -> Operation:
        """Read the operation once more, because `latest` may be up to one poll interval old.

        Return `latest` if the read fails or takes too long.
        """
        try:
            async with asyncio.timeout(_FINAL_READ):
                return await self._reads.get(backend, name)
        except (StatusError, TimeoutError):
            return latest

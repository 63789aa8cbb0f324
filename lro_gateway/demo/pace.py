"""The pace of an operation: a function that the operation awaits between two batches of work."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import TracebackType
from typing import Self

Pace = Callable[[], Awaitable[None]]


async def unpaced() -> None:
    """Return at once, so that work has no pauses."""


def steady(delay: timedelta) -> Pace:
    """Return a pace that waits for `delay` between batches."""

    async def wait() -> None:
        await asyncio.sleep(delay.total_seconds())

    return wait


class Gate:
    """A pace that can hold operations between batches.

    The gate is open at first. `async with gate:` holds operations until the block ends.
    """

    def __init__(self) -> None:
        self._held = False
        self._admitted = 0
        self._waiting = 0
        self._changed = asyncio.Event()

    async def __call__(self) -> None:
        """Wait until the gate is open or admits one batch."""
        self._waiting += 1
        self._announce()
        try:
            while self._held and not self._admitted:
                await self._changed.wait()
            self._admitted = max(0, self._admitted - 1)
        finally:
            self._waiting -= 1

    async def __aenter__(self) -> Self:
        self.hold()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def hold(self) -> None:
        """Hold every operation after its next batch."""
        self._held = True

    def release(self) -> None:
        """Open the gate, so that every operation runs."""
        self._held = False
        self._admitted = 0
        self._announce()

    def admit(self, batches: int = 1) -> None:
        """Let this number of further batches pass the gate, from any waiting operations."""
        self._admitted += batches
        self._announce()

    async def arrival(self, operations: int = 1) -> None:
        """Wait until this number of operations wait and all admitted batches have passed."""
        while self._waiting < operations or self._admitted:
            await self._changed.wait()

    def _announce(self) -> None:
        # This sets the event that every waiter waits for. A new event announces the next change.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

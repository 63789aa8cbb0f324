"""The pace of an operation: what it awaits between two batches of work."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import TracebackType
from typing import Self

Pace = Callable[[], Awaitable[None]]


async def unpaced() -> None:
    """Go on at once."""


def steady(delay: timedelta) -> Pace:
    """Return a pace that rests for `delay` between batches."""

    async def rest() -> None:
        await asyncio.sleep(delay.total_seconds())

    return rest


class Gate:
    """A pace that holds operations between batches until it lets them go on.

    It is open at first. `async with gate:` holds operations for the length of a block.
    """

    def __init__(self) -> None:
        self._held = False
        self._admitted = 0
        self._standing = 0
        self._changed = asyncio.Event()

    async def __call__(self) -> None:
        """Stand here until the gate is open or admits one batch."""
        self._standing += 1
        self._announce()
        try:
            while self._held and not self._admitted:
                await self._changed.wait()
            self._admitted = max(0, self._admitted - 1)
        finally:
            self._standing -= 1

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
        """Let no operation past its next batch."""
        self._held = True

    def release(self) -> None:
        """Let every operation run."""
        self._held = False
        self._admitted = 0
        self._announce()

    def admit(self, batches: int = 1) -> None:
        """Let that many further batches happen, of whichever operations stand here."""
        self._admitted += batches
        self._announce()

    async def arrival(self, operations: int = 1) -> None:
        """Wait until so many operations stand at the gate with no leave to go on."""
        while self._standing < operations or self._admitted:
            await self._changed.wait()

    def _announce(self) -> None:
        # Whoever waits holds on to the event of its time; the next change gets a new one.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

"""Blocking work in threads that never outlives the coroutine that waits for it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def _nothing() -> None:
    """Stand in for an interruption of work that is short."""


async def settled(work: asyncio.Future[Any], interrupt: Callable[[], None] = _nothing) -> None:
    """Wait until `work` is over, whatever its end and however often the wait is cancelled."""
    while not work.done():
        # Again and again: an interruption of work that has not begun yet is lost.
        interrupt()
        with suppress(asyncio.CancelledError):
            await asyncio.wait({work}, timeout=0.05)
    if not work.cancelled():
        # Looked at, or asyncio says that nobody did: who cancels work has no use for its failure.
        work.exception()


class Threads:
    """Runs blocking calls in threads; a cancelled call is interrupted and waited for.

    So a file or a connection is never closed under the thread that uses it.
    """

    def __init__(self, interrupt: Callable[[], None] = _nothing) -> None:
        self._interrupt = interrupt

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `work` returns."""
        running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await settled(running, self._interrupt)
            raise

"""Runs blocking work in threads. A coroutine that waits for work never ends before the work."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def _nothing() -> None:
    """Do nothing, because short work needs no interruption."""


async def wait_until_done(
    work: asyncio.Future[Any], interrupt: Callable[[], None] = _nothing
) -> None:
    """Wait until `work` is done, even if the wait itself is cancelled.

    A result or an error of the work is ignored.
    """
    while not work.done():
        # The interruption is repeated, because it has no effect on work that has not started yet.
        interrupt()
        with suppress(asyncio.CancelledError):
            await asyncio.wait({work}, timeout=0.05)
    if not work.cancelled():
        # This retrieves the error, because asyncio logs errors that are never retrieved.
        work.exception()


class Threads:
    """Runs blocking calls in threads. A cancel interrupts the call, then waits for its end.

    The caller can then close a file or a connection, because no thread uses it any more.
    """

    def __init__(self, interrupt: Callable[[], None] = _nothing) -> None:
        self._interrupt = interrupt

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a thread; return its result."""
        running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await wait_until_done(running, self._interrupt)
            raise

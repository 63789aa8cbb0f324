"""Runs blocking work in threads; the work ends before the coroutine that waits for it does."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def _nothing() -> None:
    """Do nothing: work that is short needs no interruption."""


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
        # asyncio logs an error that is never retrieved. Nothing needs the error of cancelled work.
        work.exception()


class Threads:
    """Runs blocking calls in threads; a cancelled call is interrupted, then waited for.

    A caller can close a file or a connection after the wait, because no thread uses it any more.
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

"""Tasks that have an owner: nothing runs that nobody waits for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self, TypeVar

logger: Final = logging.getLogger(__name__)

_T = TypeVar("_T")


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Open a TaskGroup that raises the error of its body as it is, not in an ExceptionGroup.

    The body ends the tasks that it started. A task that fails cancels the body.
    """
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        try:
            yield group
        except Exception as error:  # noqa: BLE001 - raised again below, once the group is closed
            failure = error
    if failure is not None:
        raise failure


async def race(work: Coroutine[Any, Any, _T], *rivals: Coroutine[Any, Any, object]) -> _T | None:
    """Return what `work` returns, or None if a rival ends first.

    The losers are cancelled and awaited. If `work` and a rival have both ended, `work` wins. An
    error of `work` is raised; an error of a rival counts as its end.
    """
    working = asyncio.ensure_future(work)
    tasks = [working, *(asyncio.ensure_future(rival) for rival in rivals)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class BackgroundTasks:
    """The tasks of a gateway that no request owns, as a context that ends them.

    A task that fails is logged and ends alone.
    """

    def __init__(self, grace: timedelta) -> None:
        """Take the time that calls get to end once the context is left."""
        self._grace = grace.total_seconds()
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._calls: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        """Open the group of the tasks."""
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel the tasks at once, and the calls if they do not end within the grace."""
        for task in self._tasks:
            task.cancel()
        try:
            # A backend that hangs must not keep the gateway from stopping.
            if self._calls:
                await asyncio.wait(self._calls, timeout=self._grace)
        finally:
            for call in self._calls:
                call.cancel()
            await self._group.__aexit__(None, None, None)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that is cancelled when the context is left."""
        return self._add(self._tasks, _logged(work))

    def start_call(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Start a task that gets the grace to end when the context is left; it must not raise."""
        return self._add(self._calls, work)

    def _add(
        self, tasks: set[asyncio.Task[Any]], work: Coroutine[Any, Any, _T]
    ) -> asyncio.Task[_T]:
        task = self._group.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    """Log a failure instead of raising it, because it would end every other task of the group."""
    try:
        await work
    except Exception:
        logger.exception("a background task failed")

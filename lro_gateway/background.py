"""Background tasks, each of which has an owner that waits for its end."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Generator
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self, TypeVar

logger: Final = logging.getLogger(__name__)

_T = TypeVar("_T")

_SLICE: Final = 0.005
"""Seconds that long computations take together before the event loop runs all other tasks."""
_FREEZE_AFTER: Final = 0.1
"""Seconds of long computations after which the objects are excluded from garbage collection."""
_CANCELLATION_TIMEOUT: Final = 5.0
"""Seconds that the gateway waits for a cancelled task to end."""


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Open a TaskGroup. An exception of its body is raised unchanged, not in an ExceptionGroup.

    The body must end the tasks that it started. A task that fails cancels the body.
    """
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        try:
            yield group
        except Exception as error:  # noqa: BLE001 - it is raised below, after the group has closed
            failure = error
    if failure is not None:
        raise failure


async def race(work: Coroutine[Any, Any, _T], *rivals: Coroutine[Any, Any, object]) -> _T | None:
    """Return the result of `work`, or None if a rival ends first.

    The coroutines that have not ended are then cancelled and awaited. If `work` and a rival have
    both ended, `race` returns the result of `work`. An exception of `work` is raised. A rival that
    raises an exception counts as ended.
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


class Interruption:
    """A context whose body ends early, and without an error, once `interrupt` is called.

    The body runs in the present task, and nothing else runs beside it, because there may be many
    thousands of such contexts.
    """

    __slots__ = ("_task", "has_come")

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self.has_come = False

    def interrupt(self) -> None:
        """End the body, if it has not ended. The body itself does not call this."""
        if self._task is not None and not self.has_come:
            self.has_come = True
            self._task.cancel()

    def __enter__(self) -> Self:
        """Let the present task be interrupted."""
        self._task = asyncio.current_task()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Ignore the end by `interrupt`, unless the task was cancelled by another too."""
        task, self._task = self._task, None
        if not self.has_come or task is None:
            return False
        is_cancelled_too = task.uncancel() > 0
        return isinstance(error, asyncio.CancelledError) and not is_cancelled_too


Steps = Generator[None, None, _T]
"""A long computation that yields after each short step, and returns its result."""


class Slices:
    """Runs long computations on the event loop in slices of a few milliseconds.

    All computations that share one object take turns, so that the loop runs all other tasks after
    each slice, however many computations there are. No step should take longer than a slice.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._ends = 0.0
        self._unfrozen = 0.0
        self._has_frozen = False
        self._has_garbage = False

    async def pause(self) -> None:
        """Let other tasks run if the present slice is over. Call this before each step."""
        if time.monotonic() < self._ends:
            return
        async with self._turn:
            await asyncio.sleep(0)
            self._ends = time.monotonic() + _SLICE

    async def run(self, steps: Steps[_T]) -> _T:
        """Run a computation in slices, and return its result.

        After each tenth of a second of computing, all objects are excluded from garbage collection,
        because one collection would visit the whole result of a large computation at once.
        """
        while True:
            await self.pause()
            began = time.monotonic()
            try:
                while time.monotonic() < self._ends:
                    next(steps)
            except StopIteration as end:
                result: _T = end.value
                return result
            finally:
                self._unfrozen += time.monotonic() - began
                if self._unfrozen > _FREEZE_AFTER:
                    self._unfrozen = 0.0
                    self._has_frozen = True
                    gc.freeze()

    def drop_later(self) -> None:
        """Note that the result of a large computation will not be needed any more."""
        self._has_garbage = self._has_frozen

    def drop(self) -> None:
        """Collect the results that `drop_later` meant. This may take some 100 ms."""
        if self._has_garbage:
            self._has_garbage = False
            gc.unfreeze()
            gc.collect()
            gc.freeze()


def completed(steps: Steps[_T]) -> _T:
    """Run a computation at once, and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result


class _Tasks(set[asyncio.Task[Any]]):
    """Running tasks."""

    def __init__(self) -> None:
        super().__init__()
        # One object for all tasks, because there may be many thousands of them.
        self._on_end = self._remove

    def start(
        self, work: Coroutine[Any, Any, _T], context: Context | None = None
    ) -> asyncio.Task[_T]:
        """Start a task, which is in the set until it ends."""
        if context is None:
            context = copy_context()
        task = asyncio.create_task(work, context=context)
        self.add(task)
        # A second callback, or a context of its own, would cost memory in each of many thousands of
        # tasks.
        task.add_done_callback(self._on_end, context=context)
        return task

    def _remove(self, task: asyncio.Task[Any]) -> None:
        self.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a background task failed", exc_info=error)


class BackgroundTasks:
    """Tasks that belong to the gateway and not to one request.

    When the context ends, tasks are cancelled at once, and calls are cancelled after a grace
    period. If a task or a call fails, its failure is logged, and the other tasks and calls go
    on.
    """

    def __init__(self, grace: timedelta) -> None:
        """Set the grace period, which is how long calls may go on after the context ends."""
        self._grace = grace.total_seconds()
        self._tasks = _Tasks()
        self._calls = _Tasks()

    async def __aenter__(self) -> Self:
        """Return this object."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel the tasks at once, and the calls that do not end within the grace period."""
        try:
            await _end(self._tasks)
            # Without the timeout, a backend that hangs would keep the gateway from stopping.
            if self._calls:
                await asyncio.wait(self._calls, timeout=self._grace)
        finally:
            await _end(self._calls)

    def start(
        self, work: Coroutine[Any, Any, None], context: Context | None = None
    ) -> asyncio.Task[None]:
        """Start a task that is cancelled when the context ends.

        The task runs in the given context, or in an empty one. It belongs to no caller, so it has
        no context variable of the caller that happens to start it.
        """
        # An empty context is false.
        return self._tasks.start(work, Context() if context is None else context)

    def start_call(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Start a call, which may go on for the grace period after the context ends.

        The call runs in a copy of the context of its caller.
        """
        return self._calls.start(work)


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    ending = [*tasks]
    for task in ending:
        task.cancel()
    if ending:
        _, running = await asyncio.wait(ending, timeout=_CANCELLATION_TIMEOUT)
        for task in running:
            logger.error("a background task ignores its cancellation: %r", task)

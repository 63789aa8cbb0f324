"""Watches of lists: one poll loop for each list, which any number of readers share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from lro_gateway.background import BackgroundTasks
from lro_gateway.errors import StatusError, unexpected_error
from lro_gateway.operations.operation import Operation, OperationPage
from lro_gateway.service.polling import OUT_OF_REACH, jittered
from lro_gateway.service.shutdown import Shutdown, shutting_down

_INTERVAL: Final = 2.0
"""Seconds between two polls of a list. Polls are rare because each one calls every backend."""

ReadPage = Callable[[], Awaitable[OperationPage]]
"""Reads the latest state of the watched page."""


@dataclass(slots=True)
class _ListWatch:
    """The latest page of a list.

    A newer page sets the event `changed`, and a new event takes its place.
    """

    page: OperationPage | None = None
    failure: StatusError | None = None
    readers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Wake every reader, because the page or the failure has changed."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class ListWatches:
    """The watches of lists. A watch starts with its first reader and ends with its last one."""

    def __init__(self, tasks: BackgroundTasks, shutdown: Shutdown) -> None:
        self._tasks = tasks
        self._shutdown = shutdown
        self._watches: dict[Hashable, _ListWatch] = {}

    async def follow(
        self, key: Hashable, read: ReadPage, *, every: float
    ) -> AsyncGenerator[tuple[Operation, ...]]:
        """Yield the operations of a page, then new and changed ones, until the reader stops.

        Yields an empty tuple after `every` seconds without a change. Raises any error of the first
        read. After that, a read that fails with UNAVAILABLE or DEADLINE_EXCEEDED is repeated, and
        other errors are raised. Readers with the same `key` share one watch.
        """
        if self._shutdown.has_begun:
            raise _shutting_down()
        watch = self._watches.get(key)
        # Readers that have not seen its error still use a failed watch. New readers get a new one.
        if watch is None or watch.failure is not None:
            watch = self._watches[key] = _ListWatch()
            watch.task = self._tasks.start(self._run(watch, read))
        watch.readers += 1
        known: dict[str, Operation] = {}
        try:
            while True:
                changed = watch.changed
                if watch.failure is not None:
                    raise watch.failure.with_traceback(None)
                if watch.page is not None:
                    yield _changes(watch.page, known)
                with suppress(TimeoutError):
                    async with asyncio.timeout(every):
                        await changed.wait()
        finally:
            watch.readers -= 1
            if not watch.readers and watch.task is not None:
                watch.task.cancel()
                if self._watches.get(key) is watch:
                    del self._watches[key]

    def close(self) -> None:
        """Raise UNAVAILABLE in every reader, because the gateway stops."""
        for watch in self._watches.values():
            watch.failure = _shutting_down()
            watch.wake()

    async def _run(self, watch: _ListWatch, read: ReadPage) -> None:
        try:
            await self._poll(watch, read)
        except StatusError as error:
            watch.failure = error
        except Exception as error:  # noqa: BLE001 - unexpected_error logs it
            watch.failure = unexpected_error("the watch of a list", error)
        watch.wake()

    async def _poll(self, watch: _ListWatch, read: ReadPage) -> None:
        while True:
            try:
                watch.page = await read()
            except StatusError as error:
                if watch.page is None or error.code not in OUT_OF_REACH:
                    raise
            else:
                watch.wake()
            await asyncio.sleep(jittered(_INTERVAL))


def _changes(page: OperationPage, known: dict[str, Operation]) -> tuple[Operation, ...]:
    """Return the operations that are new or changed, and replace `known` by this page.

    An operation that has left the page counts as new when it is on the page again.
    """
    changes = tuple(
        each
        for each in page.operations
        if each.name not in known or each.proto != known[each.name].proto
    )
    known.clear()
    known.update((each.name, each) for each in page.operations)
    return changes


def _shutting_down() -> StatusError:
    return shutting_down("the operations go on, so call again")

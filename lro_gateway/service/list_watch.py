"""Lists under watch: one poll loop per list, any number of readers."""

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
"""Seconds between two polls of a list, because each costs a call of every backend."""

ReadPage = Callable[[], Awaitable[OperationPage]]
"""Reads the page that is watched."""


@dataclass(slots=True)
class _ListWatch:
    """The latest page of a list. When a newer page comes, `changed` is set and replaced."""

    page: OperationPage | None = None
    failure: StatusError | None = None
    readers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Have every reader look at the page."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class ListWatches:
    """The watched lists. Each begins with its first reader and ends with its last."""

    def __init__(self, tasks: BackgroundTasks, shutdown: Shutdown) -> None:
        self._tasks = tasks
        self._shutdown = shutdown
        self._watches: dict[Hashable, _ListWatch] = {}

    async def follow(
        self, key: Hashable, read: ReadPage, *, every: float
    ) -> AsyncGenerator[tuple[Operation, ...]]:
        """Yield the operations of a page, then those that are new or changed, without an end.

        Yields no operation after `every` seconds without news. Raises the error of the first read,
        and later every error but one of reaching a backend. Readers with one `key` share a watch.
        """
        if self._shutdown.has_begun:
            raise _shutting_down()
        watch = self._watches.get(key)
        # A watch that has failed remains for its slow readers, and takes no new ones.
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
        """End every reader with UNAVAILABLE, because the gateway stops."""
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
    """Return the operations that are new or changed, and remember this page as `known`.

    An operation that left the page is new if it comes back.
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
    return shutting_down("the operations go on: ask again")

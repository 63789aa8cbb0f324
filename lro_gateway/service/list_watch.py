"""Lists under watch: one poll loop per list, any number of readers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from lro_gateway.errors import Code, StatusError, status_error
from lro_gateway.operations.operation import Operation, OperationPage
from lro_gateway.service.polling import OUT_OF_REACH, jittered
from lro_gateway.service.watch import Spawn, shutting_down

logger: Final = logging.getLogger(__name__)

_INTERVAL: Final = 2.0
"""Seconds between two looks at a list; one costs its backends a call each."""

Look = Callable[[], Awaitable[OperationPage]]


@dataclass(slots=True)
class _ListWatch:
    """The latest page of a list; `changed` is set, and another made, when there is a newer one."""

    page: OperationPage | None = None
    failure: StatusError | None = None
    readers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Have every reader look."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class ListWatches:
    """The lists that are watched; each begins with its first reader and ends with its last."""

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._watches: dict[Hashable, _ListWatch] = {}
        self._closing = False

    async def follow(
        self, key: Hashable, look: Look, *, every: float
    ) -> AsyncGenerator[tuple[Operation, ...]]:
        """Yield the operations of a list, then those that are new or changed, without an end.

        Nothing whenever `every` seconds have brought none. Raises what the first look meets, and
        later whatever is not about reaching a backend. `key` tells which readers share a list.
        """
        if self._closing:
            raise shutting_down()
        watch = self._watches.get(key)
        # One that has failed lasts while a slow reader has yet to see it, for that reader alone.
        if watch is None or watch.failure is not None:
            watch = self._watches[key] = _ListWatch()
            watch.task = self._spawn(self._run(watch, look))
        watch.readers += 1
        seen: dict[str, Operation] = {}
        try:
            while True:
                changed = watch.changed
                if watch.failure is not None:
                    raise watch.failure.with_traceback(None)
                if watch.page is not None:
                    yield _news(watch.page, seen)
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
        """End every reader with UNAVAILABLE, and take no more."""
        self._closing = True
        for watch in self._watches.values():
            watch.failure = shutting_down()
            watch.wake()

    async def _run(self, watch: _ListWatch, look: Look) -> None:
        try:
            await self._poll(watch, look)
        except StatusError as error:
            watch.failure = error
        except Exception:
            # A mistake of ours in one watch must not end the gateway.
            logger.exception("the watch of a list failed")
            watch.failure = status_error(
                Code.INTERNAL, "the gateway failed; its log says why", "INTERNAL"
            )
        watch.wake()

    async def _poll(self, watch: _ListWatch, look: Look) -> None:
        while True:
            try:
                watch.page = await look()
            except StatusError as error:
                if watch.page is None or error.code not in OUT_OF_REACH:
                    raise
            else:
                watch.wake()
            await asyncio.sleep(jittered(_INTERVAL))


def _news(page: OperationPage, seen: dict[str, Operation]) -> tuple[Operation, ...]:
    """Return what a reader has not seen so; it has then, and what is gone it may see again."""
    news = tuple(
        each
        for each in page.operations
        if each.name not in seen or each.proto != seen[each.name].proto
    )
    seen.clear()
    seen.update((each.name, each) for each in page.operations)
    return news

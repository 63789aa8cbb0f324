"""Watches of lists: one poll loop for each list, which any number of readers share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from lro_gateway.backends.backend import Backend
from lro_gateway.background import BackgroundTasks, Slices
from lro_gateway.errors import StatusError, code_name, unexpected_error
from lro_gateway.operations.operation import Operation, OperationPage, State
from lro_gateway.principal import Principal, Reader
from lro_gateway.service.budget import Budgets, Readers
from lro_gateway.service.listing import Turn
from lro_gateway.service.patience import Patience
from lro_gateway.service.polling import jittered
from lro_gateway.service.shutdown import Shutdown, shutting_down
from lro_gateway.service.verb_requests import ListRequest
from lro_gateway.service.watch_bounds import WatchBounds
from lro_gateway.telemetry.spans import StreamSpan
from lro_gateway.telemetry.tracing import SharedSpan

_INTERVAL: Final = 2.0
"""Seconds between two polls of a list. Polls are rare because each one calls every backend."""

ReadPage = Callable[[Turn], Awaitable[OperationPage]]
"""Reads the latest state of the watched page. Each call of a backend waits for its turn."""


View = Callable[[Operation], Awaitable[Hashable]]
"""Returns what a reader shows of an operation, or a digest of it."""


@dataclass(frozen=True, slots=True)
class ListChange:
    """The operations of a list that are new or changed, and the names of those that have left it.

    An operation leaves a list if it was deleted, or if newer ones are on the first page instead. It
    does not leave because its backend cannot be reached.
    """

    operations: tuple[Operation, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Shown:
    """The latest state of an operation that a reader has received, and its view."""

    operation: Operation
    view: Hashable


@dataclass(slots=True)
class _ListWatch:
    """The latest page of a list.

    A page that differs sets the event `changed`, and a new event takes its place.
    """

    span: SharedSpan
    page: OperationPage | None = None
    failure: StatusError | None = None
    readers: Readers = field(default_factory=Readers)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Wake every reader, because the page or the failure has changed."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class ListWatches:
    """The watches of lists. A watch starts with its first reader and ends with its last one."""

    def __init__(
        self, tasks: BackgroundTasks, budgets: Budgets, shutdown: Shutdown, bounds: WatchBounds
    ) -> None:
        self._tasks = tasks
        self._bounds = bounds
        self._budgets = budgets
        self._shutdown = shutdown
        self._watches: dict[Hashable, _ListWatch] = {}

    async def follow(
        self, caller: Principal, request: ListRequest, read: ReadPage, view: View, *, every: float
    ) -> AsyncGenerator[ListChange]:
        """Yield the operations of a page, then each change of the list, until the reader stops.

        An operation has changed if its `view` has changed. If the request has a state, an operation
        in another state counts only if the reader has it already. Yields an empty change if the
        page has changed and the views have not, and after `every` seconds without a change. Raises
        an error that `Patience` does not outlast. Readers with the same caller and request share
        one watch, and thus the `read` of its first reader.
        """
        reader, key = caller.reader, (caller, request)
        with StreamSpan("watch_list", request.name) as span:
            watch = self._joined(reader, key, read, request.name)
            watch.span.link(span)
            known: dict[str, _Shown] = {}
            try:
                while True:
                    changed = watch.changed
                    if watch.failure is not None:
                        raise watch.failure.with_traceback(None)
                    if watch.page is not None:
                        yield await _changes(watch.page, known, view, request.state)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(every):
                            await changed.wait()
            finally:
                self._bounds.leave(reader)
                watch.readers.leave(reader)
                if not watch.readers:
                    self._end(key, watch)

    def _joined(self, reader: Reader, key: Hashable, read: ReadPage, name: str) -> _ListWatch:
        """Return the watch of a list with one more reader. Start it if it is new."""
        if self._shutdown.has_begun:
            raise _shutting_down()
        self._bounds.enter(reader)
        watch = self._watches.get(key)
        # Readers that have not seen its error still use a failed watch. New readers get a new one.
        if watch is None or watch.failure is not None:
            watch = self._watches[key] = _ListWatch(SharedSpan("poll_list", name))
            watch.task = self._tasks.start(self._run(watch, read), watch.span.context)
        watch.readers.join(reader)
        return watch

    def _end(self, key: Hashable, watch: _ListWatch) -> None:
        if watch.task is not None:
            watch.task.cancel()
        watch.span.end(code_name(watch.failure.status.code) if watch.failure else "OK")
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
        patience = Patience(knows_state=False)

        async def turn(backend: Backend) -> None:
            await self._budgets.of(backend).turn(watch.readers)

        while True:
            try:
                page = await read(turn)
            except StatusError as error:
                pause = patience.pause_after(error)
            else:
                if watch.page is None or not _is_same(page, watch.page):
                    watch.page = page
                    watch.wake()
                patience = Patience()
                pause = jittered(_INTERVAL)
            await asyncio.sleep(pause)


async def _changes(
    page: OperationPage, known: dict[str, _Shown], view: View, state: State | None
) -> ListChange:
    """Return how a list has changed, and replace `known` by this page.

    An operation that has left the list counts as new when it is on the list again. An operation in
    another state than `state` counts only if it is known.
    """
    changes = []
    shown: dict[str, _Shown] = {}
    slices = Slices()
    for each in page.operations:
        await slices.pause()
        before = known.get(each.name)
        if before is None and state not in {None, each.state}:
            continue
        # A view is made only of a changed message, because it may be the whole JSON.
        if before is not None and _has_same_message(each, before.operation):
            shown[each.name] = before
            continue
        after = shown[each.name] = _Shown(each, await view(each))
        if before is None or before.view != after.view:
            changes.append(each)
    missing = {name: known[name] for name in known.keys() - shown.keys()}
    unknown = {name: each for name, each in missing.items() if _is_unreachable(each, page)}
    known.clear()
    known.update(shown | unknown)
    return ListChange(tuple(changes), tuple(sorted(missing.keys() - unknown.keys())))


def _is_unreachable(shown: _Shown, page: OperationPage) -> bool:
    """Return whether an operation may be missing because its backend or parent did not answer."""
    backend = f"//{shown.operation.backend}"
    return any(f"{each}/".startswith(f"{backend}/") for each in page.unreachable)


def _is_same(page: OperationPage, other: OperationPage) -> bool:
    return len(page.operations) == len(other.operations) and all(
        one.name == another.name and _has_same_message(one, another)
        for one, another in zip(page.operations, other.operations, strict=True)
    )


def _has_same_message(operation: Operation, other: Operation) -> bool:
    return operation.proto is other.proto or bool(operation.proto == other.proto)


def _shutting_down() -> StatusError:
    return shutting_down("the operations go on, so call again")

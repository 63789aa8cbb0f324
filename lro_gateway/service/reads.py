"""Reads of operations: simultaneous reads of one operation share one RPC."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cachetools import LRUCache

from lro_gateway.backends.backend import Backend
from lro_gateway.errors import StatusError
from lro_gateway.operations.names import BackendName
from lro_gateway.operations.operation import Operation
from lro_gateway.telemetry.tracing import Span, current_span, link_to

_DONE_FRESHNESS: Final = 5.0
"""Seconds for which the state of a finished operation is reused."""
_IDLE: Final = 30.0
"""Seconds after which a state that no caller has read is dropped."""
MAX_BYTES: Final = 32 * 2**20
"""The default of the maximum size of all kept states, as they are in memory."""
_MIN_SIZE: Final = 8192
"""Each state counts as at least this many bytes, which also limits the number of states."""

Turn = Callable[[], Awaitable[None]]
"""Waits for the turn of a poll."""

Ask = Callable[[Backend, BackendName], Awaitable[Operation]]
"""Asks a backend for an operation."""

Recall = Callable[[Backend, BackendName, StatusError], Awaitable[Operation]]
"""Returns an operation whose read has failed, or raises an error."""

Ended = Callable[[Backend, BackendName], None]
"""Gets an operation that has ended."""

Key = tuple[Hashable, BackendName]
"""A backend's key, and an operation's name in that backend's form."""


@dataclass(slots=True)
class _Kept:
    """A kept state: when it was read and last used, in seconds of the loop, and its size."""

    operation: Operation
    since: float
    used: float
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """A running call, and the span of the caller that made it.

    The outcome is None if that caller was cancelled.
    """

    outcome: asyncio.Future[Operation | StatusError | None]
    span: Span


def _size_of(kept: _Kept) -> int:
    return kept.size


def _memory_of(operation: Operation) -> int:
    return max(operation.memory, _MIN_SIZE)


class Reads:
    """The latest states of operations, and the running calls that read newer ones.

    A state is reused while it is younger than its backend's `freshness`, or for 5 seconds if the
    operation is done. A freshness of 0 turns reuse off. The JSON of a message is kept with it until
    the message changes. When space is needed, the least recently used states are dropped.
    `max_bytes` bounds the memory of the states with all their JSON.
    """

    def __init__(
        self, max_bytes: int = MAX_BYTES, recall: Recall | None = None, ask: Ask = Backend.get
    ) -> None:
        """`recall` may answer if a backend does not. It gets the error, and raises it if not."""
        self.ended: Ended | None = None
        """Is told of each end that a backend answers, if it is set."""
        self._recall = recall
        self._ask = ask
        self._kept: LRUCache[Key, _Kept] = LRUCache(max_bytes, getsizeof=_size_of)
        self._calls: dict[Key, _Call] = {}
        self._returned: set[Key] = set()
        """The states whose readers may have made JSON since they were counted."""

    @property
    def memory(self) -> int:
        """The number of bytes that the kept states need."""
        self._count_again()
        return int(self._kept.currsize)

    def sweep(self) -> None:
        """Drop the states that no caller has read for 30 seconds, and count the others again."""
        now = asyncio.get_running_loop().time()
        for key in [key for key, kept in self._kept.items() if now - kept.used > _IDLE]:
            del self._kept[key]
        self._returned.update(self._kept)
        self._count_again()

    async def get(self, backend: Backend, name: BackendName, turn: Turn | None = None) -> Operation:
        """Return a fresh state, which is a kept one or the answer of a running or a new call.

        A new call waits for its `turn`, unless another caller makes the call meanwhile.
        """
        key = (backend.key, name)
        if self._returned:
            self._count_again()
        while True:
            if (known := self._fresh(key, backend.watch_rules.freshness)) is not None:
                return known
            call = self._calls.get(key)
            if call is None and turn is not None:
                await turn()
                turn = None
                continue
            if call is None:
                return await self._fetch(key, backend)
            link_to(call.span)
            outcome = await asyncio.shield(call.outcome)
            if isinstance(outcome, StatusError):
                # All callers raise this one error. Its traceback would keep their frames in memory.
                raise outcome.with_traceback(None)
            if outcome is not None:
                return outcome
            # The caller that made the call was cancelled, so another caller makes a new call.

    async def recall(self, backend: Backend, name: BackendName, error: StatusError) -> Operation:
        """Return what is still known of an operation whose read has failed, or raise an error."""
        if self._recall is None:
            raise error
        return await self._recall(backend, name, error)

    async def _answer(self, name: BackendName, backend: Backend) -> Operation:
        try:
            return await self._ask(backend, name)
        except StatusError as error:
            return await self.recall(backend, name, error)

    async def newest(self, backend: Backend, name: BackendName) -> Operation:
        """Return the state that the backend answers now."""
        return await self._answer(name, backend)

    def knows(self, backend: Backend, name: BackendName) -> bool:
        """Return whether a state is kept, fresh or not."""
        return (backend.key, name) in self._kept

    def drop(self, backend: Backend, name: BackendName, *, also_done: bool) -> None:
        """Drop the kept state, and do not keep the answer of a running call.

        Both may be out of date. A finished operation does not change, so its state is dropped
        only if `also_done` is True, because the operation was deleted.
        """
        key = (backend.key, name)
        kept = self._kept.get(key)
        if kept is not None and (also_done or not kept.operation.done):
            del self._kept[key]
        self._calls.pop(key, None)

    def keep(self, backend: Backend, name: BackendName, operation: Operation) -> Operation:
        """Keep a state, and return it.

        If its message equals the kept message, the returned state reuses the JSON of the kept one.
        """
        key = (backend.key, name)
        known = self._kept.pop(key, None)
        if known is not None:
            operation = known.operation.seen_again(operation)
        now = asyncio.get_running_loop().time()
        self._put(key, _Kept(operation, now, now, _memory_of(operation)))
        return operation

    def _put(self, key: Key, kept: _Kept) -> None:
        if kept.size <= self._kept.maxsize:
            self._kept[key] = kept
            self._returned.add(key)

    def _count_again(self) -> None:
        """Count the JSON that the readers of the returned states have made."""
        returned, self._returned = self._returned, set()
        for key in returned:
            kept = self._kept.get(key)
            if kept is not None and (size := _memory_of(kept.operation)) != kept.size:
                del self._kept[key]
                kept.size = size
                self._put(key, kept)

    def _fresh(self, key: Key, freshness: timedelta) -> Operation | None:
        known = self._kept.get(key)
        if known is None or not freshness:
            return None
        max_age = _DONE_FRESHNESS if known.operation.done else freshness.total_seconds()
        now = asyncio.get_running_loop().time()
        if now - known.since >= max_age:
            return None
        known.used = now
        if not known.operation.rendering.is_counted:
            self._returned.add(key)
        return known.operation

    async def _fetch(self, key: Key, backend: Backend) -> Operation:
        future = asyncio.get_running_loop().create_future()
        call = self._calls[key] = _Call(future, current_span())
        outcome: Operation | StatusError | None = None
        try:
            operation = await self._answer(key[1], backend)
            if self.ended is not None and operation.done and operation.archived is None:
                self.ended(backend, key[1])
            # If the operation was cancelled or deleted during the call, this state is old.
            is_current = self._calls.get(key) is call
            is_reused = is_current and backend.watch_rules.freshness
            outcome = self.keep(backend, key[1], operation) if is_reused else operation
        except StatusError as error:
            outcome = error
            raise
        else:
            return outcome
        finally:
            if self._calls.get(key) is call:
                del self._calls[key]
            future.set_result(outcome)

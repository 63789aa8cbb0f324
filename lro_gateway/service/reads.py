"""Reads that coalesce: callers that ask for one operation at one time cost its backend one RPC."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cachetools import LRUCache

from lro_gateway.backends.backend import Backend
from lro_gateway.errors import StatusError
from lro_gateway.operations.names import BackendName
from lro_gateway.operations.operation import Operation

_FINISHED_FOR: Final = 60.0
"""Seconds for which the state of a finished operation is reused."""
_MOST_OPERATIONS: Final = 4096
_MOST_BYTES: Final = 32 * 2**20
"""The most bytes of kept messages, as they are on the wire. Objects and JSON are larger."""
_SMALLEST: Final = _MOST_BYTES // _MOST_OPERATIONS
"""The bytes that a message counts for at least, so that one bound holds both kinds of most."""

Key = tuple[str, BackendName]
"""A backend's name, and an operation's name."""


@dataclass(frozen=True, slots=True)
class _Kept:
    operation: Operation
    since: float
    size: int


def _size_of(kept: _Kept) -> int:
    return kept.size


class Reads:
    """The latest states of operations, and the calls under way that bring newer ones.

    A state is reused while it is younger than its backend's `freshness`, or for a minute if the
    operation is done. A freshness of 0 turns this off. The rendering of a message that has not
    changed is kept with it. The states used longest ago are forgotten first.
    """

    def __init__(self) -> None:
        self._kept: LRUCache[Key, _Kept] = LRUCache(_MOST_BYTES, getsizeof=_size_of)
        self._calls: dict[Key, asyncio.Future[Operation | StatusError | None]] = {}

    async def get(self, backend: Backend, name: BackendName) -> Operation:
        """Return a fresh state. Join the call that is under way, or make one."""
        key = (backend.name, name)
        while True:
            if (known := self._fresh(key, backend.watch_rules.freshness)) is not None:
                return known
            call = self._calls.get(key)
            if call is None:
                return await self._fetch(key, backend)
            outcome = await asyncio.shield(call)
            if isinstance(outcome, StatusError):
                # All callers raise one error. With its traceback it would hold their frames.
                raise outcome.with_traceback(None)
            if outcome is not None:
                return outcome
            # The caller that made the call has left, so another one must make it.

    def drop(self, backend: Backend, name: BackendName) -> None:
        """Forget a state that is about to change, and the one that a call under way will bring."""
        key = (backend.name, name)
        self._kept.pop(key, None)
        self._calls.pop(key, None)

    def keep(self, backend: Backend, name: BackendName, operation: Operation) -> Operation:
        """Keep a state. Return it with the rendering that is kept, if the message is the same."""
        key = (backend.name, name)
        known = self._kept.pop(key, None)
        if known is not None:
            operation = known.operation.seen_again(operation)
        if known is not None and operation.is_message_of(known.operation):
            size = known.size
        else:
            size = max(operation.proto.ByteSize(), _SMALLEST)
        if size <= self._kept.maxsize:
            self._kept[key] = _Kept(operation, asyncio.get_running_loop().time(), size)
        return operation

    def _fresh(self, key: Key, freshness: timedelta) -> Operation | None:
        known = self._kept.get(key)
        if known is None or not freshness:
            return None
        lasts = _FINISHED_FOR if known.operation.done else freshness.total_seconds()
        if asyncio.get_running_loop().time() - known.since < lasts:
            return known.operation
        return None

    async def _fetch(self, key: Key, backend: Backend) -> Operation:
        call = self._calls[key] = asyncio.get_running_loop().create_future()
        outcome: Operation | StatusError | None = None
        try:
            operation = await backend.get(key[1])
            # After a cancel or a delete in the meantime this is the state of before.
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
            call.set_result(outcome)

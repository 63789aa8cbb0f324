"""Reads that coalesce: callers who ask for one operation at one time cost its backend one RPC."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from lro_gateway.backends.backend import Backend
from lro_gateway.errors import StatusError
from lro_gateway.operations.operation import Operation

_FINISHED_FOR: Final = 60.0
"""Seconds for which an operation that is done is known."""
_MOST: Final = 4096
_MOST_BYTES: Final = 32 * 2**20
"""The most that known messages may have on the wire; as objects and JSON they are larger."""

Key = tuple[str, str]
"""A backend's name, and an operation's in the backend's form."""


@dataclass(frozen=True, slots=True)
class _Known:
    operation: Operation
    since: float
    size: int


class Reads:
    """The latest states of operations, and the calls that are bringing newer ones.

    A state is reused while it is younger than its backend's `freshness`, or for a minute if it is
    done; with a freshness of 0 never. What was made of a message that has not changed is kept.
    Messages may be large: so many bytes of them are known, the latest.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[Key, _Known] = OrderedDict()
        self._size = 0
        self._flights: dict[Key, asyncio.Future[Operation | StatusError | None]] = {}

    async def get(self, backend: Backend, name: str) -> Operation:
        """Return a state that is fresh; join the call that is under way, or make one."""
        key = (backend.name, name)
        while True:
            if (known := self._fresh(key, backend.watch_rules.freshness)) is not None:
                return known
            flight = self._flights.get(key)
            if flight is None:
                return await self._fetch(key, backend)
            outcome = await asyncio.shield(flight)
            if isinstance(outcome, StatusError):
                # One error for all: with its traceback it would hold every caller's frames.
                raise outcome.with_traceback(None)
            if outcome is not None:
                return outcome
            # Whoever made the call has left: somebody else must.

    def drop(self, backend: Backend, name: str) -> None:
        """Forget a state, also that which a call under way will bring: it is about to change."""
        key = (backend.name, name)
        self._forget(key)
        self._flights.pop(key, None)

    def keep(self, backend: Backend, name: str, operation: Operation) -> Operation:
        """Remember a state; return it, as the known object if it is the same message."""
        key = (backend.name, name)
        known = self._forget(key)
        if known is not None:
            operation = known.operation.seen_again(operation)
        if known is not None and operation.is_message_of(known.operation):
            size = known.size
        else:
            size = operation.proto.ByteSize()
        self._known[key] = _Known(operation, asyncio.get_running_loop().time(), size)
        self._size += size
        while len(self._known) > _MOST or self._size > _MOST_BYTES:
            self._forget(next(iter(self._known)))
        return operation

    def _forget(self, key: Key) -> _Known | None:
        known = self._known.pop(key, None)
        self._size -= known.size if known is not None else 0
        return known

    def _fresh(self, key: Key, freshness: timedelta) -> Operation | None:
        known = self._known.get(key)
        if known is None or not freshness:
            return None
        lasts = _FINISHED_FOR if known.operation.done else freshness.total_seconds()
        if asyncio.get_running_loop().time() - known.since < lasts:
            return known.operation
        return None

    async def _fetch(self, key: Key, backend: Backend) -> Operation:
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        outcome: Operation | StatusError | None = None
        try:
            operation = await backend.get(key[1])
            # A cancel or a delete in the meantime has made this the state of before.
            is_current = self._flights.get(key) is flight
            is_reused = is_current and backend.watch_rules.freshness
            outcome = self.keep(backend, key[1], operation) if is_reused else operation
        except StatusError as error:
            outcome = error
            raise
        else:
            return outcome
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]
            flight.set_result(outcome)

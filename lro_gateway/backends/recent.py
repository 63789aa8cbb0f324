"""The operations that a backend may not find yet, because they have just begun.

Many backends write an operation to one store and read it from another. For the first seconds after
a start, their GetOperation answers NOT_FOUND for an operation that runs.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.operations.names import BackendName, GatewayName
from lro_gateway.operations.operation import Operation
from lro_gateway.operations.watch_rules import WatchRules

RECENT: Final = 30.0
"""Seconds since the gateway first met an operation, in which NOT_FOUND does not mean its end."""
_MAX_BYTES: Final = 8 * 2**20
"""The maximum total size of the kept messages, in bytes of memory."""
_BYTES_OF_VIEW: Final = 128 * 1024
"""The maximum for one caller's view of a backend."""
_MIN_SIZE: Final = _MAX_BYTES // 8192
"""Each message counts as at least this many bytes, which also limits the number of messages."""


IsGone = Callable[[Operation], Awaitable[bool]]
"""Gets the last state of an operation that a backend does not find, and returns whether the
operation is known to have ended since or to be deleted. It raises nothing."""

_State = tuple[GatewayName, Any, TypeSet, float]
"""The `name`, `proto`, `types` and `first_seen` of an `Operation`.

The JSON that readers make of an answer is not kept here. Measured: a copy of the `Operation`
without its JSON would cost each read 13 µs.
"""


@dataclass(slots=True)
class _Met:
    """The last state of an operation, or None if it was deleted through this process."""

    state: _State | None
    since: float
    size: int


def is_recent(operation: Operation) -> bool:
    """Return whether the gateway first met an operation less than 30 seconds before this answer."""
    return operation.received - operation.first_seen < RECENT


def was_recently(begun: float) -> bool:
    """Return whether a time, in seconds since the epoch, is less than 30 seconds ago."""
    return time.time() - begun < RECENT


class RecentOperations:
    """The last states of a backend's operations that the gateway first met in the last 30 seconds.

    Measured: the caches of cachetools would make each read of a new operation a tenth slower.
    """

    def __init__(self, backend: str, rules: WatchRules, max_bytes: int | None = None) -> None:
        """Set the maximum total size of the kept messages, in bytes of memory."""
        self.is_gone: IsGone | None = None
        """Knows what other replicas have learned, if it is set."""
        self._max_bytes = _MAX_BYTES if max_bytes is None else max_bytes
        self._backend = backend
        self._rules = rules
        self._met: dict[BackendName, _Met] = {}
        self._size = 0

    def of_view(self) -> RecentOperations:
        """Return an empty object for a caller's view of the backend."""
        found = RecentOperations(self._backend, self._rules, _BYTES_OF_VIEW)
        found.is_gone = self.is_gone
        return found

    def __contains__(self, name: BackendName) -> bool:
        """Return whether an operation is recent, or was deleted less than 30 seconds ago."""
        return self._find(name) is not None

    def note(self, operation: Operation, *, has_begun: bool = False) -> None:
        """Keep an answered state, if the operation is recent.

        An operation is recent if it `has_begun` with this answer, or if it was running when the
        gateway first met it. A finished operation that the backend found is no longer new.
        """
        if not is_recent(operation):
            return
        name = operation.backend_name
        known = self._met.get(name)
        if known is not None and was_recently(known.since):
            if known.state is not None:
                self._set(known, operation)
        elif (has_begun or not operation.done) and name:
            self._add(name, operation, operation.first_seen)

    def forget(self, name: BackendName) -> None:
        """Forget an operation that was deleted, even if an earlier answer still arrives."""
        self._add(name, None, time.time())

    async def recall(self, name: BackendName) -> Operation | None:
        """Return the last state of a recent operation that the backend does not find, or None.

        The state is marked as recalled. An operation that `is_gone` is forgotten.
        """
        known = self._find(name)
        if known is None or known.state is None:
            return None
        public_name, proto, types, first_seen = known.state
        recalled = Operation(
            self._backend,
            public_name,
            proto,
            types,
            received=time.time(),
            first_seen=first_seen,
            rules=self._rules,
            is_recalled=True,
        )
        if self.is_gone is None or not await self.is_gone(recalled):
            return recalled
        # Meanwhile a backend may have given the name again.
        if self._met.get(name) is known:
            self.forget(name)
        return None

    def _find(self, name: BackendName) -> _Met | None:
        known = self._met.get(name)
        return known if known is not None and was_recently(known.since) else None

    def _add(self, name: BackendName, operation: Operation | None, since: float) -> None:
        self._remove(name)
        met = self._met[name] = _Met(None, since, 0)
        self._set(met, operation)
        self.sweep()

    def sweep(self) -> None:
        """Forget the operations that are no longer recent, and the oldest ones above the limit."""
        # The oldest entries come first, because entries are added when operations are met.
        while (oldest := next(iter(self._met), None)) is not None and (
            self._size > self._max_bytes or not was_recently(self._met[oldest].since)
        ):
            self._remove(oldest)

    def _set(self, met: _Met, operation: Operation | None) -> None:
        state, size = None, _MIN_SIZE
        if operation is not None:
            state = (operation.name, operation.proto, operation.types, operation.first_seen)
            size = max(operation.memory - operation.rendering.held, _MIN_SIZE)
        self._size += size - met.size
        met.state, met.size = state, size

    def _remove(self, name: BackendName) -> None:
        removed = self._met.pop(name, None)
        if removed is not None:
            self._size -= removed.size

"""The operations of a backend that have ended.

A finished operation stays finished (AIP-151). If a backend answers that one of them is not done,
its data is wrong, or the call went to a server that does not know of the end yet.
"""

from __future__ import annotations

import time
from typing import Final

from lro_gateway.operations.names import BackendName

_MAX_ENDED: Final = 8192
"""The maximum number of operations whose end is remembered."""


class EndedOperations:
    """The names of operations that a backend has answered as done, most recently answered last.

    Only the hash of each name is kept, because a backend may give names of many kilobytes.
    """

    def __init__(self) -> None:
        self._ended: dict[int, float] = {}

    def __contains__(self, name: BackendName) -> bool:
        return hash(name) in self._ended

    def is_back(self, name: BackendName, *, done: bool, asked: float) -> bool:
        """Note an answer, and return whether it says that an ended operation is not done.

        `asked` is the time of the call on the monotonic clock, in seconds. If an answer with the
        end arrived during the call, the call may have read an earlier state.
        """
        key = hash(name)
        if not done:
            ended = self._ended.get(key)
            return ended is not None and ended < asked
        if name:
            self._ended[key] = self._ended.pop(key, time.monotonic())
            if len(self._ended) > _MAX_ENDED:
                del self._ended[next(iter(self._ended))]
        return False

    def forget(self, name: BackendName) -> None:
        """Forget an operation that was deleted, because its name may be given again."""
        self._ended.pop(hash(name), None)

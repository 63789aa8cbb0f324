"""The bounds of watches: how many the gateway holds in all, by caller and by backend."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Final

from lro_gateway.errors import Code, StatusError, status_error
from lro_gateway.principal import Reader

logger: Final = logging.getLogger(__name__)

NO_BOUND: Final = 2**31 - 1
TRACKERS: Final[Reader] = ("trackers", None)
"""The reader of all that is followed for webhooks. It is no caller, so it is not bounded.

A bound would keep events from webhooks that were accepted, and these have a bound of their own.
"""


class WatchBounds:
    """Counts the readers of watches, and refuses one more where a bound is reached.

    Each reader counts, because each takes memory, although all readers of an operation share its
    polls. Callers without an identity count by their addresses. A watch of a list counts for its
    caller and in all, and for no backend.
    """

    def __init__(
        self,
        in_all: int = NO_BOUND,
        by_caller: int = NO_BOUND,
        by_backend: Mapping[str, int] | None = None,
    ) -> None:
        self._in_all = in_all
        self._by_caller = by_caller
        self._by_backend = by_backend or {}
        self._open = 0
        self._of_caller: Counter[Hashable] = Counter()
        self._of_backend: Counter[Hashable] = Counter()

    def check(self, reader: Reader, more: int, backend: str | None = None) -> None:
        """Raise TOO_MANY_WATCHES if there is no room for so many more watches of a caller."""
        if self._of_caller[reader[0]] + more > self._by_caller:
            setting = "limits.max_watches_per_principal"
            raise _too_many(Code.RESOURCE_EXHAUSTED, self._by_caller, setting, reader)
        if self._open + more > self._in_all:
            raise _too_many(Code.UNAVAILABLE, self._in_all, "limits.max_watches", reader)
        if backend is not None:
            most = self._by_backend.get(backend, NO_BOUND)
            if self._of_backend[backend] + more > most:
                raise _too_many(Code.UNAVAILABLE, most, "max_watches", reader, backend)

    def enter(self, reader: Reader, backend: str | None = None) -> None:
        """Count one more watch. Raises TOO_MANY_WATCHES if a bound is reached."""
        if reader == TRACKERS:
            return
        self.check(reader, 1, backend)
        if backend is not None:
            self._of_backend[backend] += 1
        self._open += 1
        self._of_caller[reader[0]] += 1

    def leave(self, reader: Reader, backend: str | None = None) -> None:
        """Count one watch less."""
        if reader == TRACKERS:
            return
        self._open -= 1
        _decrease(self._of_caller, reader[0])
        if backend is not None:
            _decrease(self._of_backend, backend)


def _decrease(counter: Counter[Hashable], key: Hashable) -> None:
    left = counter[key] - 1
    if left:
        counter[key] = left
    else:
        del counter[key]


def _too_many(
    code: Code, limit: int, setting: str, reader: Reader, backend: str | None = None
) -> StatusError:
    """Return the error of a watch that is one too many. UNAVAILABLE is no fault of its caller."""
    owner = f"at backend {backend!r} " if backend is not None else ""
    end = " of this backend" if backend is not None else ""
    error = status_error(
        code,
        f"{limit} watches {owner}are open, which is the maximum; end some, or see {setting}{end}",
        "TOO_MANY_WATCHES",
        metadata={"limit": str(limit), "setting": setting},
        backend=backend,
    )
    logger.warning("refused a watch of %s: %s", _shown(reader[0]), error.message)
    return error


def _shown(group: Hashable) -> str:
    """Return an identity, an address or the bytes of a network as a text."""
    if isinstance(group, tuple):
        return " ".join(filter(None, group)) or "the caller"
    return group.hex(":", 2) if isinstance(group, bytes) else str(group)

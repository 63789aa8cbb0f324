"""The limit of file descriptors of this process, and the part of it that clients may not take."""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_RESERVE: Final = 64
"""Descriptors for refused connections and probes, and for backends and files."""
_SHARE: Final = 4
"""The reserve is at most one part in this many of all descriptors."""
_MOST: Final = 2**20
"""The gateway asks for no more descriptors, because some systems allow thousands of millions."""


@dataclass(frozen=True, slots=True)
class Room:
    """The places of clients: descriptors below `last`, and `refused` refused connections."""

    last: int
    refused: int


def raise_limit() -> None:
    """Raise the limit of this process as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Some systems refuse a limit that they have announced themselves.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def room() -> Room:
    """Return what clients may take now. An operator can change the limit while the process runs."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _MOST if soft == resource.RLIM_INFINITY else soft
    reserve = min(_RESERVE, limit // _SHARE)
    return Room(limit - reserve, max(reserve // 2, 1))

"""The archive of final states: its copies and its protocol, without SQL."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Protocol

from lro_gateway.operations.archived import Archived
from lro_gateway.records.entries import EntryState


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How long a finished operation is kept, and the size in bytes up to which it is whole.

    A `retention` of 0 keeps nothing.
    """

    retention: dt.timedelta = dt.timedelta(days=7)
    max_bytes: int = 256 * 1024


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a finished operation: its message in wire format, and its ProtoJSON.

    The JSON is from the time of the copy, because the types of the message may be gone later.
    """

    message: bytes
    json: bytes
    archived: Archived


@dataclass(frozen=True, slots=True)
class Trace:
    """The facts that the store has of an operation that its backend does not answer.

    `copy` is None if the operation is not in the archive, or no longer.
    """

    method: str
    state: EntryState
    started: dt.datetime
    finished: dt.datetime | None
    copy: Copy | None


class Archive(Protocol):
    """The final states of operations that were started through the gateway.

    All methods raise UNAVAILABLE if the store does not answer. A `view` is that of the backend's
    answers (`Backend.view`), and each view has copies of its own.
    """

    async def find(self, backend: str, name: str, view: str) -> Trace | None:
        """Return what is known of an operation, or None if it was not started here."""

    async def remove(self, backend: str, name: str) -> None:
        """Remove an operation and all copies of it. This is committed when it returns."""

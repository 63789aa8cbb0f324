"""Failures that gRPC itself reports, told apart from the statuses that a backend has sent.

gRPC gives a code and a text for both, and nothing else. Measured with grpcio 1.85: the text of a
failure on an open connection is `Stream removed (CAUSE)` or one of a few fixed texts. The text of a
failed connection has many forms, but then the channel is not connected.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import grpc
import grpc.aio

_REMOVED: Final = re.compile(r"Stream removed \((.*)\)", re.DOTALL)
_HTTP: Final = re.compile(r"Received http2 header with status: (\d{3})")
_OWN: Final = re.compile(
    r"No status received"
    r"|Compression bit set but no encoding configured"
    r"|Decompression failed.*"
    r"|Internal error from Core"
    r"|Channel (?:closed|shutdown)\b.*",
    re.DOTALL,
)
"""Matches the other texts that gRPC itself makes of a call on an open connection."""
_DEADLINE: Final = "Deadline Exceeded"
_CLOCK_ERROR: Final = 0.02
"""Seconds by which gRPC may end a call before its deadline, by the clock of this process."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call as gRPC tells it.

    `cause` is gRPC's own reason, without the words around it, or the text that the backend sent.
    `is_grpcs` is true if gRPC itself made the text of a call on an open connection. `http_status`
    is the status of an answer that is HTTP and not gRPC, or 0.
    """

    code: grpc.StatusCode
    cause: str
    is_grpcs: bool
    http_status: int = 0

    @classmethod
    def of(cls, error: grpc.aio.AioRpcError) -> Failure:
        """Read the error of a call."""
        text = error.details() or ""
        if removed := _REMOVED.fullmatch(text):
            return cls(error.code(), removed[1], is_grpcs=True)
        if answered := _HTTP.fullmatch(text):
            return cls(error.code(), text, is_grpcs=True, http_status=int(answered[1]))
        return cls(error.code(), text, is_grpcs=_OWN.fullmatch(text) is not None)

    @property
    def is_late(self) -> bool:
        """Whether the text is gRPC's for a deadline. A backend may send it for its own."""
        return self.code is grpc.StatusCode.DEADLINE_EXCEEDED and self.cause == _DEADLINE


def has_passed(deadline: timedelta, started: float) -> bool:
    """Return whether a call has reached its deadline. `started` is a `time.monotonic()`."""
    return time.monotonic() - started >= deadline.total_seconds() - _CLOCK_ERROR

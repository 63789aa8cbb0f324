"""The ends of a command: its exit statuses, and the failures that end it early."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any

from lro_gateway.errors import DOMAIN

_UNREACHABLE = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})


class Exit(enum.IntEnum):
    """The exit statuses of commands.

    124 is the status of timeout(1). 130 and 141 are those of a process that SIGINT or SIGPIPE has
    ended.
    """

    SUCCEEDED = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    UNREACHABLE = 4
    TIMEOUT = 124
    INTERRUPTED = 130
    CUT = 141


class CommandError(Exception):
    """A failure that ends a command. `status` is the command's exit status."""

    status = Exit.USAGE


class UnreachableError(CommandError):
    """Nothing answers as a gateway."""

    status = Exit.UNREACHABLE


class RefusedError(CommandError):
    """A call that the gateway or a backend refused, with the name of its code and its details."""

    def __init__(self, code: str, message: str, details: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.details = details
        if code in _UNREACHABLE:
            self.status = Exit.UNREACHABLE

    @property
    def of_backend(self) -> bool:
        """Whether the details are those of a backend, whose message does not repeat them."""
        return not any(each.get("domain") == DOMAIN for each in self.details)

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata of the first ErrorInfo."""
        return next((each.get("metadata", {}) for each in self.details if "reason" in each), {})

    @property
    def reason(self) -> str:
        """The reason of the first ErrorInfo, or an empty text."""
        found = (str(each["reason"]) for each in self.details if "reason" in each)
        return next(found, "")

"""An operation as a row: the few things about it that a person looks at first."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lro_gateway.commands.terminal.failures import Exit
from lro_gateway.commands.terminal.times import parsed_time, since, span
from lro_gateway.errors import escaped

STYLES: Final = {"running": "cyan", "succeeded": "green", "failed": "red", "cancelled": "yellow"}
"""The colour of each state."""
_TEXTS: Final = ("stallText", "statusText")
_EXITS: Final = {
    "succeeded": Exit.SUCCEEDED,
    "failed": Exit.FAILED,
    "cancelled": Exit.CANCELLED,
}
_CODES: Final = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
    *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
)
"""The names of google.rpc.Code, by number."""


@dataclass(frozen=True, slots=True)
class Row:
    """The gateway's summary of an operation. A part that is not known is empty or None.

    All texts are escaped, because a backend may send characters that change a terminal.
    """

    name: str
    state: str
    kind: str = ""
    backend: str = ""
    percent: float | None = None
    text: str = ""
    created: dt.datetime | None = None
    updated: dt.datetime | None = None
    archived: dt.datetime | None = None
    is_stalled: bool = False

    @classmethod
    def of(cls, operation: Mapping[str, Any]) -> Row:
        """Return the row of an operation that has a summary."""
        summary = operation["summary"]
        return cls(
            escaped(operation["name"]),
            summary["state"],
            escaped(summary.get("kind", "")),
            escaped(summary.get("backend", "")),
            summary.get("percent"),
            escaped(" ".join(filter(None, (summary.get(each) for each in _TEXTS)))),
            parsed_time(summary.get("createTime")),
            parsed_time(summary.get("updateTime")),
            parsed_time(summary.get("archiveTime")),
            "stallText" in summary,
        )

    @property
    def shown_state(self) -> str:
        """The state, or `stalled` for a running operation that has not changed for too long."""
        return "stalled" if self.is_stalled else self.state

    def lasting(self, now: dt.datetime) -> str:
        """Return the state with the time that the operation ran or has run, if that is known."""
        if self.created is None:
            return self.state
        if self.state == "running":
            return f"running for {since(self.created, now)}"
        if self.updated is None or self.updated < self.created:
            return self.state
        return f"{self.state} after {span((self.updated - self.created).total_seconds())}"

    @property
    def percentage(self) -> str:
        """The progress as a text, which is empty if it is not known."""
        return "" if self.percent is None else f"{self.percent:.0f}%"

    @property
    def exit(self) -> Exit:
        """The exit status of a command that waited for this operation."""
        return _EXITS[self.state]


def code_of(error: Mapping[str, Any]) -> str:
    """Return the name of the code in a google.rpc.Status in JSON."""
    number = error.get("code", 0)
    known = isinstance(number, int) and 0 <= number < len(_CODES)
    return _CODES[number] if known else f"CODE_{number}"


def failure_of(operation: Mapping[str, Any]) -> str:
    """Return the error of a failed operation in one line, or an empty text."""
    error = operation.get("error")
    if not error:
        return ""
    return escaped(": ".join(filter(None, [code_of(error), error.get("message", "")])))

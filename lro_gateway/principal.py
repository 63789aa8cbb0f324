"""Who calls, what they want to do, and whether they may."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Protocol


class Verb(enum.Enum):
    """What a caller can ask of operations."""

    GET = "get"
    LIST = "list"
    WAIT = "wait"
    CANCEL = "cancel"
    DELETE = "delete"
    START = "start"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. `subject` is unique within `issuer`; both are empty for nobody in particular."""

    subject: str = ""
    issuer: str = ""

    def __str__(self) -> str:
        """Say who, for logs and for sealing tokens to their owner."""
        return f"{self.issuer}#{self.subject}" if self.subject else "anonymous"


ANONYMOUS: Final = Principal()
"""Every caller, until callers are told apart."""


class Policy(Protocol):
    """Decides whether a caller may use a verb on a backend's operation."""

    def check(self, caller: Principal, verb: Verb, backend: str, name: str) -> None:
        """Return if the caller may; else raise a `StatusError` with PERMISSION_DENIED.

        `name` is the operation's name in the gateway's form, or what a list is of.
        """


class AllowAll:
    """The policy of a gateway that only its own machine can reach."""

    def check(self, caller: Principal, verb: Verb, backend: str, name: str) -> None:
        """Allow it."""

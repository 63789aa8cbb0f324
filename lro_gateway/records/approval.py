"""Calls that wait for an approval, in words and without SQL."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from lro_gateway.principal import Principal
from lro_gateway.records.entries import Earlier, Key


class ApprovalState(enum.Enum):
    """The state of a call that needs an approval.

    `PENDING` calls wait for the approval, and `APPROVED` ones for their start. The gateway sends
    one that is `STARTING`. The outcome of an `UNKNOWN` one is not known. A `STARTED` one has an
    operation or a response, and a `FAILED` one the error of its start.
    """

    PENDING = "pending"
    APPROVED = "approved"
    STARTING = "starting"
    STARTED = "started"
    FAILED = "failed"
    REFUSED = "refused"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


OPEN: Final = frozenset({ApprovalState.PENDING, ApprovalState.APPROVED})
"""The states of a call that may still be started, cancelled, or expire."""
KEPT: Final = dt.timedelta(days=30)
"""The time since the question after which a call that has ended is forgotten."""
UNDECIDED: Final = OPEN | {ApprovalState.STARTING}
"""The states that another one follows."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that is about to wait.

    `request` is what was asked, as the service has written it. `needs_caller` is true if the
    backend is shown something of the caller itself, so that only the caller can start the call.
    """

    id: str
    caller: Principal
    backend: str
    method: str
    request: str
    needs_caller: bool
    created: dt.datetime
    expires: dt.datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """A call that waits or has waited.

    `caller` has the claims that the caller had when it asked, and none of its credentials.
    `decided` is when and `decider` is who approved, refused or cancelled it, and `reason` is why.
    `operation` is the name of the operation that it started. `outcome` is the result of a call
    without an operation, as the service has written it.
    """

    asked: Asked
    state: ApprovalState
    decided: dt.datetime | None = None
    decider: Principal | None = None
    reason: str = ""
    operation: str = ""
    outcome: str = ""

    @property
    def id(self) -> str:
        """The last part of its name."""
        return self.asked.id

    @property
    def caller(self) -> Principal:
        """The caller that asked."""
        return self.asked.caller


@dataclass(frozen=True, slots=True)
class Change:
    """The fields that change with the state of a call. None leaves a value as it is.

    `answer_by` is the time by which the call of the backend has ended, with an answer or without.
    The others are those of `Approval`.
    """

    decided: dt.datetime | None = None
    decider: Principal | None = None
    reason: str | None = None
    answer_by: dt.datetime | None = None
    operation: str | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class ApprovalQuery:
    """Which calls to read, the newest first: those of a caller, and those on some backends.

    `before` is the id after which the last page ended.
    """

    caller: Principal
    backends: Collection[str]
    limit: int
    state: ApprovalState | None = None
    before: str = ""


class ApprovalRecords(Protocol):
    """The calls that wait for an approval.

    All methods raise UNAVAILABLE if the store does not answer. Their writes are committed when they
    return.
    """

    async def add(self, asked: Asked, most: int, key: Key | None = None) -> bool | Earlier:
        """Add a pending call, with its idempotency key if it has one, and return True.

        Returns False if the caller has so many open ones already, and what has the key if it is
        not free. Of calls with the same key, on any replica, one is added.
        """

    async def get(self, id_: str) -> Approval | None:
        """Return a call, or None if there is none."""

    async def states(self, ids: Collection[str]) -> Mapping[str, ApprovalState]:
        """Return the states of calls by their ids."""

    async def page(self, query: ApprovalQuery) -> Sequence[Approval]:
        """Return the first calls that a query selects."""

    async def move(
        self,
        id_: str,
        before: Collection[ApprovalState],
        after: ApprovalState,
        change: Change | None = None,
        *,
        at: dt.datetime | None = None,
    ) -> bool:
        """Change the state of a call if it is one of `before`; return whether this call did so.

        Of several that try the same at a time, on any replica, one succeeds. If the time `at` is
        given, the call must not have expired then.
        """

    async def overdue(self, now: dt.datetime, limit: int) -> Sequence[Approval]:
        """Return calls that are still open although they have expired."""

    async def approved(self, limit: int) -> Sequence[Approval]:
        """Return approved calls that wait for their start, the oldest first."""

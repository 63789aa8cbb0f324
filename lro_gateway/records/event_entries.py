"""Events, subscriptions and deliveries, in words of operations and without SQL."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, NamedTuple, Protocol

from lro_gateway.records.entries import new_id, now, recorded_names
from lro_gateway.records.owners import Owner

LARGEST_EVENT: Final = 256 * 1024
"""The greatest size of an event's data in bytes. Beyond it the event has only a link."""

OF_WEBHOOK: Final = "webhook.disabled"
"""The kind of event that is not of an operation. Only the owner of the webhook hears of it."""

WORK: Final = 1
"""The version of the rows by which another process takes over trackers and deliveries.

It is set by hand. A program leaves the work of a later version to processes of that version, and
takes over that of an earlier one. Raise it if a program before it would lose something.
"""

RETENTION: Final = dt.timedelta(days=7)
"""How long events are kept, and deliveries that have ended. Dead ones can be sent again so long."""


class Position(NamedTuple):
    """The place of an event in the log.

    On PostgreSQL, `transaction` is the transaction that wrote the event, because sequence numbers
    commit out of their order. On SQLite it is 0.
    """

    transaction: int = 0
    number: int = 0


_START: Final = Position()


class Target(NamedTuple):
    """An operation that is followed: its backend and its canonical name.

    The canonical name was another one if the configuration had other backends then, so two targets
    may be of one operation.
    """

    backend: str
    name: str

    @property
    def names(self) -> tuple[str, str]:
        """The names under which the store may have the operation, this one first."""
        return recorded_names(self.backend, self.name)

    def is_same(self, other: Target) -> bool:
        """Return whether two targets are of one operation."""
        return self.backend == other.backend and other.name in {self.name, *self.names}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an operation.

    `number` counts the events of the operation from 1. `data` is the JSON of what receivers get.
    """

    kind: str
    target: Target
    method: str
    owner: Owner
    number: int
    state: str
    data: str
    id: str = field(default_factory=lambda: f"evt_{new_id()}")
    at: dt.datetime = field(default_factory=now)
    position: Position = _START


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events a subscription gets. An empty field selects everything.

    `method` is a pattern of `pkg.Service/Method`, in which `*` stands for any characters. With
    `mine`, the events are those of operations that the subscriber or its tenant has started.
    """

    kinds: tuple[str, ...] = ()
    backend: str = ""
    name: str = ""
    method: str = ""
    states: tuple[str, ...] = ()
    mine: bool = False

    @property
    def target(self) -> Target | None:
        """The one operation that it selects, or None if it selects more."""
        return Target(self.backend, self.name) if self.name else None

    def has(self, event: Event, subscriber: Owner) -> bool:
        """Return whether the selection of a subscriber has an event."""
        return (
            (not self.kinds or event.kind in self.kinds)
            and (event.kind != OF_WEBHOOK or event.owner == subscriber)
            and (not self.states or event.state in self.states)
            and self.follows(event.target, event.method, event.owner, subscriber)
        )

    def follows(self, target: Target, method: str, owner: Owner, subscriber: Owner) -> bool:
        """Return whether the selection of a subscriber has events of an operation."""
        return (
            (not self.backend or target.backend == self.backend)
            and (not self.name or target.is_same(Target(target.backend, self.name)))
            and (not self.method or fnmatchcase(method, self.method))
            and (not self.mine or owner.is_of(subscriber))
        )


class SubscriptionState(enum.Enum):
    """Whether a subscription gets events. A suspended one does again once it is renewed."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A webhook: who gets which events, and where.

    `face` is `mcp` or `rest`. `secrets` are sealed, the newest first, and the others are valid
    until `old_until`. `granted` is the JSON of the groups and scopes in the subscriber's
    credentials. `format` is `event` or `cloudevents`. `failing` is the time of the first failure
    after the last success. `lost` counts the events that were lost, and of which the receiver has
    not been told yet.
    """

    id: str
    face: str
    owner: Owner
    client: str
    granted: str
    url: str
    secrets: tuple[str, ...]
    selection: Selection
    format: str = "event"
    state: SubscriptionState = SubscriptionState.ACTIVE
    reason: str = ""
    created: dt.datetime = field(default_factory=now)
    expires: dt.datetime | None = None
    old_until: dt.datetime | None = None
    delivered: dt.datetime | None = None
    failing: dt.datetime | None = None
    error: str = ""
    lost: int = 0
    throttled_until: dt.datetime | None = None

    @property
    def is_live(self) -> bool:
        """Whether it gets events now."""
        return self.state is SubscriptionState.ACTIVE and not self.has_expired

    @property
    def has_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= now()


MEASURED: Final = dt.timedelta(hours=1)
"""How long the attempts of a subscription are counted."""


@dataclass(frozen=True, slots=True)
class Health:
    """How the attempts of a subscription end.

    `failing` is since when all have failed, or None. `attempts` and `failures` are those since
    `measured`.
    """

    failing: dt.datetime | None
    measured: dt.datetime
    attempts: int
    failures: int


class DeliveryState(enum.Enum):
    """The state of a delivery. A dead one had its last attempt, and can be sent again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to one webhook.

    `attempts` counts those that have begun. `due` is the time of the next one. `status` is the HTTP
    status of the last answer, or None, and `error` is the kind of the last failure.
    """

    id: str
    subscription: str
    event: Event
    attempts: int = 0
    due: dt.datetime = field(default_factory=now)
    state: DeliveryState = DeliveryState.PENDING
    status: int | None = None
    error: str = ""
    finished: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. `again` is the time of the next one, or None if it was the last.

    `is_lost` is whether the receiver should have had the event, and will never get it. `is_sent`
    is False if nothing was sent, which says nothing of the receiver and is no attempt. The receiver
    wants no message before `throttled_until`.
    """

    state: DeliveryState
    status: int | None
    error: str
    again: dt.datetime | None = None
    is_lost: bool = False
    is_sent: bool = True
    throttled_until: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events after a position.

    `end` is the position after which to go on. `truncated` tells that some events after the given
    position are not here, because they are too old.
    """

    events: Sequence[Event]
    end: Position
    truncated: bool = False
    has_more: bool = False


@dataclass(frozen=True, slots=True)
class OnTheirWay:
    """The oldest two events that a webhook has not got yet, with their ids.

    `end` is before all that is written from now on.
    """

    oldest: Sequence[tuple[str, Position]]
    end: Position

    def before(self, event: str = "") -> Position:
        """Return the position before all of them, except an event that is being sent."""
        others = [position for id_, position in self.oldest if id_ != event]
        return min(self.end, *(Position(each[0], each[1] - 1) for each in others[:1]), self.end)


@dataclass(frozen=True, slots=True)
class Tracked:
    """The last event that the tracker of an operation has written."""

    target: Target
    method: str
    owner: Owner
    number: int = 0
    state: str = ""
    stage: str = ""
    percent: float | None = None


@dataclass(frozen=True, slots=True)
class Emission:
    """An event that the tracker of an operation writes.

    `known` is its last event, and `stage` and `percent` are those of this event.
    """

    known: Tracked
    event: Event
    stage: str
    percent: float | None


class EventLog(Protocol):
    """The log that trackers write."""

    async def track(self, target: Target, subscriber: Owner | None = None) -> Tracked | None:
        """Make this process the tracker of an operation; return None if it has or had one.

        If nobody has started it here, it gets a row in the journal for its `subscriber`.
        """

    async def track_all(self, unfollowed: Sequence[Tracked]) -> list[Tracked]:
        """Make this process the tracker of operations; return those that had none."""

    async def known(self, target: Target) -> Tracked | None:
        """Return the last event of a tracker, or None if this process is the tracker no more.

        Return None after the end of the operation.
        """

    async def emit(self, news: Sequence[Emission]) -> list[list[Delivery] | None]:
        """Write events; return their deliveries, or None where another process is the tracker."""

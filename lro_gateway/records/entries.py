"""The journal of starts: its entries and its protocol, without SQL."""

from __future__ import annotations

import datetime as dt
import enum
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from lro_gateway.errors import StatusError
from lro_gateway.operations.operation import Operation, State
from lro_gateway.principal import Principal
from lro_gateway.records.working import Unchanged

_LONGEST_MESSAGE: Final = 500

_T = TypeVar("_T")


class EntryState(enum.Enum):
    """The state of a started operation, as the gateway knows it.

    An operation is `STARTING` until the backend has answered its start. It is `UNKNOWN` if the
    start ended without an answer, or if the backend no longer has an operation that had not ended.
    """

    STARTING = "starting"
    RUNNING = State.RUNNING.value
    SUCCEEDED = State.SUCCEEDED.value
    FAILED = State.FAILED.value
    CANCELLED = State.CANCELLED.value
    UNKNOWN = "unknown"


ENTRY_STATES: Final = tuple(state.value for state in EntryState)


def now() -> dt.datetime:
    """Return the present time in UTC."""
    return dt.datetime.fromtimestamp(time.time(), dt.UTC)


def new_id() -> str:
    """Return a UUID of version 7 as hexadecimal digits. Their order is that of the clock."""
    # The 12 bits behind the milliseconds are a fraction of a millisecond (RFC 9562, 6.2, method 3).
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    return f"{milliseconds:012x}7{rest * 4096 // 1_000_000:03x}8{os.urandom(8).hex()[1:]}"


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """How much the journal keeps.

    A row expires once the gateway has not heard of its operation for `retention`. Of more than
    `max_rows` rows, the oldest expire.
    """

    retention: dt.timedelta = dt.timedelta(days=30)
    max_rows: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Key:
    """A caller's idempotency key for a start.

    `digest` stands for the key and its owner, and `fingerprint` for the backend, the method and the
    request. `request_id` is that of the call, or empty. The key means this start for `window`.
    `repeats` is the id of an earlier start with this key, which this one repeats because its
    outcome is unknown.
    """

    digest: str
    fingerprint: str
    request_id: str
    window: dt.timedelta
    repeats: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """A start that is about to be sent.

    By the time `answer_by` its call has ended, with an answer or without. `digest` is the SHA-256
    of the method and the request. `request` is its JSON, or None if the configuration does not keep
    it. `key` is None if the caller gave none.
    """

    caller: Principal
    backend: str
    method: str
    digest: str
    answer_by: dt.datetime
    request: str | None = None
    key: Key | None = None
    # The id comes last, so that a search since or until this time finds the same by the ids.
    started: dt.datetime = field(default_factory=now)
    id: str = field(default_factory=new_id)


@dataclass(frozen=True, slots=True)
class Entry:
    """An operation in the journal. `issuer` and `subject` are those of the caller that started it.

    If `method` is empty, it was adopted, and these are those of the subscriber.

    `changed` is when its state, percentage or metadata last changed, and `seen` is when the gateway
    last heard of it. `code` and `message` are those of its error. `percent` is from 0 to 100.
    `archived` is when its final state was put into the archive, if it is there.
    """

    id: str
    issuer: str
    subject: str
    backend: str
    name: str | None
    method: str
    request: str | None
    state: EntryState
    percent: float | None
    started: dt.datetime
    changed: dt.datetime
    seen: dt.datetime
    finished: dt.datetime | None
    code: int | None
    message: str | None
    archived: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Earlier:
    """The start that has an idempotency key already. `id`, `fingerprint`, `request_id` are its own.

    `entry` is None if the journal has no such start. If `is_asked` is true, `id` is that of a call
    that waits or waited for an approval, and `entry` is the operation that it has started.
    """

    id: str
    fingerprint: str
    request_id: str
    entry: Entry | None
    is_asked: bool = False


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The facts about an operation in an answer of its backend."""

    name: str | None
    state: EntryState
    percent: float | None
    seen: dt.datetime
    finished: dt.datetime | None = None
    code: int | None = None
    message: str | None = None
    final: Operation | None = field(default=None, compare=False)
    """The operation if it has ended, for the archive."""

    @classmethod
    async def of(cls, operation: Operation) -> Knowledge:
        """Return what a state of an operation tells."""
        await operation.prepare()
        progress, seen = operation.progress, dt.datetime.fromtimestamp(operation.received, dt.UTC)
        # The times of the metadata are whole seconds, and the end was in the second after that.
        ended = operation.update_time
        last = seen if ended is None else min(seen, ended + dt.timedelta(seconds=1))
        finished = last if operation.done else None
        failed = operation.done and operation.proto.WhichOneof("result") == "error"
        return cls(
            storable(operation.name) or None,
            EntryState(operation.state.value),
            None if progress is None else round(progress.percent, 1),
            seen,
            finished,
            operation.error.code if failed else None,
            _cut(operation.error.message) if failed else None,
            operation if operation.done else None,
        )

    @classmethod
    def unknown(cls, error: StatusError, name: str | None = None) -> Knowledge:
        """Return the knowledge after an error by which nobody knows how an operation ended."""
        state, message = EntryState.UNKNOWN, _cut(error.message)
        return cls(name, state, None, now(), now(), int(error.status.code), message)


@dataclass(frozen=True, slots=True)
class Query:
    """Which entries to read: those of a caller, or of its whole tenant, the newest first.

    `method` is a part of the method's name, and `text` is a part of any text of the entry. Both
    ignore case. `before` is the id after which the last page ended. `personal` are the backends of
    which even a tenant's entries are only the caller's own.
    """

    caller: Principal
    limit: int
    of_tenant: bool = False
    state: EntryState | None = None
    method: str = ""
    backend: str = ""
    text: str = ""
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    before: str = ""
    personal: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class EntryPage:
    """A page of entries. `following` is the `before` of the next page, or empty if there is none.

    A page may have fewer entries than the limit, although there are more.
    """

    entries: Sequence[Entry]
    following: str = ""


class Journal(Protocol):
    """The record of the operations that callers have started, or have subscribed to.

    All methods raise UNAVAILABLE if the store does not answer.
    """

    async def begin(self, start: Start) -> None:
        """Record a start before it is sent. It is committed when this returns."""

    async def claim(self, start: Start) -> Earlier | None:
        """Record a start with a key as `begin` does, unless an earlier start has the key.

        Returns the earlier start, which may be under way. Of starts with the same key, in any
        process, one is recorded. A key that has expired belongs to no start.
        """

    async def earlier(self, key: Key) -> Earlier | None:
        """Return the start that has a key, if there is one."""

    async def settle(self, start: Start, knowledge: Knowledge) -> None:
        """Record how the call of a start ended. It is committed when this returns.

        If it cannot be committed, it is tried again until it can.
        """

    async def withdraw(self, start: Start) -> None:
        """Remove a start that the backend has refused, and free its key. It raises nothing."""

    def observe(self, operation: Operation) -> None:
        """Record, soon, the state of an operation if it was started here."""

    def unchanged(self, operation: Operation) -> Unchanged | None:
        """Return since when a running operation has not changed, if it was started here.

        It is None if this process has not looked it up yet.
        """

    def has_met(self, backend: str, name: str) -> bool:
        """Return whether an operation has a row, or had one when this process last looked."""

    def look_again(self, backend: str, name: str) -> None:
        """Look an operation up again that had no row, because it may have been adopted since."""

    def has_moved(self, operation: Operation) -> bool:
        """Return whether a state has other metadata than the one before it."""

    def notice(self, operation: Operation, expected: float) -> None:
        """Record, soon, that an observed operation has had no change for so many seconds.

        Otherwise it takes longer until it is recorded that an operation was seen without a change.
        """

    def lose(self, backend: str, name: str, error: StatusError) -> None:
        """Record, soon, that a backend no longer has an operation, if it was started here."""

    def forget(self, backend: str, name: str) -> None:
        """Remove, soon, an operation whose record was deleted."""

    async def flush(self) -> None:
        """Write now what was to be written soon. It raises nothing, and tries again later."""

    async def page(self, query: Query) -> EntryPage:
        """Return a page of entries."""


def first_id(moment: dt.datetime) -> str:
    """Return a text that is not greater than the id of any start at this moment or later."""
    return f"{max(0, int(moment.timestamp() * 1000)):012x}"


def _cut(text: str) -> str:
    return storable(text)[:_LONGEST_MESSAGE]


REPLACED: Final = "\ufffd"
"""The character that stands in the store for each NUL, which PostgreSQL refuses."""


def storable(text: str) -> str:
    """Return a text as the store has it on both databases.

    The connection to PostgreSQL does so with each text. Other modules need it only for names, which
    are compared with those of the store, so that both databases find the same.
    """
    return text.replace("\x00", REPLACED)


def recorded_names(backend: str, name: str) -> tuple[str, str]:
    """Return the names under which the store may have an operation, the present one first.

    A name begins with `//backend/` if other backends may have it too, so a new backend in the
    configuration changes the names of operations that the store has already.
    """
    prefix = f"//{backend}/"
    other = name.removeprefix(prefix) if name.startswith(prefix) else prefix + name
    return storable(name), storable(other)


def renamed(name: str, backend: str, other: str) -> str:
    """Return the name of an operation if its backend had another name."""
    prefix = f"//{backend}/"
    return f"//{other}/{name.removeprefix(prefix)}" if name.startswith(prefix) else name


def recorded(found: Mapping[str, _T], backend: str, name: str) -> _T | None:
    """Return what the store has of an operation, by either of its names."""
    present, other = recorded_names(backend, name)
    return found.get(present) or found.get(other)

"""Ownership: the caller that started an operation decides for whom it exists.

A backend with `visibility = "owner"` or `"tenant"` shows an operation that was started here only to
its owner, or to the tenant of its owner. The rules of the policy decide too.
"""

from __future__ import annotations

import asyncio
import enum
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final, Literal

from cachetools import LRUCache

from lro_gateway.access import denials
from lro_gateway.access.denials import DeniedError
from lro_gateway.access.policy import Action, Explanation, ListAction, OperationAction, Step
from lro_gateway.errors import Code, StatusError, quote, status_error
from lro_gateway.operations.names import GatewayName
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal
from lro_gateway.records.owners import ADOPTED, NamelessStart, Owner, Owners

Visibility = Literal["all", "tenant", "owner"]
"""The callers for whom operations of a backend exist that were started through the gateway."""

LABEL: Final = "visibility"
"""The label of a refusal by ownership. A refusal by the policy has the label of its rule."""
_KEPT: Final = 10_000
"""The number of operations whose owners are kept, and of those that were not started here."""
_FRESH: Final = 30.0
"""Seconds for which an operation counts as not started here without another question.

It is known to have existed before each start that had no answer then. So it can get an owner only
by a start that the backend answers with an operation that exists already.
"""
_PATIENCE: Final = 5.0
"""Seconds for which a caller waits for the answers to the starts of others."""
_PAUSES: Final = (0.02, 0.05, 0.1, 0.2)
_SKEW: Final = timedelta(seconds=10)
"""How much the clock of a backend may differ from that of the gateway."""
_FOR: Final = {"owner": "who started it", "tenant": "the tenant of who started it"}
_NOBODY: Final[frozenset[Owner]] = frozenset()

Ask = Callable[[], Awaitable[Operation]]
"""Asks a backend for an operation."""

_Key = tuple[str, str]
"""A backend's name, and an operation's canonical name."""


class _Standing(enum.Enum):
    """Whether an operation exists for a caller. An `OUTSIDE` one was certainly not started here."""

    SHOWN = enum.auto()
    HIDDEN = enum.auto()
    OUTSIDE = enum.auto()
    UNDECIDED = enum.auto()


class Ownership:
    """Decides for whom operations exist. Backends that it does not name show them to everybody.

    `owners` is None if there is no store. Then each call for a named backend fails.
    """

    def __init__(self, visibility: Mapping[str, Visibility], owners: Owners | None) -> None:
        self._visibility = {name: value for name, value in visibility.items() if value != "all"}
        self._store = owners
        self._owners: LRUCache[_Key, frozenset[Owner]] = LRUCache(_KEPT)
        self._outside: LRUCache[_Key, float] = LRUCache(_KEPT)
        """The operations that were not started here, and when the store was last asked."""
        self._answered = -math.inf
        self._failed = -math.inf
        """When the store last answered, and when it has failed since, on the monotonic clock."""

    @property
    def personal(self) -> frozenset[str]:
        """The backends whose operations only their starters see."""
        return frozenset(name for name, value in self._visibility.items() if value == "owner")

    def note(self, caller: Principal, backend: str, name: str) -> None:
        """Note that a caller has started an operation, before the store has it."""
        if backend in self._visibility and name:
            self._learn((backend, name), frozenset({Owner.of(caller)}))

    async def check(
        self, caller: Principal, action: OperationAction, read: Ask, miss: Ask, recall: Ask
    ) -> None:
        """Raise NOT_FOUND if the operation of an action does not exist for the caller.

        The backend is asked by `read` for an operation whose start is not recorded. If it has none
        of this name, the error is that for an operation that the caller must not see. Such an
        operation is asked for by `miss`, which takes the time of a name that the backend does not
        have, and raises its error. An adopted one is asked for by `recall`, which knows the archive
        too. Errors of these other than NOT_FOUND are raised as they are. Raises UNAVAILABLE if the
        store does not answer, or if nobody can tell yet who started the operation.
        """
        backend, key = action.backend, (action.backend, action.name)
        if backend not in self._visibility or self._is_known(caller, key):
            return
        try:
            found = await self._records().of(backend, [action.name])
        except StatusError:
            self._failed = time.monotonic()
            if self._was_outside(key):
                return
            raise
        self._has_answered()
        recorded = found.get(action.name, _NOBODY)
        if owners := self._learn(key, recorded - {ADOPTED}):
            if not self._sees(caller, backend, owners):
                await _existing(action, miss)
                raise _hidden(action)
        elif key in self._outside:
            self._outside[key] = time.monotonic()
        else:
            await self._check_unrecorded(caller, action, recall if recorded else read)

    async def _check_unrecorded(
        self, caller: Principal, action: OperationAction, read: Ask
    ) -> None:
        """Check an operation that no start had when the store was asked."""
        operation = await _existing(action, read)
        # A backend may know one operation by several names, of which the start has one.
        names = {name: operation for name in (action.name, operation.name) if name}
        standings = {*(await self._standings(caller, action.backend, names)).values()}
        if _Standing.HIDDEN in standings:
            raise _hidden(action)
        if standings == {_Standing.OUTSIDE}:
            self._outside[action.backend, action.name] = time.monotonic()
        elif _Standing.SHOWN not in standings:
            raise _undecided(action)

    async def shown(
        self, caller: Principal, backend: str, operations: Sequence[Operation]
    ) -> Sequence[Operation]:
        """Return those of a backend's operations that exist for the caller, in the given order.

        An operation is left out while nobody can tell who started it.
        """
        if backend not in self._visibility:
            return operations
        unknown = {
            each.name: each
            for each in operations
            if not self._is_known(caller, (backend, each.name))
        }
        if not unknown:
            return operations
        try:
            standings = await self._standings(caller, backend, unknown)
        except StatusError:
            self._failed = time.monotonic()
            if all(self._was_outside((backend, name)) for name in unknown):
                return operations
            raise
        self._has_answered()
        for name, standing in standings.items():
            if standing is _Standing.OUTSIDE:
                self._outside[backend, name] = time.monotonic()
        kept = {_Standing.SHOWN, _Standing.OUTSIDE}
        return [e for e in operations if standings.get(e.name, _Standing.SHOWN) in kept]

    def sees(self, caller: Principal, backend: str, owners: frozenset[Owner]) -> bool:
        """Return whether an operation with these owners exists for the caller."""
        return backend not in self._visibility or self._sees(caller, backend, owners)

    def explain(self, action: Action, explanation: Explanation) -> Explanation:
        """Add that ownership decides too. This does not tell which operations exist."""
        value = self._visibility.get(action.backend)
        is_of_operations = isinstance(action, OperationAction | ListAction)
        if value is None or not explanation.allowed or not is_of_operations:
            return explanation
        because = f"an operation that was started through the gateway exists only for {_FOR[value]}"
        return replace(explanation, steps=(*explanation.steps, Step(LABEL, because)))

    def _records(self) -> Owners:
        if self._store is None:
            raise status_error(
                Code.UNAVAILABLE,
                "this gateway runs without a store, so it cannot tell who started which operation",
                "STORE_UNAVAILABLE",
            )
        return self._store

    def _sees(self, caller: Principal, backend: str, owners: Iterable[Owner]) -> bool:
        """Return whether the caller owns an operation, or its tenant does where tenants count."""
        me = Owner.of(caller)
        tenant = caller.tenant if self._visibility[backend] == "tenant" else ""
        return any(each == me or (tenant and each.tenant == tenant) for each in owners)

    def _is_known(self, caller: Principal, key: _Key) -> bool:
        """Return whether the caller may see an operation, by the owners in memory alone.

        A hidden operation is looked up each time, because another process may have given it an
        owner.
        """
        owners = self._owners.get(key, _NOBODY)
        if owners:
            return self._sees(caller, key[0], owners)
        asked, present = self._outside.get(key), time.monotonic()
        if asked is None or present - asked < _FRESH:
            return asked is not None
        # To ask a store that is away takes seconds, so only one of many reads does.
        return present - self._failed < _FRESH and self._was_outside(key)

    def _has_answered(self) -> None:
        self._answered, self._failed = time.monotonic(), -math.inf

    def _was_outside(self, key: _Key) -> bool:
        """Return whether an operation counted as not started here when the store last answered.

        Nothing can be started while the store does not answer, so it counts as such until then.
        """
        asked = self._outside.get(key)
        return asked is not None and self._answered - asked < _FRESH

    def _learn(self, key: _Key, found: frozenset[Owner]) -> frozenset[Owner]:
        """Keep the owners of an operation, and return all that are known."""
        known = self._owners.get(key, _NOBODY)
        # A hidden operation is looked up each time, and must not take longer than a missing one.
        if found <= known:
            return known
        self._outside.pop(key, None)
        owners = self._owners[key] = known | found
        return owners

    async def _standings(
        self, caller: Principal, backend: str, operations: Mapping[GatewayName, Operation]
    ) -> Mapping[GatewayName, _Standing]:
        """Return what operations that exist are for a caller.

        A start of somebody else may have begun one of them, and its answer may be under way. So
        this waits for the answers to those starts that have none at first.
        """
        names = list(operations)
        give_up, pauses = time.monotonic() + _PATIENCE, iter(_PAUSES)
        nameless, found = await self._records().examine(backend, names)
        first = {each.id for each in nameless if each.is_due}
        while True:
            due = [each for each in nameless if each.is_due and each.id in first]
            waits = any(not self._sees(caller, backend, [each.owner]) for each in due)
            if not waits or len(found) == len(names) or time.monotonic() >= give_up:
                break
            await asyncio.sleep(next(pauses, _PAUSES[-1]))
            nameless, found = await self._records().examine(backend, names)
        # A start that has been lost meanwhile counts as lost.
        lost = [each for each in nameless if not each.is_due]
        standings: dict[GatewayName, _Standing] = {}
        for name, operation in operations.items():
            await operation.prepare()
            owners = self._learn((backend, name), found.get(name, _NOBODY))
            may = [each for each in lost if not owners and _may_have_begun(each, operation)]
            if not self._sees_all(caller, backend, owners, may):
                standings[name] = _Standing.HIDDEN
            elif waits and not owners:
                standings[name] = _Standing.UNDECIDED
            else:
                is_certain = not (owners or may or due)
                standings[name] = _Standing.OUTSIDE if is_certain else _Standing.SHOWN
        return standings

    def _sees_all(
        self,
        caller: Principal,
        backend: str,
        owners: frozenset[Owner],
        lost: Sequence[NamelessStart],
    ) -> bool:
        """Return whether a caller may see an operation by its owners, and by all lost starts."""
        if owners:
            return self._sees(caller, backend, owners)
        return all(self._sees(caller, backend, [each.owner]) for each in lost)


def _may_have_begun(start: NamelessStart, operation: Operation) -> bool:
    """Return whether an operation may be that of a lost start, by the time in its metadata."""
    created = operation.create_time
    return created is not None and start.started - _SKEW <= created <= start.answer_by + _SKEW


async def _existing(action: OperationAction, ask: Ask) -> Operation:
    """Return the answer of a backend. Its NOT_FOUND becomes the error for a hidden operation."""
    try:
        return await ask()
    except StatusError as error:
        if error.code is Code.NOT_FOUND:
            raise _hidden(action) from None
        raise


def _hidden(action: OperationAction) -> DeniedError:
    return DeniedError(denials.hidden(action), LABEL)


def _undecided(action: OperationAction) -> StatusError:
    return status_error(
        Code.UNAVAILABLE,
        f"nobody can tell yet who started operation {quote(action.name)}; call again in 5 s",
        "OWNER_UNDECIDED",
        metadata={"name": action.name, "backend": action.backend},
        backend=action.backend,
    )

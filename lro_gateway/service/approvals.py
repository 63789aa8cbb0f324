"""Approvals: calls that happen only after somebody else has agreed, and the verbs for them.

A call waits in the store, so that it survives restarts. Each change of its state is one conditional
update, so that several replicas can neither decide twice nor start twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from lro_gateway.access.audit import Approvable
from lro_gateway.access.denials import denied
from lro_gateway.access.policy import MethodAction, Verb
from lro_gateway.access.resource import is_insufficient_scope
from lro_gateway.access.sealing import UnsealError
from lro_gateway.backends.backend import Backend
from lro_gateway.background import BackgroundTasks
from lro_gateway.errors import Code, StatusError, invalid_argument, plain, quote, status_error
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal
from lro_gateway.records.approval import (
    KEPT,
    OPEN,
    Approval,
    ApprovalQuery,
    ApprovalState,
    Asked,
    Change,
)
from lro_gateway.records.entries import Earlier, new_id
from lro_gateway.service.approval_calls import ApprovalCalls, ApprovalParts
from lro_gateway.service.approval_changes import ApprovalChanges
from lro_gateway.service.approval_contents import request_of
from lro_gateway.service.approval_handles import handle, handle_types, is_backends, name_of
from lro_gateway.service.approval_requests import PageRequest
from lro_gateway.service.approval_rules import ApprovalRules
from lro_gateway.service.journaling import KeyClaimedError
from lro_gateway.service.preparing import Prepared
from lro_gateway.service.rates import Rates
from lro_gateway.service.starting import Started

logger: Final = logging.getLogger(__name__)

_MOST: Final = 100
"""The number of calls of one caller that may wait at a time."""
_LONGEST_REASON: Final = 500
_SWEEP: Final = 30.0
"""Seconds between two looks for calls that have expired, or that were approved and not started."""
_SWEPT: Final = 100
_PAGE: Final = "approvals_page"
_SCANNED: Final = 5
"""The number of reads of the store in which a page searches for calls that the caller may see."""


@dataclass(frozen=True, slots=True)
class ApprovalPage:
    """A page of handles, the newest first. `following` is the token of the next page, or empty.

    `decidable` are the names of those that the caller may approve or refuse now.
    """

    handles: Sequence[Operation]
    following: str = ""
    decidable: Collection[str] = ()


class Approvals:
    """The calls that wait for an approval, on all backends.

    `rules` are those of the backends. A call exists only for the caller that asked for it, and for
    those who may approve it.
    """

    def __init__(
        self,
        parts: ApprovalParts,
        rules: Mapping[str, ApprovalRules],
        calls: ApprovalCalls,
        rates: Rates,
        tasks: BackgroundTasks,
    ) -> None:
        self._records = parts.records
        self._contents = parts.contents
        self._backends = parts.backends
        self._policy = parts.policy
        self._audit = parts.audit
        self._clock = parts.clock
        self._sealer = parts.sealer
        self._router = parts.router
        self._rules = rules
        self._calls = calls
        self._rates = rates
        self._tasks = tasks
        self._types = handle_types()
        self.changes: Final = ApprovalChanges(parts.records, tasks)
        self.asked: Callable[[Approval], None] | None = None
        """Gets each call that has begun to wait."""

    async def ask(
        self, caller: Principal, backend: Backend, action: MethodAction, prepared: Prepared
    ) -> Started:
        """Record a call that waits for its approval, and return its handle after the commit.

        Raises `KeyClaimedError` if an earlier call has the idempotency key.
        """
        id_, now = new_id(), self._clock()
        request = request_of(prepared, action.types)
        lifetime = self._rules.get(backend.name, ApprovalRules()).lifetime
        asked = Asked(
            id_,
            caller,
            backend.name,
            action.method.path,
            self._contents.of_request(id_, request),
            backend is not self._backends[backend.name],
            now,
            now + lifetime,
        )
        added = await self._records.add(asked, _MOST, prepared.key)
        if isinstance(added, Earlier):
            raise KeyClaimedError(added)
        if not added:
            raise _too_many()
        approval = Approval(asked, ApprovalState.PENDING)
        self._audit.approval(caller, _approvable(approval), "APPROVAL_REQUIRED")
        if self.asked is not None:
            self.asked(approval)
        return Started(self.handle(approval))

    def handle(self, approval: Approval) -> Operation:
        """Return a call as an operation, for callers that may see it."""
        try:
            shown = self._contents.request(approval.id, approval.asked.request).shown
            outcome = self._contents.outcome(approval.id, approval.outcome)
        except StatusError as error:
            logger.warning("approvals/%s: %s", approval.id, error.message)
            shown, outcome = None, None
        if approval.operation:
            backend, name = approval.asked.backend, approval.operation
            approval = replace(approval, operation=self._router.present_name(backend, name))
        types = self._types
        if is_backends(outcome) and approval.asked.backend in self._backends:
            types = self._backends[approval.asked.backend].registry.types
        return handle(approval, shown, outcome, types)

    def seconds_left(self, approval: Approval) -> float:
        """Return the seconds until an open call expires, and a long time for any other call."""
        if approval.state not in OPEN:
            return KEPT.total_seconds()
        return max(0.0, (approval.asked.expires - self._clock()).total_seconds())

    def is_own(self, caller: Principal, approval: Approval) -> bool:
        """Return whether the caller has asked for the call."""
        return caller.identity == approval.caller.identity

    async def find(self, caller: Principal, id_: str) -> Approval:
        """Return a call that the caller asked for or may approve; raise NOT_FOUND otherwise."""
        approval = await self._current(id_)
        if approval is None:
            raise _unknown(id_)
        if self.is_own(caller, approval) or await self._may_approve(caller, approval):
            return approval
        raise _unknown(id_)

    async def resume(self, caller: Principal, id_: str) -> Approval:
        """Return a call. If it was approved and waits for its caller, start it first."""
        approval = await self.find(caller, id_)
        if approval.state is not ApprovalState.APPROVED or not self.is_own(caller, approval):
            return approval
        await self._start(caller, approval)
        return await self.find(caller, id_)

    async def decide(
        self, caller: Principal, id_: str, *, approves: bool, reason: str = ""
    ) -> Operation:
        """Approve or refuse a call, and return its handle.

        An approved call is started at once, unless it needs credentials of the caller that asked.
        """
        approval = await self._current(id_)
        if approval is None:
            raise _unknown(id_)
        rule = await self._authorized(caller, approval)
        await self._rates.spend(caller, Verb.APPROVE)
        state = ApprovalState.APPROVED if approves else ApprovalState.REFUSED
        now = self._clock()
        change = Change(decided=now, decider=caller, reason=plain(reason, _LONGEST_REASON))
        if not await self._records.move(id_, {ApprovalState.PENDING}, state, change, at=now):
            raise _decided(await self._current(id_) or approval)
        of = str(approval.caller)
        self._audit.approval(caller, _approvable(approval), state.name, rule=rule, of=of)
        self.changes.announce(id_)
        current = await self._current(id_) or approval
        if approves and not self._calls.needs_caller(current):
            await self._start(current.caller, current)
            current = await self._current(id_) or current
        return self.handle(current)

    async def cancel(self, caller: Principal, approval: Approval) -> None:
        """Withdraw a call that is not started yet. Only the caller that asked may do that."""
        if not self.is_own(caller, approval):
            raise status_error(
                Code.PERMISSION_DENIED,
                f"only the caller that asked may cancel {name_of(approval.id)}; refuse it instead",
                "APPROVAL_OF_ANOTHER",
            )
        change = Change(decided=self._clock(), decider=caller)
        state = ApprovalState.CANCELLED
        if await self._records.move(approval.id, OPEN, state, change, at=self._clock()):
            self._audit.approval(caller, _approvable(approval), state.name)
            self.changes.announce(approval.id)

    async def list(self, caller: Principal, request: PageRequest) -> ApprovalPage:
        """Return the calls that the caller asked for or may approve, the newest first."""
        reach = self._policy.reach(caller)
        backends = self._backends.keys() if reach is None else reach.backends(Verb.APPROVE)
        before, size = self._position(caller, request), request.page_size
        found: list[Operation] = []
        decidable: set[str] = set()
        for _ in range(_SCANNED):
            query = ApprovalQuery(caller, backends, size + 1, request.state, before)
            rows = await self._records.page(query)
            for row in rows:
                if len(found) == size:
                    return ApprovalPage(found, self._token(caller, request, before), decidable)
                before = row.id
                may_approve = await self._may_approve(caller, row)
                if may_approve and self._is_decidable(caller, row):
                    decidable.add(name_of(row.id))
                if may_approve or self.is_own(caller, row):
                    found.append(self.handle(row))
            if len(rows) <= size:
                return ApprovalPage(found, "", decidable)
        return ApprovalPage(found, self._token(caller, request, before), decidable)

    def _is_decidable(self, caller: Principal, approval: Approval) -> bool:
        """Return whether a call waits for a decision, which this caller may make if any is."""
        if approval.state is not ApprovalState.PENDING or not self.seconds_left(approval):
            return False
        return self._rules_of(approval).own or not self.is_own(caller, approval)

    def _token(self, caller: Principal, request: PageRequest, before: str) -> str:
        return self._sealer.seal(before.encode(), _PAGE, (*caller.identity, str(request.state)))

    def _position(self, caller: Principal, request: PageRequest) -> str:
        if not request.page_token:
            return ""
        try:
            context = (*caller.identity, str(request.state))
            return self._sealer.unseal(request.page_token, _PAGE, context).decode()
        except UnsealError:
            problem = "this gateway did not make this token for these arguments"
            raise invalid_argument("pageToken", problem, "INVALID_PAGE_TOKEN") from None

    async def may_decide(self, caller: Principal, id_: str) -> bool:
        """Return whether the caller may approve a call now, also if it is the caller's own."""
        approval = await self._current(id_)
        if approval is None or not self._is_decidable(caller, approval):
            return False
        return await self._may_approve(caller, approval)

    async def run(self) -> None:
        """Let calls expire, and start those that were approved and not started, for ever."""
        while True:
            try:
                await self.sweep()
            except StatusError as error:
                logger.warning(
                    "approved calls start later, and expired ones end later: %s", error.message
                )
            await asyncio.sleep(_SWEEP)

    async def sweep(self) -> None:
        """Let calls expire whose time is over, and start approved ones that were not started."""
        for each in await self._records.overdue(self._clock(), _SWEPT):
            await self._expire(each)
        for each in await self._records.approved(_SWEPT):
            if not self._calls.needs_caller(each):
                await self._start(each.caller, each)

    async def _start(self, caller: Principal, approval: Approval) -> None:
        """Start an approved call in a task that goes on if the caller leaves."""
        task = self._tasks.start_call(self._calls.start(caller, approval))
        await asyncio.shield(task)
        self.changes.announce(approval.id)

    async def _current(self, id_: str) -> Approval | None:
        """Return a call. If its time is over, its state is `EXPIRED`."""
        approval = await self._records.get(id_)
        if approval is None or approval.state not in OPEN:
            return approval
        if approval.asked.expires > self._clock():
            return approval
        await self._expire(approval)
        return await self._records.get(id_)

    async def _expire(self, approval: Approval) -> None:
        if await self._records.move(approval.id, OPEN, ApprovalState.EXPIRED):
            self._audit.approval(approval.caller, _approvable(approval), "EXPIRED")
            self.changes.announce(approval.id)

    def _rules_of(self, approval: Approval) -> ApprovalRules:
        # The backend may have lost its rules since the call was asked for.
        return self._rules.get(approval.asked.backend, ApprovalRules())

    async def _authorized(self, caller: Principal, approval: Approval) -> str:
        """Return the rule that lets the caller decide; raise an error if none does."""
        is_own = self.is_own(caller, approval)
        if is_own and not self._rules_of(approval).own:
            raise status_error(
                Code.PERMISSION_DENIED,
                f"{name_of(approval.id)} is your own, and somebody else must approve or refuse it;"
                " cancel it if you do not need it any more",
                "OWN_APPROVAL",
            )
        if not self._is_within(caller, approval):
            raise _unknown(approval.id)
        try:
            call = await self._calls.call_of(caller, approval, Verb.APPROVE)
        except StatusError as error:
            is_shown = is_own or self._may_ever_approve(caller, approval)
            raise (error if is_shown else _unknown(approval.id)) from None
        try:
            return await self._policy.authorize(caller, call.action)
        except StatusError as error:
            if is_insufficient_scope(error):
                raise
            # To everybody else, the error would tell that the call exists.
            raise (denied(call.action) if is_own else _unknown(approval.id)) from None

    def _is_within(self, caller: Principal, approval: Approval) -> bool:
        """Return whether a call exists for the tenant of the caller."""
        is_bound = self._rules_of(approval).within_tenant
        return not is_bound or caller.tenant == approval.caller.tenant

    def _may_ever_approve(self, caller: Principal, approval: Approval) -> bool:
        """Return whether the caller may approve any call on the backend."""
        reach = self._policy.reach(caller)
        return reach is None or approval.asked.backend in reach.backends(Verb.APPROVE)

    async def _may_approve(self, caller: Principal, approval: Approval) -> bool:
        """Return whether the policy lets the caller approve a call of anybody."""
        if not (self._is_within(caller, approval) and self._may_ever_approve(caller, approval)):
            return False
        try:
            call = await self._calls.call_of(caller, approval, Verb.APPROVE)
        except StatusError:
            return False
        return self._policy.explain(caller, call.action).allowed


def _approvable(approval: Approval) -> Approvable:
    return Approvable(approval.asked.method, approval.asked.backend, name_of(approval.id))


def _unknown(id_: str) -> StatusError:
    name = name_of(id_)
    return status_error(
        Code.NOT_FOUND,
        f"there is no operation {quote(name)}",
        "NO_SUCH_OPERATION",
        metadata={"name": name},
    )


def _decided(approval: Approval) -> StatusError:
    state = approval.state.value
    return status_error(
        Code.FAILED_PRECONDITION,
        f"{name_of(approval.id)} is no longer pending, but {state}",
        "APPROVAL_DECIDED",
        metadata={"state": state},
    )


def _too_many() -> StatusError:
    return status_error(
        Code.RESOURCE_EXHAUSTED,
        f"{_MOST} calls of yours wait for an approval already; cancel some, or wait",
        "TOO_MANY_APPROVALS",
    )

"""The calls behind approvals: their actions for the policy, and their starts after an approval."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.longrunning import operations_pb2

from lro_gateway.access.audit import Audit
from lro_gateway.access.policy import MethodAction, Policy, Verb
from lro_gateway.access.sealing import Sealer
from lro_gateway.backends.backend import Backend
from lro_gateway.backends.router import Router
from lro_gateway.errors import Code, StatusError, status_error, unexpected_error
from lro_gateway.log_context import KEEP
from lro_gateway.principal import Principal
from lro_gateway.records.approval import Approval, ApprovalRecords, ApprovalState, Change
from lro_gateway.service.approval_contents import Contents
from lro_gateway.service.catalog import Catalog, Offer
from lro_gateway.service.journaling import longest_call, may_have_begun
from lro_gateway.service.outcomes import logged
from lro_gateway.service.preparing import Prepared
from lro_gateway.service.starting import Started, Starts

logger: Final = logging.getLogger(__name__)

Clock = Callable[[], dt.datetime]
"""Returns the present time in UTC."""
_NOT_RECORDED: Final = "START_NOT_RECORDED"
_UNSETTLED: Final = frozenset({ApprovalState.STARTING, ApprovalState.UNKNOWN})
_BEHIND: Final = "the outcome of approvals/%s is not recorded yet: %s"
_PAUSE: Final = 1.0
"""Seconds between two attempts to record an outcome."""


@dataclass(frozen=True, slots=True)
class ApprovalParts:
    """The parts that approvals and their calls both use."""

    records: ApprovalRecords
    contents: Contents
    sealer: Sealer
    backends: Mapping[str, Backend]
    policy: Policy
    audit: Audit
    clock: Clock
    router: Router


@dataclass(frozen=True, slots=True)
class WaitingCall:
    """A call that waits: its backend as it is for a caller, its action, and its request."""

    backend: Backend
    action: MethodAction
    prepared: Prepared


class ApprovalCalls:
    """Makes the calls that were approved, each at most once."""

    def __init__(self, parts: ApprovalParts, catalog: Catalog, starts: Starts) -> None:
        self._records = parts.records
        self._contents = parts.contents
        self._backends = parts.backends
        self._policy = parts.policy
        self._audit = parts.audit
        self._clock = parts.clock
        self._catalog = catalog
        self._starts = starts
        self._offers: tuple[Mapping[str, Offer], dict[tuple[str, str], Offer]] = ({}, {})

    async def call_of(
        self, caller: Principal, approval: Approval, verb: Verb | None = None
    ) -> WaitingCall:
        """Return the call that an approval is for, with a verb, or with its own.

        Raises an error if the backend no longer offers the method, or if the request cannot be
        read.
        """
        asked = approval.asked
        offer = await self._offer(asked.backend, asked.method)
        backend = self._backends[asked.backend].for_caller(caller)
        method = offer.declared[asked.backend]
        request = self._contents.request(approval.id, asked.request)
        types = backend.registry.types
        kind = types.message_class(method.request.full_name)
        if kind is None:
            raise _gone(asked.backend, asked.method)
        message = kind.FromString(request.message)
        own = Verb.START if method.is_long_running else Verb.CALL
        action = MethodAction(verb or own, backend.name, method, message, offer.hints, types)
        rules = self._catalog.rules_of(backend.name)
        return WaitingCall(
            backend, action, Prepared(method, message, request.request_id or None, rules)
        )

    def needs_caller(self, approval: Approval) -> bool:
        """Return whether the call can only start with credentials of the caller that asked.

        The store has no credentials. The backend is shown something of the caller, or a token that
        the caller's own is exchanged for.
        """
        backend = self._backends.get(approval.asked.backend)
        if backend is None or approval.asked.needs_caller:
            return True
        return backend.for_caller(approval.caller) is not backend

    async def start(self, caller: Principal, approval: Approval) -> None:
        """Make an approved call for the caller that asked, unless another process makes it.

        The policy is asked again. The outcome is in the records when this returns.
        """
        backend = self._backends.get(approval.asked.backend)
        if backend is None:
            return
        claim = Change(answer_by=self._clock() + longest_call(backend))
        before, after = {ApprovalState.APPROVED}, ApprovalState.STARTING
        if not await self._records.move(approval.id, before, after, claim, at=self._clock()):
            return
        try:
            started = await self._made(caller, approval)
        except StatusError as error:
            state, change = self._failed(approval, error)
        except Exception as error:  # noqa: BLE001 - unexpected_error logs it
            failure = unexpected_error("the start of an approved call", error)
            state, change = ApprovalState.UNKNOWN, self._outcome(approval, error=failure)
        else:
            state, change = ApprovalState.STARTED, self._answered(approval, started)
        await self._settle(approval, state, change)

    async def _settle(self, approval: Approval, state: ApprovalState, change: Change) -> None:
        """Record the outcome. If the store does not answer, it is tried again until it does."""
        while True:
            try:
                await self._records.move(approval.id, _UNSETTLED, state, change)
            except StatusError as error:
                logger.warning(_BEHIND, approval.id, error.message, extra=KEEP)
                await asyncio.sleep(_PAUSE)
            else:
                return

    async def _made(self, caller: Principal, approval: Approval) -> Started:
        call = await self.call_of(caller, approval)
        action, backend = call.action, call.backend
        rule = await self._policy.authorize(caller, action)
        path = action.method.path
        with (
            self._audit.call(caller, action, rule) as made,
            logged(action.verb, path, backend),
        ):
            started = await self._starts.begin(caller, backend, call.prepared)
            made.name = started.operation.name if started.operation is not None else ""
        return started

    def _failed(self, approval: Approval, error: StatusError) -> tuple[ApprovalState, Change]:
        """Return the state after an error, and what changes with it."""
        info = error.info
        if error.reason == _NOT_RECORDED and info is not None:
            return ApprovalState.STARTED, Change(operation=info.metadata["operation"])
        if may_have_begun(error):
            return ApprovalState.UNKNOWN, self._outcome(approval, error=error)
        if error.code is Code.UNAVAILABLE:
            # Nothing has begun, and the approval holds until it expires.
            return ApprovalState.APPROVED, Change()
        return ApprovalState.FAILED, self._outcome(approval, error=error)

    def _answered(self, approval: Approval, started: Started) -> Change:
        if started.operation is not None and started.operation.name:
            return Change(operation=started.operation.name)
        response = started.response
        return self._outcome(approval, response=None if response is None else response.message)

    def _outcome(
        self, approval: Approval, *, error: StatusError | None = None, response: Any = None
    ) -> Change:
        outcome = operations_pb2.Operation()
        if error is not None:
            outcome.error.CopyFrom(error.status)
        elif response is not None:
            outcome.response.Pack(response)
        content = outcome.SerializeToString()
        return Change(outcome=self._contents.of_outcome(approval.id, content) if content else "")

    async def _offer(self, backend: str, path: str) -> Offer:
        """Return the offer of a method on a backend."""
        if backend not in self._backends:
            raise _gone(backend, path)
        offers = await self._catalog.offers(of=(backend,))
        if offers is not self._offers[0]:
            known = {(b, each.method.path): each for each in offers.values() for b in each.backends}
            self._offers = offers, known
        found = self._offers[1].get((backend, path))
        if found is None:
            raise self._catalog.unreached((backend,)) or _gone(backend, path)
        return found


def _gone(backend: str, path: str) -> StatusError:
    return status_error(
        Code.FAILED_PRECONDITION,
        f"backend {backend!r} no longer offers {path}",
        "METHOD_UNKNOWN",
        metadata={"method": path},
        backend=backend,
    )

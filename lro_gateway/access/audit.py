"""The audit: one entry for each call that may change something, and for each refusal.

An entry never has a token or a payload. Names of operations, methods and callers are in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from opentelemetry import trace

from lro_gateway.access.denials import DeniedError
from lro_gateway.access.policy import Action, Explanation, MethodOffer, Policy, Reach
from lro_gateway.access.rule_policy import facts_of
from lro_gateway.access.sign_in_failures import FailureLimit
from lro_gateway.errors import Code, StatusError, bounded, code_name
from lro_gateway.log_context import REQUEST_ID
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal

Entry = dict[str, str | bool | int]
"""The values of an entry by their keys. A key without a value is left out."""

Sink = Callable[[Entry], object]
"""Takes an entry, and returns at once."""

_Offer = TypeVar("_Offer", bound=MethodOffer)
_MISSING: Final = "CREDENTIALS_MISSING"
_SIGN_IN_FAILURE: Final = "sign_in_failure"


@dataclass(frozen=True, slots=True)
class Approvable:
    """A call that needs an approval: the method, the backend, and the name of its handle."""

    method: str
    backend: str
    name: str


@dataclass(slots=True)
class Made:
    """A call that is under way. `name` is the operation that it started, once that is known.

    `is_repeat` is true if an earlier call with the same idempotency key has started it.
    """

    name: str = ""
    is_repeat: bool = False


_NOTHING: Final = Made()


class Audit:
    """Gives entries to a sink. Without a sink, nothing is recorded."""

    def __init__(self, sink: Sink | None = None) -> None:
        self._sink = sink
        self._failures = FailureLimit(self._omitted)

    def close(self) -> None:
        """Record what has been left out so far."""
        self._failures.close()

    @contextmanager
    def call(
        self, caller: Principal, action: Action, rule: str, *, confirmed: bool = False
    ) -> Iterator[Made]:
        """Record a call when it has ended, with the code of its outcome."""
        made = Made()
        if self._sink is None:
            yield made
            return
        outcome = Code.CANCELLED.name
        try:
            yield made
            outcome = Code.OK.name
        except StatusError as error:
            outcome = error.reason or code_name(error.status.code)
            raise
        finally:
            self._record("call", caller, action, rule, outcome, made=made, confirmed=confirmed)

    def refusal(self, caller: Principal, action: Action, error: StatusError) -> None:
        """Record that the policy has refused an action."""
        rule = error.rule if isinstance(error, DeniedError) else ""
        outcome = error.reason or code_name(error.status.code)
        self._record("refusal", caller, action, rule, outcome)

    def confirmation(self, caller: Principal, action: Action, rule: str, outcome: str) -> None:
        """Record that a person must agree to an action, or has not agreed."""
        self._record("confirmation", caller, action, rule, outcome)

    def approval(
        self, caller: Principal, call: Approvable, outcome: str, *, rule: str = "", of: str = ""
    ) -> None:
        """Record that a call was asked for, approved or refused, or that its approval has expired.

        `caller` is the caller that acted. `of` is the caller that had asked for the call, if that
        is another one. An expiry is recorded for the caller that asked.
        """
        values = {"method": call.method, "backend": call.backend, "name": call.name, "for": of}
        decided = {"decision": "allowed", "rule": rule, "outcome": outcome}
        self._write({"event": "approval", **_who(caller), **values, **decided})

    def sign_in_failure(self, host: str, error: StatusError) -> None:
        """Record credentials that identify no caller. A request without any has not tried.

        Of many failures in a short time only the first ones are recorded, and then their number.
        """
        if self._sink is None or error.reason == _MISSING:
            return
        reason = error.reason or ""
        if self._failures.passes(host, reason):
            self._write({"event": _SIGN_IN_FAILURE, "host": host, "outcome": reason})

    def _omitted(self, host: str, reason: str, number: int) -> None:
        outcome = reason or "SEVERAL"
        self._write(
            {"event": _SIGN_IN_FAILURE, "host": host, "outcome": outcome, "omitted": number}
        )

    def _record(
        self,
        event: str,
        caller: Principal,
        action: Action,
        rule: str,
        outcome: str,
        *,
        made: Made = _NOTHING,
        confirmed: bool = False,
    ) -> None:
        if self._sink is None:
            return
        facts = facts_of(action)
        self._write(
            {
                "event": event,
                **_who(caller),
                "verb": facts.verb.value,
                "method": facts.method,
                "backend": facts.backend,
                "name": bounded(made.name or facts.name),
                "decision": "denied" if event == "refusal" else "allowed",
                "rule": rule,
                "confirmed": confirmed,
                "repeat": made.is_repeat,
                "outcome": outcome,
            }
        )

    def _write(self, values: Mapping[str, str | bool | int]) -> None:
        if self._sink is None:
            return
        now = datetime.fromtimestamp(time.time(), UTC)
        context = trace.get_current_span().get_span_context()
        entry: Entry = {
            "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            **values,
            "trace_id": f"{context.trace_id:032x}" if context.is_valid else "",
            "request_id": REQUEST_ID.get() or "",
        }
        self._sink({key: value for key, value in entry.items() if value})


def _who(caller: Principal) -> Entry:
    return {
        "issuer": caller.issuer,
        "subject": caller.subject,
        "tenant": caller.tenant,
        "client": caller.client,
        "host": caller.peer[0] if caller.peer else "",
    }


def unaudited(policy: Policy) -> Policy:
    """Return the policy that decides, for questions that no caller has asked."""
    return policy.policy if isinstance(policy, AuditedPolicy) else policy


@dataclass(frozen=True, slots=True)
class AuditedPolicy:
    """A policy whose refusals are recorded."""

    policy: Policy
    audit: Audit

    async def authorize(self, caller: Principal, action: Action, /) -> str:
        """Return the answer of the policy, and record the refusal if it raises one."""
        try:
            return await self.policy.authorize(caller, action)
        except StatusError as error:
            self.audit.refusal(caller, action, error)
            raise

    async def visible(
        self, caller: Principal, operations: Sequence[Operation], /
    ) -> Sequence[Operation]:
        """Return the answer of the policy."""
        return await self.policy.visible(caller, operations)

    async def offered(
        self, caller: Principal, offers: Mapping[str, _Offer], /, *, challenged: bool = False
    ) -> Mapping[str, _Offer]:
        """Return the answer of the policy."""
        return await self.policy.offered(caller, offers, challenged=challenged)

    def explain(self, caller: Principal, action: Action, /) -> Explanation:
        """Return the answer of the policy."""
        return self.policy.explain(caller, action)

    def reach(self, caller: Principal, /) -> Reach | None:
        """Return the answer of the policy."""
        return self.policy.reach(caller)

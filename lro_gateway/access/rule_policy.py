"""The policy of `[[policy]]`: the first rule that matches decides. Without one, the answer is no.

Decisions that need neither the name nor the arguments of a request are made once for each caller,
verb, backend and method, and kept. The rest is decided at each request, by the rules that remain.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from cachetools import LRUCache

from lro_gateway.access import deciding, denials
from lro_gateway.access.deciding import Candidate, Decision
from lro_gateway.access.denials import DeniedError
from lro_gateway.access.explaining import explanation
from lro_gateway.access.policy import (
    READS,
    Action,
    Explanation,
    ListAction,
    MethodAction,
    MethodOffer,
    OperationAction,
    Reach,
    Verb,
)
from lro_gateway.access.rules import Facts, Rule, hints_of
from lro_gateway.background import Slices
from lro_gateway.errors import StatusError
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal

logger: Final = logging.getLogger(__name__)

_KEPT: Final = 16_384
"""The number of kept decisions of each kind."""
_CALLERS: Final = 4096
"""The number of callers whose rules are kept."""
_MAPPINGS: Final = 64
"""The number of kept lists of methods. Callers with the same rules share one."""
_NO_VALUE: Final = "the condition of %s has no value, so the rule denies %s: %s"
_Offer = TypeVar("_Offer", bound=MethodOffer)


@dataclass(slots=True)
class _Profile:
    """The rules that may match a caller. Callers with the same `key` may do the same."""

    rules: tuple[Candidate, ...]
    key: tuple[object, ...]
    reach: Reach | None = None


class RulePolicy:
    """Decides by rules. The first that matches decides, and without one the answer is no."""

    def __init__(self, rules: Sequence[Rule], backends: Iterable[str]) -> None:
        self.rules = tuple(rules)
        self._backends = tuple(backends)
        self._profiles: LRUCache[Principal, _Profile] = LRUCache(_CALLERS)
        self._remaining: LRUCache[tuple[object, ...], tuple[Candidate, ...]] = LRUCache(_KEPT)
        self._decisions: LRUCache[tuple[object, ...], Decision] = LRUCache(_KEPT)
        self._of: Mapping[str, Any] | None = None
        self._offered: LRUCache[tuple[object, ...], Mapping[str, Any]] = LRUCache(_MAPPINGS)
        self._slices = Slices()

    async def authorize(self, caller: Principal, action: Action, /) -> str:
        """Return the label of the rule that allows an action, or raise the refusal."""
        decision = self.decide(caller, action)
        label = decision.rule.label if decision.rule is not None else ""
        if decision.allowed:
            return label
        _log_failure(decision, action.verb)
        raise DeniedError(self._error(caller, action, decision), label)

    def _error(self, caller: Principal, action: Action, decision: Decision) -> StatusError:
        if decision.scopes:
            return denials.insufficient_scope(action, decision.scopes)
        if not self._may_know(caller, action):
            return denials.hidden(action)
        if decision.rule is not None and decision.rule.changes:
            return denials.read_only(action)
        return denials.denied(action)

    def decide(self, caller: Principal, action: Action) -> Decision:
        """Return the decision on an action."""
        facts = facts_of(action)
        match action:
            case OperationAction():
                return self._on_name(caller, facts)
            case ListAction():
                return deciding.for_list(self._candidates(caller, facts), facts)
            case MethodAction():
                candidates = self._candidates(caller, facts)
                return deciding.for_request(candidates, caller, facts, action)
            case _:
                return deciding.for_request(self._candidates(caller, facts), caller, facts, None)

    def explain(self, caller: Principal, action: Action, /) -> Explanation:
        """Return which rule decides on an action, and why the earlier ones do not."""
        return explanation(self.rules, caller, action, facts_of(action))

    async def visible(
        self, caller: Principal, operations: Sequence[Operation], /
    ) -> Sequence[Operation]:
        """Return the operations that the caller may list, each by its own canonical name."""
        found = []
        for each in operations:
            await self._slices.pause()
            decision = self._on_name(caller, Facts(Verb.LIST, each.backend, each.name))
            if decision.allowed:
                found.append(each)
            else:
                _log_failure(decision, Verb.LIST)
        return operations if len(found) == len(operations) else found

    async def offered(
        self, caller: Principal, offers: Mapping[str, _Offer], /, *, challenged: bool = False
    ) -> Mapping[str, _Offer]:
        """Return the methods that the caller may call with some arguments.

        Callers with the same rules get the same object until the offers change.
        """
        if self._of is not offers:
            self._of = offers
            self._offered.clear()
        key = (self._profile(caller).key, challenged)
        result: Mapping[str, _Offer] | None = self._offered.get(key)
        if result is not None:
            return result
        found: dict[str, _Offer] = {}
        for name, offer in offers.items():
            await self._slices.pause()
            on = tuple(b for b in offer.backends if self._may_call(caller, offer, b, challenged))
            if on:
                found[name] = offer if len(on) == len(offer.backends) else offer.on(on)
        is_whole = len(found) == len(offers) and all(found[each] is offers[each] for each in found)
        result = offers if is_whole else found
        if self._of is offers:
            self._offered[key] = result
        return result

    def _may_call(
        self, caller: Principal, offer: MethodOffer, backend: str, challenged: bool
    ) -> bool:
        """Return whether there are arguments with which the caller may call a method."""
        verb = Verb.START if offer.method.is_long_running else Verb.CALL
        facts = Facts(verb, backend, method=offer.method.path, hints=offer.hints)
        return _may_ever(self._candidates(caller, facts), verb, challenged=challenged)

    def reach(self, caller: Principal, /) -> Reach:
        """Return what the caller may ever do."""
        profile = self._profile(caller)
        if profile.reach is None:
            usable: dict[Verb, set[str]] = {verb: set() for verb in Verb}
            challenged: set[str] = set()
            for backend in self._backends:
                for verb in Verb:
                    rules = deciding.on_backend(profile.rules, caller, verb, backend)
                    if _may_ever(rules, verb):
                        usable[verb].add(backend)
                    if deciding.may_ever(rules, verb, challenged=True):
                        challenged.add(backend)
            sets = {verb: frozenset(backends) for verb, backends in usable.items()}
            shown = frozenset[str]().union(*sets.values())
            profile.reach = Reach(sets, shown, frozenset(challenged))
        return profile.reach

    def _profile(self, caller: Principal) -> _Profile:
        profile = self._profiles.get(caller)
        if profile is None:
            rules = deciding.for_caller(self.rules, caller)
            key: tuple[object, ...] = tuple((id(e.rule), e.lacks_scopes, e.failure) for e in rules)
            # A condition that is not evaluated yet may depend on the caller.
            if any(each.asks for each in rules):
                key = (caller, *key)
            profile = self._profiles[caller] = _Profile(rules, key)
        return profile

    def _candidates(self, caller: Principal, facts: Facts) -> tuple[Candidate, ...]:
        """Return the rules that may match an action of a caller."""
        key = (caller, facts.verb, facts.backend, facts.method, facts.hints)
        found = self._remaining.get(key)
        if found is None:
            found = deciding.for_action(self._profile(caller).rules, caller, facts)
            self._remaining[key] = found
        return found

    def _on_name(self, caller: Principal, facts: Facts) -> Decision:
        """Return the decision on a verb of one operation."""
        key = (caller, facts.verb, facts.backend, facts.name)
        decision = self._decisions.get(key)
        if decision is None:
            candidates = self._candidates(caller, facts)
            decision = deciding.for_request(candidates, caller, facts, None)
            # Without a condition, a decision is made as fast as it is found.
            if any(each.asks for each in candidates):
                self._decisions[key] = decision
        return decision

    def _may_know(self, caller: Principal, action: Action) -> bool:
        """Return whether the caller may see the operation or the method of an action."""
        facts = facts_of(action)
        others = [replace(facts, verb=verb, hints=hints_of(verb)) for verb in READS]
        match action:
            case OperationAction():
                return any(self._on_name(caller, each).allowed for each in others)
            case ListAction():
                return any(
                    deciding.for_list(self._candidates(caller, each), each).allowed
                    for each in others
                )
            case MethodAction():
                return deciding.may_ever(self._candidates(caller, facts), action.verb)
            case _:
                return False


def _may_ever(candidates: tuple[Candidate, ...], verb: Verb, *, challenged: bool = False) -> bool:
    """Return what `deciding.may_ever` does. The log tells which condition hides something."""
    is_possible = deciding.may_ever(candidates, verb, challenged=challenged)
    failing = next((each for each in candidates if each.failure), None)
    if failing is not None and not is_possible:
        _log_failure(Decision(False, failing.rule, failure=failing.failure), verb)
    return is_possible


def _log_failure(decision: Decision, verb: Verb) -> None:
    if decision.failure and decision.rule is not None:
        logger.warning(_NO_VALUE, decision.rule.label, verb.value, decision.failure)


def facts_of(action: Action) -> Facts:
    """Return what rules see of an action."""
    match action:
        case OperationAction():
            hints = hints_of(action.verb)
            return Facts(action.verb, action.backend, action.name, hints=hints)
        case ListAction():
            return Facts(action.verb, action.backend, action.parent)
        case MethodAction():
            path = action.method.path
            return Facts(action.verb, action.backend, method=path, hints=action.hints)
        case _:
            return Facts(action.verb, "")

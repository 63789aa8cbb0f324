"""Decisions of rules in three steps: those for a caller, those for an action, and for a request.

Each step leaves out the rules that cannot match, so that a request meets only those that may.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from lro_gateway.access.arguments import TooLargeError, arguments_of
from lro_gateway.access.conditions import UnevaluableError, bind
from lro_gateway.access.policy import OF_METHODS, MethodAction, Verb
from lro_gateway.access.rules import Facts, Rule, hints_of
from lro_gateway.principal import Principal

_NO_ARGUMENTS: Final[Mapping[str, Any]] = {}
_NO_ACTION: Final = Facts(Verb.GET, "")


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision on an action.

    `rule` is the rule that decided, or None if no rule matches. `scopes` are those of the first
    rule that would allow the action if the caller had them. `failure` tells why the condition of
    `rule` has no value.
    """

    allowed: bool
    rule: Rule | None = None
    scopes: frozenset[str] = frozenset()
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rule that may match. `asks` tells whether its condition has still to be evaluated."""

    rule: Rule
    lacks_scopes: bool
    asks: bool
    failure: str = ""

    @property
    def is_sure(self) -> bool:
        """Whether the rule decides every request whose name it matches."""
        return bool(self.failure) or not (self.asks or self.lacks_scopes)


def for_caller(rules: Iterable[Rule], caller: Principal) -> tuple[Candidate, ...]:
    """Return the rules that may match a caller."""
    return tuple(_for_caller(rules, caller))


def _for_caller(rules: Iterable[Rule], caller: Principal) -> Iterator[Candidate]:
    for rule in rules:
        lacks_scopes = bool(rule.missing_scopes(caller))
        if rule.wrong_caller(caller) or (lacks_scopes and not rule.allows):
            continue
        asks = rule.when is not None
        candidate = Candidate(rule, lacks_scopes, asks)
        if rule.when is not None and not rule.when.needs_action:
            evaluated = _evaluated(candidate, caller, _NO_ACTION)
            if evaluated is None:
                continue
            candidate = evaluated
        yield candidate


def for_action(
    candidates: Iterable[Candidate], caller: Principal, facts: Facts
) -> tuple[Candidate, ...]:
    """Return the rules that may match an action, up to the first that surely does."""
    found = []
    for each in candidates:
        if each.rule.wrong_action(facts):
            continue
        candidate: Candidate | None = each
        when = each.rule.when
        if each.asks and when is not None and not _needs_request(each.rule, facts):
            candidate = _evaluated(each, caller, facts)
        if candidate is None:
            continue
        found.append(candidate)
        if candidate.is_sure and not each.rule.narrows_names(facts.verb):
            break
    return tuple(found)


def _needs_request(rule: Rule, facts: Facts) -> bool:
    """Return whether a condition needs what differs from one request to the next."""
    if rule.when is None:
        return False
    return rule.when.needs_args if facts.verb in OF_METHODS else rule.when.needs_request


def for_request(
    candidates: Iterable[Candidate], caller: Principal, facts: Facts, action: MethodAction | None
) -> Decision:
    """Return the decision of the rules that remain."""
    candidates = tuple(candidates)
    scopes: frozenset[str] = frozenset()
    bound = None
    for each in candidates:
        rule, failure = each.rule, each.failure
        if rule.wrong_name(facts):
            continue
        if each.asks and rule.when is not None:
            try:
                bound = bound or bind(variables(caller, facts, _arguments(candidates, action)))
                if not rule.when.holds(bound):
                    continue
            except (UnevaluableError, TooLargeError) as error:
                failure = str(error)
        if failure or not rule.allows:
            return Decision(allowed=False, rule=rule, scopes=scopes, failure=failure)
        if not each.lacks_scopes:
            return Decision(allowed=True, rule=rule)
        scopes = scopes or rule.scopes
    return Decision(allowed=False, scopes=scopes)


def for_list(candidates: Iterable[Candidate], facts: Facts) -> Decision:
    """Return the decision on a list, which is allowed if it may show any operation."""
    scopes: frozenset[str] = frozenset()
    for each in candidates:
        rule = each.rule
        if each.failure or not rule.allows:
            if each.is_sure and not rule.narrows_names(facts.verb):
                return Decision(allowed=False, rule=rule, scopes=scopes, failure=each.failure)
        elif rule.may_match_below(facts):
            if not each.lacks_scopes:
                return Decision(allowed=True, rule=rule)
            scopes = scopes or rule.scopes
    return Decision(allowed=False, scopes=scopes)


def may_ever(candidates: Iterable[Candidate], verb: Verb, *, challenged: bool = False) -> bool:
    """Return whether some request with a verb may be allowed.

    With `challenged`, the scopes that the caller lacks count as if it had them.
    """
    for each in candidates:
        if each.failure or not each.rule.allows:
            if each.is_sure and not each.rule.narrows_names(verb):
                return False
        elif challenged or not each.lacks_scopes:
            return True
    return False


def on_backend(
    candidates: Iterable[Candidate], caller: Principal, verb: Verb, backend: str
) -> tuple[Candidate, ...]:
    """Return the rules that may match some request with a verb on a backend."""
    facts = Facts(verb, backend, hints=hints_of(verb))
    if verb not in OF_METHODS:
        return for_action(candidates, caller, facts)
    # The method and the condition of a rule are decided later.
    return tuple(
        replace(each, asks=each.asks or each.rule.narrows_methods)
        for each in candidates
        if verb in each.rule.verbs and (not each.rule.backends or backend in each.rule.backends)
    )


def variables(caller: Principal, facts: Facts, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of conditions."""
    hints = facts.hints
    return {
        "caller.subject": caller.subject,
        "caller.issuer": caller.issuer,
        "caller.tenant": caller.tenant,
        "caller.client": caller.client,
        "caller.groups": sorted(caller.groups),
        "caller.scopes": sorted(caller.scopes),
        "verb": facts.verb.value,
        "backend": facts.backend,
        "name": facts.name,
        "method": facts.method,
        "hints.reads": facts.reads,
        "hints.destructive": hints.destroys is not False,
        "hints.idempotent": hints.idempotent,
        "args": arguments,
    }


def _evaluated(candidate: Candidate, caller: Principal, facts: Facts) -> Candidate | None:
    """Return the candidate after its condition, or None if the condition does not hold."""
    condition = candidate.rule.when
    if condition is None:
        return candidate
    try:
        holds = condition.holds(bind(variables(caller, facts, _NO_ARGUMENTS)))
    except UnevaluableError as error:
        return replace(candidate, asks=False, failure=str(error))
    return replace(candidate, asks=False) if holds else None


def _arguments(candidates: Iterable[Candidate], action: MethodAction | None) -> Mapping[str, Any]:
    """Return the arguments of a call if a condition that has to be evaluated needs them."""
    needed = any(
        each.asks and each.rule.when is not None and each.rule.when.needs_args
        for each in candidates
    )
    if action is None or not needed:
        return _NO_ARGUMENTS
    return arguments_of(action.request, action.types)

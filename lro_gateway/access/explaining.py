"""Explanations: which rule decides on an action, and why the earlier ones do not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from lro_gateway.access import deciding
from lro_gateway.access.arguments import TooLargeError, arguments_of
from lro_gateway.access.conditions import UnevaluableError, bind
from lro_gateway.access.policy import Action, Explanation, ListAction, MethodAction, Step
from lro_gateway.access.rules import Facts, Rule
from lro_gateway.principal import Principal

_ALLOWS: Final = "it matches, and allows"
_DENIES: Final = "it matches, and denies"


def explanation(
    rules: Iterable[Rule], caller: Principal, action: Action, facts: Facts
) -> Explanation:
    """Explain the decision of rules on an action."""
    steps: list[Step] = []
    scopes: frozenset[str] = frozenset()
    for rule in rules:
        why = _why_not(rule, caller, action, facts)
        if why:
            steps.append(Step(rule.label, why))
            continue
        failure, missing = _failure(rule, caller, action, facts), rule.missing_scopes(caller)
        if missing and failure is None:
            steps.append(Step(rule.label, f"the caller lacks {', '.join(sorted(missing))}"))
            scopes = scopes or (rule.scopes if rule.allows else scopes)
            continue
        allowed = rule.allows and failure is None
        steps.append(Step(rule.label, failure or (_ALLOWS if allowed else _DENIES)))
        return Explanation(allowed, rule.label, tuple(steps), scopes)
    return Explanation(allowed=False, steps=tuple(steps), scopes=scopes)


def _why_not(rule: Rule, caller: Principal, action: Action, facts: Facts) -> str:
    """Return why a rule does not match. Scopes, and a condition without a value, do not count."""
    why = rule.wrong_caller(caller) or rule.wrong_action(facts)
    why = why or (_hides(rule, facts) if isinstance(action, ListAction) else rule.wrong_name(facts))
    if why:
        return why
    if rule.missing_scopes(caller) and not rule.allows:
        return "the caller lacks its scopes"
    return "its condition is false" if _holds(rule, caller, action, facts) is False else ""


def _hides(rule: Rule, facts: Facts) -> str:
    """Return why a rule does not decide on a list as a whole, or an empty text."""
    if rule.allows:
        return "" if rule.may_match_below(facts) else "its names are not below the parent"
    if rule.narrows_names(facts.verb):
        return "it hides the operations with names that it matches"
    if rule.when is not None and rule.when.needs_request:
        return "it hides the operations that its condition matches"
    return ""


def _failure(rule: Rule, caller: Principal, action: Action, facts: Facts) -> str | None:
    """Return why the condition of a rule has no value, or None if it has one."""
    found = _holds(rule, caller, action, facts)
    return found if isinstance(found, str) else None


def _holds(rule: Rule, caller: Principal, action: Action, facts: Facts) -> bool | str:
    """Return whether the condition of a rule holds, or why it has no value."""
    if rule.when is None or (isinstance(action, ListAction) and rule.when.needs_request):
        return True
    try:
        arguments = (
            arguments_of(action.request, action.types)
            if isinstance(action, MethodAction) and rule.when.needs_args
            else {}
        )
        return rule.when.holds(bind(deciding.variables(caller, facts, arguments)))
    except (UnevaluableError, TooLargeError) as error:
        return f"its condition has no value, so it denies: {error}"

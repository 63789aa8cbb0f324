"""Explanations of the policy for an action that a caller might do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from lro_gateway.access.policy import (
    OF_METHODS,
    Action,
    ExplainAction,
    Explanation,
    ListAction,
    MethodAction,
    OperationAction,
    Verb,
)
from lro_gateway.errors import Code, invalid_argument, quote, status_error
from lro_gateway.principal import Principal
from lro_gateway.service.changes import CANCELLATION, DELETION
from lro_gateway.service.method_names import meant, nearest
from lro_gateway.service.offer_rules import OfferRules
from lro_gateway.service.preparing import parsed
from lro_gateway.service.service import OperationService


@dataclass(frozen=True, slots=True)
class Question:
    """A call that somebody might make.

    `target` is the name of an operation, the parent of a list, or a method such as
    `acme.v1.Databases/CreateDatabase`. `arguments` are the ProtoJSON of a method's request.
    """

    caller: Principal
    verb: Verb
    target: str = ""
    backend: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)


def supposed(
    subject: str,
    issuer: str,
    tenant: str,
    client: str,
    *,
    groups: Iterable[str] = (),
    scopes: Iterable[str] = (),
) -> Principal:
    """Return a caller that a question supposes. It never makes a call."""
    return Principal(subject, issuer, tenant, frozenset(groups), frozenset(scopes), client)


Need = Literal["confirmation", "approval"]
CONFIRMATION: Final = "confirmation"
APPROVAL: Final = "approval"

RulesOf = Callable[[str], OfferRules]
"""Returns what a backend offers, by the backend's name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The explanation for one backend. `name` is the canonical name of the target.

    `needs` is what an allowed call needs besides: `CONFIRMATION`, `APPROVAL`, both or nothing.
    """

    backend: str
    name: str
    explanation: Explanation
    needs: tuple[Need, ...] = ()


async def explain(
    service: OperationService,
    asker: Principal | None,
    question: Question,
    rules_of: RulesOf | None = None,
) -> list[Answer]:
    """Explain the decision on a call, for each backend that the call may mean.

    The asker needs the verb `explain`. If it is None, the operator asks, who needs no right. By
    default, `rules_of` is that of the service. Raises an error if there is no such backend or
    method.
    """
    if asker is not None:
        await service.policy.authorize(asker, ExplainAction())
    answers = []
    async for name, action in _actions(service, question):
        found = _explained(service, question.caller, action)
        needs = _needs(action, rules_of or service.catalog.rules_of) if found.allowed else ()
        answers.append(Answer(action.backend, name, found, needs))
    return answers


def _needs(action: Action, rules_of: RulesOf) -> tuple[Need, ...]:
    """Return what a call needs that the policy allows."""
    if isinstance(action, MethodAction) and action.verb is not Verb.APPROVE:
        rules, path = rules_of(action.backend), action.method.path
        needed: Mapping[Need, bool] = {
            CONFIRMATION: rules.confirms(path),
            APPROVAL: rules.needs_approval(path),
        }
        return tuple(each for each, is_needed in needed.items() if is_needed)
    change = next((each for each in (CANCELLATION, DELETION) if each.verb is action.verb), None)
    if change is not None and rules_of(action.backend).confirms(change.rpc):
        return (CONFIRMATION,)
    return ()


def _explained(service: OperationService, caller: Principal, action: Action) -> Explanation:
    found = service.policy.explain(caller, action)
    existence = service.existence
    return found if existence is None else existence.ownership.explain(action, found)


async def _actions(
    service: OperationService, question: Question
) -> AsyncIterator[tuple[str, Action]]:
    verb, router = question.verb, service.router
    if verb is Verb.EXPLAIN:
        yield "", ExplainAction()
    elif verb in OF_METHODS:
        async for action in _on_methods(service, question):
            yield action.method.path, action
    elif verb is Verb.LIST:
        for route in router.find_parents(question.target, question.backend):
            parent = service.listing.parent_of(route)
            yield parent, ListAction(route.backend, parent)
    else:
        route = router.find(question.target, question.backend)
        name = router.public_name(route.backend, route.name)
        yield name, OperationAction(verb, route.backend, name)


async def _on_methods(service: OperationService, question: Question) -> AsyncIterator[MethodAction]:
    offers = await service.catalog.offers(wait_for_all=True)
    offer = meant(question.target, offers.values())
    if offer is None:
        known = nearest(question.target, [*offers.values()])
        text = (
            f"there is no method {quote(question.target)}{f'; there are: {known}' if known else ''}"
        )
        raise service.catalog.unreached() or status_error(
            Code.NOT_FOUND, text, "UNKNOWN_METHOD", metadata={"method": question.target}
        )
    if question.backend and question.backend not in offer.backends:
        raise service.router.unknown("backend", question.backend)
    is_start = offer.method.is_long_running
    if question.verb is not Verb.APPROVE and is_start != (question.verb is Verb.START):
        needed = "start" if is_start else "call"
        raise invalid_argument("verb", f"the verb of {offer.method.path} is {needed}")
    for name in [question.backend] if question.backend else offer.backends:
        backend, method = service.backends[name], offer.declared[name]
        request, _ = await parsed(backend, method, dict(question.arguments))
        types = backend.registry.types
        yield MethodAction(question.verb, name, method, request, offer.hints, types)

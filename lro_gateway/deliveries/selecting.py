"""The selection of a caller's events, with names as the gateway knows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Final

from lro_gateway.access.policy import Verb
from lro_gateway.deliveries.happenings import KINDS
from lro_gateway.descriptors.scalars import shown
from lro_gateway.errors import StatusError, invalid_argument, quote
from lro_gateway.principal import Principal
from lro_gateway.records.entries import ENTRY_STATES
from lro_gateway.records.event_entries import Selection
from lro_gateway.service.catalog import Offer
from lro_gateway.service.method_names import UNKNOWN_METHOD, meant, nearest
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import NameRequest

_PATTERN: Final = "/"
"""Each path of a method has this character, so a pattern without it matches no path."""


async def canonical(service: OperationService, caller: Principal, wanted: Selection) -> Selection:
    """Return a selection whose operation and method have their canonical names.

    Raises INVALID_ARGUMENT for a kind or a state that does not exist, for a backend that the caller
    may not use, for a name that no backend can have, and for a method that matches nothing. Raises
    FAILED_PRECONDITION for the handle of a call that has started no operation.
    """
    selection = await _named(service, caller, wanted)
    return replace(selection, method=await _method(service, caller, selection))


async def canonical_or_ended(
    service: OperationService, caller: Principal, wanted: Selection
) -> Selection:
    """Return the canonical selection of a webhook whose method may exist no longer."""
    selection = await _named(service, caller, wanted)
    try:
        return replace(selection, method=await _method(service, caller, selection))
    except StatusError as error:
        if error.reason != UNKNOWN_METHOD:
            raise
        return selection


async def _named(service: OperationService, caller: Principal, wanted: Selection) -> Selection:
    """Return the selection with the canonical name of its operation."""
    _check("events", wanted.kinds, KINDS)
    _check("states", wanted.states, ENTRY_STATES)
    for field, text in (("operation", wanted.name), ("method", wanted.method)):
        if "\x00" in text:
            raise invalid_argument(field, "a text must not have a NUL character")
    router = service.views.router(caller)
    backend, name = wanted.backend, wanted.name
    if name:
        request = await service.followed(caller, NameRequest(name, backend))
        request = await service.short_names.resolved(caller, request, Verb.GET)
        route = router.find(request.name, request.backend)
        backend, name = route.backend, service.router.public_name(route.backend, route.name)
    elif backend and backend not in router.backends:
        raise router.unknown("backend", backend)
    return replace(wanted, backend=backend, name=name)


async def _method(service: OperationService, caller: Principal, selection: Selection) -> str:
    """Return the method of a selection as a path, or as a pattern of paths.

    A caller may read operations of methods that it may not call, so a pattern may match those too.
    """
    method = selection.method
    if not method:
        return ""
    backends = service.backend_names(caller, Verb.GET)
    if selection.backend:
        backends = tuple(each for each in backends if each == selection.backend)
    offers = [*_with_events((await service.offers(caller)).values(), backends)]
    if (offer := meant(method, offers)) is not None:
        return offer.method.path
    every = _with_events((await service.catalog.offers()).values(), backends)
    if any(fnmatchcase(each.method.path, method) for each in every):
        return method
    unreached = service.unreached(caller, backends)
    if unreached is not None and _PATTERN in method:
        return method
    known = nearest(method, offers)
    problem = (
        f"{quote(method)} matches no method whose operations you may read"
        f"{f'; there are: {known}' if known else ''}; a pattern such as */CreateDatabase matches"
        " several"
    )
    raise unreached or invalid_argument("method", problem, UNKNOWN_METHOD)


def _with_events(offers: Iterable[Offer], backends: Sequence[str]) -> Iterable[Offer]:
    """Yield the methods on these backends that start operations or wait for approvals."""
    for each in offers:
        is_told = each.method.is_long_running or each.approval
        if is_told and not {*each.backends}.isdisjoint(backends):
            yield each


def _check(field: str, values: Sequence[str], known: Sequence[str]) -> None:
    unknown = next((each for each in values if each not in known), None)
    if unknown is not None:
        problem = f"each must be one of {', '.join(known)}, not {shown(unknown)}"
        raise invalid_argument(field, problem)

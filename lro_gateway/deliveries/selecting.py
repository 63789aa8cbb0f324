"""What a caller wants to hear of, with names as the gateway knows them."""

from __future__ import annotations

from collections.abc import Sequence

from lro_gateway.deliveries.happenings import KINDS
from lro_gateway.descriptors.scalars import shown
from lro_gateway.errors import invalid_argument
from lro_gateway.principal import Principal
from lro_gateway.records.entries import ENTRY_STATES
from lro_gateway.records.event_entries import Selection
from lro_gateway.service.service import OperationService


def canonical(service: OperationService, caller: Principal, wanted: Selection) -> Selection:
    """Return a selection whose operation has its canonical name and its backend.

    Raises INVALID_ARGUMENT for a kind or a state that does not exist, for a backend that the caller
    may not use, and for a name that no backend can have.
    """
    _check("events", wanted.kinds, KINDS)
    _check("states", wanted.states, ENTRY_STATES)
    router = service.views.router(caller)
    backend, name = wanted.backend, wanted.name
    if name:
        route = router.find(name, backend)
        backend, name = route.backend, service.router.public_name(route.backend, route.name)
    elif backend and backend not in router.backends:
        raise router.unknown("backend", backend)
    return Selection(wanted.kinds, backend, name, wanted.method, wanted.states, wanted.mine)


def _check(field: str, values: Sequence[str], known: Sequence[str]) -> None:
    unknown = next((each for each in values if each not in known), None)
    if unknown is not None:
        problem = f"each must be one of {', '.join(known)}, not {shown(unknown)}"
        raise invalid_argument(field, problem)

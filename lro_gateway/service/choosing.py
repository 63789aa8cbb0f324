"""Which backend a start goes to."""

from __future__ import annotations

from collections.abc import Iterable

from lro_gateway.backends.router import Router
from lro_gateway.errors import invalid_argument, quote
from lro_gateway.service.catalog import Catalog, Offer, backend_argument
from lro_gateway.service.routing import routing_names
from lro_gateway.service.verb_requests import StartRequest


def check_backend(catalog: Catalog, router: Router, offer: Offer, backend: str) -> None:
    """Raise INVALID_ARGUMENT if the backend that a caller names does not offer a method.

    Raises UNAVAILABLE if the methods of this backend are not known yet. `router` has the backends
    that the caller may use.
    """
    if backend in offer.backends:
        return
    argument = backend_argument(offer.method)
    if backend not in router.backends:
        raise router.unknown(argument, backend)
    if (unreached := catalog.unreached([backend])) is not None:
        raise unreached
    choices = " and ".join(offer.backends)
    raise invalid_argument(
        argument,
        f"backend {quote(backend)} does not offer {offer.method.path}; these do: {choices}",
        "BACKEND_MISMATCH",
        backends=",".join(offer.backends),
    )


def chosen(catalog: Catalog, router: Router, offer: Offer, request: StartRequest) -> str:
    """Return the name of the backend to call.

    Raises INVALID_ARGUMENT if several backends offer the method, and neither `backend` nor a
    resource name in the arguments selects one.
    """
    if request.backend:
        check_backend(catalog, router, offer, request.backend)
        return request.backend
    if len(offer.backends) == 1:
        return offer.backends[0]
    named = owners(router, routing_names(offer.method, request.arguments))
    found = [backend for backend in offer.backends if backend in named]
    if len(found) == 1:
        return found[0]
    choices = router.choices(offer.backends)
    raise invalid_argument(
        backend_argument(offer.method),
        f"several backends offer {offer.method.path}; name one of them: {choices}",
        "BACKEND_NEEDED",
        backends=",".join(offer.backends),
    )


def owners(router: Router, names: Iterable[str]) -> frozenset[str]:
    """Return the backends whose patterns allow operations under one of these resources."""
    routes = (route for name in names for route in router.owners_of_parent(name))
    return frozenset(route.backend for route in routes)

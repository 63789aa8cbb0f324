"""The HTTP routes of the backends' methods. google.api.http rules define these routes."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from lro_gateway.errors import StatusError, invalid_argument
from lro_gateway.rest.caller import caller_of
from lro_gateway.rest.errors import REPEAT_HEADER, REQUEST_ID_HEADER
from lro_gateway.rest.fetch_metadata import cross_site, is_from_elsewhere
from lro_gateway.rest.parameters import (
    Presentation,
    idempotency_key,
    is_confirmed,
    json_value,
    raw_value,
    split_query,
)
from lro_gateway.rest.responses import json_response, operation_response, raw_response
from lro_gateway.rest.route_table import (
    ANY_VERB,
    Claims,
    Match,
    PathRoutes,
    Refusal,
    Route,
    RouteTable,
)
from lro_gateway.rest.suggestions import OWN_PAGES
from lro_gateway.rest.transcoding import (
    request_fields,
    response_body,
    response_json,
    takes_parameter,
)
from lro_gateway.service.catalog import Offer, backend_argument
from lro_gateway.service.service import OperationService
from lro_gateway.service.starting import Started
from lro_gateway.service.unshown import unshown
from lro_gateway.service.verb_requests import StartRequest

logger: Final = logging.getLogger(__name__)

VERBS: Final = ("GET", "HEAD", "DELETE", "POST", "PUT", "PATCH")
"""The HTTP verbs that the gateway serves. A rule for GET also serves HEAD if its method reads."""

_NAMED: Final = 10
"""The maximum number of methods that an error names."""

Candidates = list[tuple[Route, Offer]]
"""The routes that a caller may mean by a request. Their templates have the same shape."""

WinsOver = Callable[[PathRoutes, Route, Offer], bool]
"""Returns whether Operations answers a request and not the method of a route."""


class MethodRoutes:
    """Calls methods over HTTP. It makes a new table of routes when the catalog changes."""

    def __init__(self, service: OperationService) -> None:
        self._service = service
        self._offers: Mapping[str, Offer] = {}
        self._by_method: dict[str, Offer] = {}
        self._table = RouteTable()
        self._building = asyncio.Lock()
        self.refusals: tuple[Refusal, ...] = ()
        """Why some methods of the latest table cannot be called at the paths of their rules."""

    @property
    def offers(self) -> Mapping[str, Offer]:
        """The offers whose methods are in the latest table, by name."""
        return self._offers

    async def table(
        self, *, of: Iterable[str] | None = None, wait_for_all: bool = False
    ) -> RouteTable:
        """Return the table of the routes of all methods that backends offer now.

        Each call returns the same object until the offers change. The arguments say for which
        backends the gateway waits, as those of `Catalog.offers` do.
        """
        catalog = self._service.catalog
        return await self.table_of(await catalog.offers(of=of, wait_for_all=wait_for_all))

    async def table_of(self, offers: Mapping[str, Offer]) -> RouteTable:
        """Return the table of the routes of these offers, which are the catalog's latest."""
        if offers is self._offers:
            return self._table
        async with self._building:
            if offers is not self._offers:
                await self._build(offers)
            return self._table

    async def _build(self, offers: Mapping[str, Offer]) -> None:
        methods = [offer.method for offer in offers.values()]
        slices = self._service.catalog.slices
        table = await slices.run(RouteTable.building(methods, _check_served))
        by_method = {offer.method.full_name: offer for offer in offers.values()}
        refusals = (*table.refusals, *_undecidable(table.shared, by_method))
        self._table, self._offers, self._by_method = table, offers, by_method
        self.refusals = refusals
        for refusal in refusals:
            await slices.pause()
            logger.warning("route %s", refusal)

    async def choose(
        self, request: Request, found: PathRoutes, wins_over: WinsOver | None = None
    ) -> tuple[Match, Offer] | None:
        """Return the method that a request calls and its offer, or None if no route matches.

        A method that the caller may not see never matches. If the caller names a backend, its
        methods are the only ones. Raises INVALID_ARGUMENT if the request does not decide between
        several methods, or names a backend that offers none of them.
        """
        if not found.by_verb or request.method not in VERBS:
            # A rule for every HTTP verb answers only these verbs, and so not OPTIONS.
            return None
        caller = caller_of(request)
        # A call that only lacks scopes is refused with a challenge that names them.
        visible = await self._service.offers(caller, of=(), challenged=True)
        elsewhere: Candidates = []
        for claims in found.claims(request.method):
            offered = [(route, visible.get(self._name(route))) for route in claims]
            candidates = [
                (route, offer)
                for route, offer in offered
                if offer is not None
                and request.method in _verbs(route, offer)
                and not (wins_over and wins_over(found, route, offer))
            ]
            if here := [each for each in candidates if _may_be_meant(request, each[1])]:
                return self._decided(request, found, here)
            elsewhere = elsewhere or candidates
        if elsewhere:
            # The query names a backend, and none of these methods is on it.
            offer = elsewhere[0][1]
            self._service.check_backend(caller, offer, _named_backend(request, offer))
        return None

    def _decided(
        self, request: Request, found: PathRoutes, candidates: Candidates
    ) -> tuple[Match, Offer]:
        """Return the one method that a request can mean. The names in its path may decide."""
        if len(candidates) == 1:
            ((route, offer),) = candidates
            return found.match(route), offer
        matches = [(found.match(route), offer) for route, offer in candidates]
        owners = self._service.owners(caller_of(request), matches[0][0].variables.values())
        owned = [each for each in matches if owners.intersection(each[1].backends)]
        if len(owned) == 1:
            return owned[0]
        raise _ambiguous([offer for _, offer in owned or matches])

    async def visible(self, request: Request, found: PathRoutes) -> list[Route]:
        """Return the routes of a path that the caller may see."""
        visible = await self._service.offers(caller_of(request), of=()) if found.by_verb else {}
        return [route for route in found.routes() if self._name(route) in visible]

    def _name(self, route: Route) -> str:
        """Return the name of a route's offer."""
        return self._by_method[route.method.full_name].name

    async def is_claimed(self, request: Request, found: PathRoutes) -> bool:
        """Return whether a method that the caller may call has the path and the HTTP verb."""
        visible = await self._service.offers(caller_of(request), of=(), challenged=True)
        claimed = (route for claims in found.claims(request.method) for route in claims)
        return any(self._name(route) in visible for route in claimed)

    def verbs(self, routes: Iterable[Route]) -> set[str]:
        """Return the HTTP verbs that these routes serve."""
        return {
            verb
            for route in routes
            for verb in _verbs(route, self._by_method[route.method.full_name])
        }

    async def call(self, request: Request, match: Match, offer: Offer) -> Response:
        """Call the matched method, and return its response or the operation that it started.

        Some services start work by GET. A link on a page of another origin must not do so.
        """
        if not offer.hints.reads and is_from_elsewhere(request.headers):
            raise cross_site(request.headers)
        rule, is_field = match.rule, partial(takes_parameter, match)
        query, presentation = split_query(request, is_field, is_raw=rule.answers_raw)
        backend, argument = _named_backend(request, offer), backend_argument(match.method)
        query = [(name, value) for name, value in query if name != argument]
        read = raw_value if rule.takes_raw else json_value
        fields = request_fields(match, query, await read(request))
        started = await self._service.start(
            caller_of(request),
            StartRequest(
                offer,
                fields,
                backend,
                is_confirmed(request),
                by_library=True,
                idempotency_key=idempotency_key(request),
            ),
        )
        try:
            response = await _response(match, started, presentation)
        except Exception as error:  # noqa: BLE001 - unshown logs it
            raise unshown(offer, started, error) from None
        if started.request_id:
            response.headers[REQUEST_ID_HEADER] = started.request_id
        if started.is_repeat:
            response.headers[REPEAT_HEADER] = "true"
        return response


def _undecidable(shared: Iterable[Claims], by_method: Mapping[str, Offer]) -> Iterator[Refusal]:
    """Yield the routes that several methods of one backend claim."""
    for claims in shared:
        names = tuple(route.method.full_name for route in claims)
        counts = Counter(each for name in names for each in by_method[name].backends)
        twice = next((each for each, count in counts.items() if count > 1), None)
        if twice is not None:
            problem = (
                f"several methods of backend {twice!r} claim this route, so a request to it is"
                " ambiguous; each method also has POST /v1/{package.Service}/{Method}"
            )
            rule = claims[0].rule
            yield Refusal(rule.verb, rule.template.text, names, problem)


async def _response(match: Match, started: Started, presentation: Presentation) -> Response:
    """Return the response with the answer of a method."""
    if started.operation is not None:
        handle = await operation_response(started.operation, presentation)
        if not match.method.is_long_running:
            # The plain method waits for an approval, and this is no response of the method.
            handle.status_code = 202
        return handle
    if match.rule.answers_raw:
        return raw_response(response_body(match, started.response.message))
    response: Response = await started.response.run(
        partial(_json_response, match, started.response, presentation)
    )
    return response


def _json_response(match: Match, response: Any, presentation: Presentation) -> Response:
    options = presentation.options
    content = response_json(match, response.to_json(options), enum_numbers=options.enum_numbers)
    return json_response(content, presentation)


def _check_served(route: Route) -> None:
    """Raise `ValueError` for a route whose requests the gateway refuses or answers itself."""
    if route.rule.verb not in {*VERBS, ANY_VERB}:
        raise ValueError(f"the gateway does not serve the HTTP verb {route.rule.verb}")
    if route.rule.template.openapi_path() in OWN_PAGES:
        raise ValueError("the gateway's own page has this path")


def _verbs(route: Route, offer: Offer) -> set[str]:
    """Return the HTTP verbs that a route serves. HEAD changes nothing (RFC 9110)."""
    rule = route.rule.verb
    verbs = {*VERBS} - {"HEAD"} if rule == ANY_VERB else {rule}
    return verbs | {"HEAD"} if offer.hints.reads and "GET" in verbs else verbs


def _may_be_meant(request: Request, offer: Offer) -> bool:
    """Return whether a method is on the backend that the query names, or the query names none."""
    if not request.scope["query_string"]:
        return True
    backend = _named_backend(request, offer)
    return not backend or backend in offer.backends


def _named_backend(request: Request, offer: Offer) -> str:
    """Return the backend that the query names, or an empty text."""
    named = request.query_params.getlist(argument := backend_argument(offer.method))
    if len(named) > 1:
        raise invalid_argument(argument, "is given twice; give it once")
    return named[0] if named else ""


def _ambiguous(offers: Iterable[Offer]) -> StatusError:
    """Make the error for a request whose path several methods have."""
    offers = tuple(offers)
    backends = [each for offer in offers for each in offer.backends]
    choices = ", ".join(
        f"{offer.method.path} on {' and '.join(offer.backends)}" for offer in offers[:_NAMED]
    )
    if len(offers) > _NAMED:
        choices += f" and {len(offers) - _NAMED} others"
    decides = len(set(backends)) == len(backends)
    by_backend = " name one of these backends, or" if decides else ""
    return invalid_argument(
        backend_argument(offers[0].method),
        f"several methods have this path: {choices};"
        f"{by_backend} call a method at its own path, such as"
        f" POST /v1/{offers[0].method.path}",
        "AMBIGUOUS_ROUTE",
        methods=",".join(offer.method.path for offer in offers[:_NAMED]),
        backends=",".join(dict.fromkeys(backends)),
    )

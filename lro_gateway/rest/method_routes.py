"""The HTTP routes of the backends' methods. google.api.http rules define these routes."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from lro_gateway.descriptors.http_templates import Wildcard
from lro_gateway.errors import Code, invalid_argument, status_error
from lro_gateway.rest.caller import caller_of
from lro_gateway.rest.errors import error_response
from lro_gateway.rest.parameters import is_confirmed, json_value, split_query
from lro_gateway.rest.responses import json_response, operation_response
from lro_gateway.rest.route_table import ANY_VERB, Match, Route, RouteTable
from lro_gateway.rest.transcoding import request_fields, response_json, takes_parameter
from lro_gateway.service.catalog import Offer, backend_argument
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import StartRequest

logger: Final = logging.getLogger(__name__)

REQUEST_ID_HEADER: Final = "lro-gateway-request-id"
"""The response header with the request_id that the gateway filled in."""

VERBS: Final = ("GET", "DELETE", "POST", "PUT", "PATCH")
"""The HTTP verbs that the gateway serves. A route for GET also serves HEAD."""

OPERATIONS_PATH: Final = re.compile(rb"/operations(?:[/?]|:watch|\Z)")
"""Matches the paths of google.longrunning.Operations. No method gets a route with such a path."""


class MethodRoutes:
    """Calls methods over HTTP. It makes a new table of routes when the catalog changes."""

    def __init__(self, service: OperationService) -> None:
        self._service = service
        self._offers: Mapping[str, Offer] = {}
        self._by_method: dict[str, Offer] = {}
        self._table = RouteTable.of(())

    @property
    def offers(self) -> Mapping[str, Offer]:
        """The offers whose methods are in the latest table, by name."""
        return self._offers

    async def table(self, *, wait_for_all: bool = False) -> RouteTable:
        """Return the table of the routes of all methods that backends offer now.

        Each call returns the same object until the offers change. If `wait_for_all` is true, the
        gateway waits for backends whose methods are not known yet.
        """
        offers = await self._service.catalog.offers(wait_for_all=wait_for_all)
        if offers is not self._offers:
            self._table = RouteTable.of([offer.method for offer in offers.values()], _check_served)
            self._offers = offers
            self._by_method = {offer.method.full_name: offer for offer in offers.values()}
            for refusal in self._table.refusals:
                logger.warning("no route for %s", refusal)
        return self._table

    async def match(self, table: RouteTable, request: Request) -> tuple[Match, Offer] | None:
        """Return the method that a request calls and its offer, or None if no route matches.

        A method that the caller may not see never matches.
        """
        verb = "GET" if request.method == "HEAD" else request.method
        match = table.match(verb, request.scope["raw_path"])
        if match is None:
            return None
        offer = self._by_method[match.method.full_name]
        visible = offer.name in await self._service.offers(caller_of(request))
        return (match, offer) if visible else None

    async def not_allowed(self, request: Request) -> Response | None:
        """Return a 405 if the caller may see methods that have this path with other HTTP verbs."""
        by_method = self._by_method
        routes = self._table.routes_for(request.scope["raw_path"])
        visible = await self._service.offers(caller_of(request))
        allowed = frozenset(
            route.rule.verb for route in routes if by_method[route.method.full_name].name in visible
        )
        return _not_allowed(request, allowed) if allowed else None

    async def call(self, request: Request, match: Match, offer: Offer) -> Response:
        """Call the matched method, and return its response or the operation that it started."""
        query, presentation = split_query(request, partial(takes_parameter, match))
        argument = backend_argument(match.method)
        backends = [value for name, value in query if name == argument]
        if len(backends) > 1:
            raise invalid_argument(argument, "given twice")
        query = [(name, value) for name, value in query if name != argument]
        fields = request_fields(match, query, await json_value(request))
        started = await self._service.start(
            caller_of(request),
            StartRequest(offer, fields, "".join(backends), is_confirmed(request)),
        )
        if started.operation is None:
            response = json_response(response_json(match, started.response), presentation)
        else:
            response = operation_response(started.operation, presentation)
        if started.request_id:
            response.headers[REQUEST_ID_HEADER] = started.request_id
        return response


def _check_served(route: Route) -> None:
    """Raise `ValueError` for a route whose requests the gateway refuses or answers itself."""
    if route.rule.verb not in {*VERBS, "HEAD", ANY_VERB}:
        raise ValueError(f"the gateway does not serve the HTTP verb {route.rule.verb}")
    template = route.rule.template
    if len(template.segments) < 2 and Wildcard.MANY not in template.segments:
        raise ValueError("a path of one segment, such as /docs, is reserved for the gateway")
    if OPERATIONS_PATH.search(template.openapi_path().encode()):
        owner = "google.longrunning.Operations"
        raise ValueError(f"a path with /operations in it is reserved for {owner}")


def _not_allowed(request: Request, allowed: frozenset[str]) -> Response:
    allowed |= {"HEAD"} if "GET" in allowed else frozenset()
    verbs = ", ".join(sorted(allowed - {ANY_VERB}))
    refused = status_error(
        Code.UNIMPLEMENTED,
        f"{request.method} is not offered at this path; use {verbs}",
        "METHOD_NOT_ALLOWED",
        metadata={"method": request.method, "allowed": verbs},
    )
    return error_response(refused, http_status=405, headers={"allow": verbs})

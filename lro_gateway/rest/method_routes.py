"""The routes of backends' methods, by their google.api.http rules."""

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
from lro_gateway.rest.transcoding import (
    ANY_VERB,
    Match,
    Route,
    RouteTable,
    request_fields,
    response_json,
    takes_parameter,
)
from lro_gateway.service.catalog import Offer, backend_argument
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import StartRequest

logger: Final = logging.getLogger(__name__)

REQUEST_ID_HEADER: Final = "lro-gateway-request-id"
"""The header in which a request_id that the gateway filled in comes back."""


VERBS: Final = ("GET", "DELETE", "POST", "PUT", "PATCH")
"""The HTTP verbs that are served; what answers GET may answer HEAD."""

OF_OPERATIONS: Final = re.compile(rb"/operations(?:[/?]|\Z)")
"""What the five verbs answer themselves: no method's route is looked for there."""


class MethodRoutes:
    """Calls methods; the table of routes is made anew when the catalog changes."""

    def __init__(self, service: OperationService) -> None:
        self._service = service
        self._offers: Mapping[str, Offer] = {}
        self._by_method: dict[str, Offer] = {}
        self._table = RouteTable.of(())

    @property
    def offers(self) -> Mapping[str, Offer]:
        """The offers that the last table is of, by name."""
        return self._offers

    async def table(self, *, wait_for_all: bool = False) -> RouteTable:
        """Return the table of the methods that are offered now, the same object while these are.

        With `wait_for_all` a backend that has not told its methods yet is awaited.
        """
        offers = await self._service.catalog.offers(wait_for_all=wait_for_all)
        if offers is not self._offers:
            self._table = RouteTable.of([offer.method for offer in offers.values()], _check_served)
            self._offers = offers
            self._by_method = {offer.method.full_name: offer for offer in offers.values()}
            for refusal in self._table.refusals:
                logger.warning("route left out: %s", refusal)
        return self._table

    async def match(self, table: RouteTable, request: Request) -> tuple[Match, Offer] | None:
        """Return the method of a request and its offer, if the caller may see such a method."""
        verb = "GET" if request.method == "HEAD" else request.method
        match = table.match(verb, request.scope["raw_path"])
        if match is None:
            return None
        offer = self._by_method[match.method.full_name]
        visible = offer.name in await self._service.offers(caller_of(request))
        return (match, offer) if visible else None

    async def not_allowed(self, request: Request) -> Response | None:
        """Return the refusal of a verb, if the caller may see methods with other verbs here."""
        routes = self._table.routes_for(request.scope["raw_path"])
        visible = await self._service.offers(caller_of(request))
        allowed = frozenset(
            route.rule.verb
            for route in routes
            if self._by_method[route.method.full_name].name in visible
        )
        return _not_allowed(request, allowed) if allowed else None

    async def call(self, request: Request, match: Match, offer: Offer) -> Response:
        """Call the method that a request is for."""
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
            response = operation_response(request, started.operation, presentation)
        if started.request_id:
            response.headers[REQUEST_ID_HEADER] = started.request_id
        return response


def _check_served(route: Route) -> None:
    """Raise `ValueError` for a route whose requests the gateway never takes, or answers itself."""
    if route.rule.verb not in {*VERBS, "HEAD", ANY_VERB}:
        raise ValueError(f"requests with the HTTP verb {route.rule.verb} are not taken")
    template = route.rule.template
    if len(template.segments) < 2 and Wildcard.MANY not in template.segments:
        raise ValueError("a path of one segment is the gateway's own, as /docs is")
    if OF_OPERATIONS.search(template.openapi_path().encode()):
        raise ValueError("a path with /operations in it is that of google.longrunning.Operations")


def _not_allowed(request: Request, allowed: frozenset[str]) -> Response:
    allowed |= {"HEAD"} if "GET" in allowed else frozenset()
    verbs = ", ".join(sorted(allowed - {ANY_VERB}))
    refused = status_error(
        Code.UNIMPLEMENTED,
        f"{request.method} is not offered at this path; there is {verbs}",
        "METHOD_NOT_ALLOWED",
        metadata={"method": request.method, "allowed": verbs},
    )
    return error_response(refused, http_status=405, headers={"allow": verbs})

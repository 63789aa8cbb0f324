"""The routes of backends' methods, by their google.api.http rules."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from lro_gateway.catalog import Offer
from lro_gateway.errors import Code, invalid_argument, status_error
from lro_gateway.principal import ANONYMOUS
from lro_gateway.requests import StartRequest
from lro_gateway.rest.parameters import is_confirmed, json_value, split_query
from lro_gateway.rest.responses import error_response, json_response, operation_response
from lro_gateway.rest.templates import PathTemplate, Wildcard
from lro_gateway.rest.transcoding import (
    Match,
    Refusal,
    RouteTable,
    request_fields,
    response_json,
)
from lro_gateway.service import OperationService
from lro_gateway.starting import backend_argument

logger: Final = logging.getLogger(__name__)

REQUEST_ID_HEADER: Final = "lro-gateway-request-id"
"""The header in which a request_id that the gateway filled in comes back."""


class MethodRoutes:
    """Calls methods; the table of routes is made anew when the catalog changes."""

    def __init__(self, service: OperationService) -> None:
        self._service = service
        self._offers: Mapping[str, Offer] = {}
        self._table = RouteTable.of(())

    async def table(self, *, settled: bool = False) -> RouteTable:
        """Return the table of the methods that are offered now; `settled` as of the service."""
        offers = await self._service.offers(settled=settled)
        if offers is not self._offers:
            self._table = _reachable(RouteTable.of([offer.method for offer in offers.values()]))
            self._offers = offers
            for refusal in self._table.refusals:
                logger.warning("route left out: %s", refusal)
        return self._table

    async def match(self, request: Request, *, settled: bool = False) -> Match | None:
        """Return the method that a request is for, if any; `settled` as of the service."""
        verb = "GET" if request.method == "HEAD" else request.method
        return (await self.table(settled=settled)).match(verb, request.scope["raw_path"])

    def not_allowed(self, request: Request) -> Response | None:
        """Return the refusal of a path that methods have by other verbs; None if they have not."""
        allowed = self._table.allowed_verbs(request.scope["raw_path"])
        return _not_allowed(request, allowed) if allowed else None

    async def call(self, request: Request, match: Match) -> Response:
        """Call the method that a request is for."""
        query, presentation = split_query(request)
        argument = backend_argument(match.method)
        backends = [value for name, value in query if name == argument]
        if len(backends) > 1:
            raise invalid_argument(argument, "given twice")
        query = [(name, value) for name, value in query if name != argument]
        fields = request_fields(match, query, await json_value(request))
        started = await self._service.start(
            ANONYMOUS,
            StartRequest(match.method.full_name, fields, "".join(backends), is_confirmed(request)),
        )
        if started.operation is None:
            return json_response(response_json(match, started.response), presentation)
        response = operation_response(request, started.operation, presentation)
        if started.request_id:
            response.headers[REQUEST_ID_HEADER] = started.request_id
        return response


def _reachable(table: RouteTable) -> RouteTable:
    """Return a table without the routes that no request comes to; they are among its refusals."""
    problems = {route: _unreachable(route.template) for route in table.routes}
    refusals = [
        Refusal(route.binding.verb, route.template.text, (route.method.full_name,), problem)
        for route, problem in problems.items()
        if problem
    ]
    served = [route for route, problem in problems.items() if not problem]
    return RouteTable(served, [*table.refusals, *refusals])


def _unreachable(template: PathTemplate) -> str:
    """Say why no request for a template's paths comes to methods; empty if they do."""
    segments = template.segments
    if len(segments) < 2 and Wildcard.MANY not in segments:
        return "it has one segment, and methods are served at paths of two or more"
    # A custom verb makes another segment of the last one: `operations:purge`.
    if "operations" in (segments[:-1] if template.verb else segments):
        return "it is a path of operations, which the gateway answers itself"
    return ""


def _not_allowed(request: Request, allowed: frozenset[str]) -> Response:
    allowed |= {"HEAD"} if "GET" in allowed else frozenset()
    verbs = ", ".join(sorted(allowed - {"*"}))
    refused = status_error(
        Code.UNIMPLEMENTED,
        f"{request.method} is not offered at this path; there is {verbs}",
        "METHOD_NOT_ALLOWED",
        metadata={"method": request.method, "allowed": verbs},
    )
    return error_response(refused, http_status=405, headers={"allow": verbs})

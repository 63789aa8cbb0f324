"""The routes of backends' methods, by their google.api.http rules."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from lro_gateway.catalog import Offer
from lro_gateway.errors import Code, status_error
from lro_gateway.principal import ANONYMOUS
from lro_gateway.requests import StartRequest
from lro_gateway.rest.parameters import json_value, split_query
from lro_gateway.rest.responses import error_response, json_response, operation_response
from lro_gateway.rest.transcoding import Match, RouteTable, request_fields, response_json
from lro_gateway.service import OperationService

logger: Final = logging.getLogger(__name__)

REQUEST_ID_HEADER: Final = "lro-gateway-request-id"
"""The header in which a request_id that the gateway filled in comes back."""

_BACKEND: Final = "backend"


class MethodRoutes:
    """Calls methods; the table of routes is made anew when the catalog changes."""

    def __init__(self, service: OperationService) -> None:
        self._service = service
        self._offers: Mapping[str, Offer] = {}
        self._table = RouteTable.of(())

    def _table_of(self, offers: Mapping[str, Offer]) -> RouteTable:
        if offers is not self._offers:
            self._table = RouteTable.of([offer.method for offer in offers.values()])
            self._offers = offers
            for refusal in self._table.refusals:
                logger.warning("route left out: %s", refusal)
        return self._table

    async def handle(self, request: Request) -> Response | None:
        """Answer a request whose path is a method's; None if it is no method's."""
        table = self._table_of(await self._service.known_offers())
        raw_path: bytes = request.scope["raw_path"]
        match = table.match(request.method, raw_path)
        if match is None:
            # It may be of a backend that was down and has come up.
            table = self._table_of(await self._service.offers())
            match = table.match(request.method, raw_path)
        if match is not None:
            return await self._call(request, match)
        allowed = table.allowed_verbs(raw_path)
        return _not_allowed(request, allowed) if allowed else None

    async def _call(self, request: Request, match: Match) -> Response:
        query, presentation = split_query(request)
        backend = ""
        if _BACKEND not in match.method.request.fields_by_name:
            backend = next((value for name, value in query if name == _BACKEND), "")
            query = [(name, value) for name, value in query if name != _BACKEND]
        fields = request_fields(match, query, await json_value(request))
        started = await self._service.start(
            ANONYMOUS, StartRequest(match.method.full_name, fields, backend)
        )
        if started.operation is None:
            return json_response(response_json(match, started.response or {}), presentation)
        response = operation_response(request, started.operation, presentation)
        if started.request_id:
            response.headers[REQUEST_ID_HEADER] = started.request_id
        return response


def _not_allowed(request: Request, allowed: frozenset[str]) -> Response:
    refused = status_error(
        Code.UNIMPLEMENTED,
        f"{request.method} is not offered here",
        "METHOD_NOT_ALLOWED",
        metadata={"method": request.method},
    )
    verbs = ", ".join(sorted(allowed - {"*"}))
    return error_response(refused, http_status=405, headers={"allow": verbs})

"""The metadata of the gateway as a protected resource of OAuth (RFC 9728)."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lro_gateway.access.resource import MCP_PATH, WELL_KNOWN, Resource
from lro_gateway.rest.responses import json_response

_HEADERS: Final = {"cache-control": "max-age=300"}


def resource_routes(resource: Resource, prefix: str) -> list[Route]:
    """Return the routes of the metadata of the gateway and of its MCP endpoint.

    There are none without issuers, because nobody then could give a token to a client. A proxy with
    a prefix may pass on the well-known place at its own root, so `prefix` is part of two paths.
    """
    if not resource.issuers:
        return []
    return [
        Route(f"{WELL_KNOWN}{start}{path}", _answer(resource, path), methods=["GET"])
        for start in dict.fromkeys(("", prefix))
        for path in ("", MCP_PATH)
    ]


def _answer(resource: Resource, path: str) -> Any:
    async def answer(request: Request) -> Response:
        return json_response(resource.metadata(request.scope, path), headers=_HEADERS)

    return answer

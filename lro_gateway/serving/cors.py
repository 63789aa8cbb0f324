"""CORS: the headers with which browsers let pages of the allowed origins read answers."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lro_gateway.rest.errors import NEXT_STEP_HEADER, REPEAT_HEADER, REQUEST_ID_HEADER
from lro_gateway.rest.method_routes import VERBS
from lro_gateway.rest.responses import ARCHIVED_HEADER, WARNING_HEADER
from lro_gateway.serving.admission import Admission
from lro_gateway.serving.request_ids import HEADER

_EXPOSED: Final = (
    *("allow", "etag", "retry-after", "www-authenticate"),
    *("mcp-session-id", "mcp-protocol-version"),
    *(REQUEST_ID_HEADER, NEXT_STEP_HEADER, REPEAT_HEADER, ARCHIVED_HEADER, WARNING_HEADER),
    HEADER,
)
"""The response headers that a page may read, besides those that every page may read."""


class Cors:
    """ASGI middleware in front of the guard, so that pages can read the guard's errors too.

    It answers the preflight requests of the allowed origins. The requests of all other origins go
    to the guard, and their answers have no CORS headers.
    """

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission
        self._cors = CORSMiddleware(
            app,
            # Only requests of allowed origins get here.
            allow_origin_regex=".*",
            allow_methods=VERBS,
            allow_headers=("*",),
            # The page of a public site may call a gateway on loopback, if its origin is allowed.
            allow_private_network=True,
            expose_headers=_EXPOSED,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight request, or add the headers to the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin = Headers(scope=scope).get("origin", "")
        if self._admission.lists_origin(origin):
            await self._cors(scope, receive, send)
            return

        async def send_varying(message: Message) -> None:
            # A cache must not give this answer to a page of an allowed origin.
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).add_vary_header("Origin")
            await send(message)

        await self._app(scope, receive, send_varying)

"""A route of FastAPI that reads JSON as the routes of methods do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

_CONTENT_TYPE: Final = b"content-type"
_JSON: Final = b"application/json"


class JsonRoute(APIRoute):
    """A route whose body is JSON, whatever the content type says.

    `curl -d` calls every body a form, and the routes of methods read such a body as JSON.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that tells FastAPI that the body is JSON."""
        handler = super().get_route_handler()

        async def read(request: Request) -> Response:
            kept = [each for each in request.scope["headers"] if each[0] != _CONTENT_TYPE]
            scope = {**request.scope, "headers": [*kept, (_CONTENT_TYPE, _JSON)]}
            return await handler(Request(scope, request.receive))

        return read

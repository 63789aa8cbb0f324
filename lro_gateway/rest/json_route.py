"""A route of FastAPI that reads requests, and prints answers, as the routes of operations do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from lro_gateway.errors import invalid_argument
from lro_gateway.rest.parameters import DEFAULT_FORM, Presentation, own_parameters
from lro_gateway.rest.responses import json_response

_CONTENT_TYPE: Final = b"content-type"
_JSON: Final = b"application/json"
_SYSTEM_PARAMETERS: Final = {
    "parameters": [
        {"$ref": f"#/components/parameters/{name}"} for name in ("fields", "prettyPrint")
    ]
}


class JsonRoute(APIRoute):
    """A route whose body is JSON, whatever the content type says.

    `curl -d` calls every body a form, and the routes of methods read such a body as JSON. FastAPI
    ignores parameters of the query that the route does not have. This route refuses them, and obeys
    the system parameters.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **settings: Any) -> None:
        super().__init__(path, endpoint, **{**settings, "openapi_extra": _SYSTEM_PARAMETERS})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that checks the query, and tells FastAPI that the body is JSON."""
        handler = super().get_route_handler()
        known = [each.alias for each in self.dependant.query_params]

        async def read(request: Request) -> Response:
            parameters, presentation = own_parameters(request, known)
            _check({**request.path_params, **parameters})
            kept = [each for each in request.scope["headers"] if each[0] != _CONTENT_TYPE]
            scope = {
                **request.scope,
                "headers": [*kept, (_CONTENT_TYPE, _JSON)],
                "query_string": urlencode(parameters).encode(),
            }
            return _presented(await handler(Request(scope, request.receive)), presentation)

        return read


def _check(texts: Mapping[str, str]) -> None:
    """Raise INVALID_ARGUMENT for a text that PostgreSQL cannot store or look up."""
    for name, text in texts.items():
        if "\x00" in text:
            raise invalid_argument(name, "a text must not have a NUL character")


def _presented(response: Response, presentation: Presentation) -> Response:
    """Return the response in the form that the caller has chosen."""
    if presentation is DEFAULT_FORM:
        return response
    return json_response(orjson.loads(response.body), presentation, status=response.status_code)

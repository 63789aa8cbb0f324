"""The routes of the page at `/`, and of its script and style."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from lro_gateway import __version__
from lro_gateway.rest.responses import json_response

_FILES: Final = files(__package__)
_PAGE: Final = _FILES.joinpath("page.html").read_text()
_SCRIPT: Final = _FILES.joinpath("console.js").read_bytes()
_STYLE: Final = _FILES.joinpath("console.css").read_bytes()
_POLICY: Final = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"),
        *("img-src data:", "base-uri 'self'", "form-action 'none'", "frame-ancestors 'none'"),
    )
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
_LINKS: Final = {
    "operations": "v1/operations",
    "mcp": "mcp",
    "docs": "docs",
    "openapi": "openapi.json",
    "health": "readyz",
}
"""The addresses of the gateway, relative to `/`."""


READING: Final = ("GET", "HEAD")
"""The HTTP verbs of the page and of its files."""


def console_routes() -> list[Route]:
    """Return the routes of the files that the page loads."""
    return [
        Route("/console.js", _script, methods=READING),
        Route("/console.css", _style, methods=READING),
    ]


def root(request: Request) -> Response:
    """Return the page to a browser, and the addresses in JSON to other clients.

    A method of a backend may have the path `/`, so this is the answer only if none has.
    """
    vary = {"vary": "accept"}
    if "text/html" not in request.headers.get("accept", ""):
        content = {"name": "lro-gateway", "version": __version__, **_LINKS}
        return json_response(content, headers={**vary, "cache-control": "no-cache"})
    base = f"{request.scope.get('root_path', '')}/"
    page = _PAGE.replace("{version}", __version__).replace("{base}", escape(base, quote=True))
    return HTMLResponse(page, headers={**_HEADERS, **vary})


async def _script(_request: Request) -> Response:
    return Response(_SCRIPT, headers=_HEADERS, media_type="text/javascript")


async def _style(_request: Request) -> Response:
    return Response(_STYLE, headers=_HEADERS, media_type="text/css")

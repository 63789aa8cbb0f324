"""The routes of the pages at `/` and `/docs`, and of their scripts and styles."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from lro_gateway import __version__
from lro_gateway.rest.openapi.route import PARAMETERS
from lro_gateway.rest.responses import json_response

_FILES: Final = files(__package__)
_SIGNIN: Final = _FILES.joinpath("signin.html").read_text()
_PAGE: Final = _FILES.joinpath("page.html").read_text().replace("{signin}", _SIGNIN)
_APPROVALS: Final = _FILES.joinpath("approvals.html").read_text()
_DOCS: Final = _FILES.joinpath("docs.html").read_text().replace("{signin}", _SIGNIN)
_LOADED: Final = {
    name: (_FILES.joinpath(name).read_bytes(), media_type)
    for name, media_type in (
        ("approvals.js", "text/javascript"),
        ("console.js", "text/javascript"),
        ("docs.js", "text/javascript"),
        ("events.js", "text/javascript"),
        ("operation.js", "text/javascript"),
        ("texts.js", "text/javascript"),
        ("token.js", "text/javascript"),
        ("console.css", "text/css"),
    )
}
DOCS_FILES: Final = "static-offline-docs"
"""The path of the scripts and styles of Swagger UI."""
OPEN: Final = frozenset(("/", "/docs", *(f"/{name}" for name in _LOADED)))
"""The paths of the pages and of their files, which hold no data."""


def _policy(images: str, styles: str = "'self'") -> str:
    """Return what a page may load. No script but those of the gateway runs in it."""
    return "; ".join(
        (
            *("default-src 'none'", "script-src 'self'", f"style-src {styles}"),
            *("connect-src 'self'", f"img-src {images}", "base-uri 'self'"),
            *("form-action 'none'", "frame-ancestors 'none'"),
        )
    )


_HEADERS: Final = {
    "content-security-policy": _policy("data:"),
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
    """Return the routes of the page of the documentation, and of the files that both pages load."""
    files = [Route(f"/{name}", _file, methods=READING) for name in _LOADED]
    return [Route("/docs", _docs, methods=READING), *files]


def root(request: Request, *, has_approvals: bool = False) -> Response:
    """Return the page to a browser, and the addresses in JSON to other clients.

    Calls that wait for an approval are on the page of a gateway that has such calls.
    A method of a backend may have the path `/`, so this is the answer only if none has.
    """
    vary = {"vary": "accept"}
    if "text/html" not in request.headers.get("accept", ""):
        content = {"name": "lro-gateway", "version": __version__, **_LINKS}
        if has_approvals:
            content["approvals"] = "v1/approvals"
        return json_response(content, headers={**vary, "cache-control": "no-cache"})
    base = f"{request.scope.get('root_path', '')}/"
    page = _PAGE.replace("{version}", __version__).replace("{base}", escape(base, quote=True))
    page = page.replace("{approvals}", _APPROVALS if has_approvals else "")
    return HTMLResponse(page, headers={**_HEADERS, **vary})


async def _docs(request: Request) -> Response:
    """Return the page that shows the OpenAPI document, or the part of it that the query names.

    All addresses are relative, so that the page works behind a proxy with any prefix.
    """
    query = [each for each in request.query_params.multi_items() if each[0] in PARAMETERS]
    url = f"./openapi.json?{urlencode(query)}" if query else "./openapi.json"
    page = _DOCS.replace("{files}", DOCS_FILES).replace("{url}", escape(url, quote=True))
    # Swagger UI sets styles in its markup.
    policy = _policy("'self' data:", "'self' 'unsafe-inline'")
    return HTMLResponse(page, headers={**_HEADERS, "content-security-policy": policy})


async def _file(request: Request) -> Response:
    content, media_type = _LOADED[request.url.path.rpartition("/")[2]]
    return Response(content, headers=_HEADERS, media_type=media_type)

"""The ASGI app: every face, behind the checks that all of them share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi_offline import FastAPIOffline
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from lro_gateway.errors import Code, StatusError, status_error
from lro_gateway.gateway import Gateway
from lro_gateway.mcp.extension_point import Extension
from lro_gateway.mcp.server import McpServer
from lro_gateway.rest.health import HealthRoutes
from lro_gateway.rest.method_routes import MethodRoutes
from lro_gateway.rest.openapi.document import OpenApiRoute
from lro_gateway.rest.operation_routes import OperationRoutes, unknown_path
from lro_gateway.rest.responses import error_response
from lro_gateway.serving.guard import Guard

VERSION: Final = version("lro-gateway")


def create_app(gateway: Gateway, extensions: Iterable[Extension] = ()) -> ASGIApp:
    """Return the app over an open gateway; its lifespan runs the MCP sessions.

    `extensions` add tools and tasks to the MCP face.
    """
    service = gateway.service
    methods = MethodRoutes(service)
    operations = OperationRoutes(service, methods)
    mcp_server = create_mcp_server(gateway, extensions)
    mcp_app = mcp_server.http_app()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with mcp_server.server.session_manager.run():
            yield

    app = Starlette(
        routes=[
            # First, because routes are tried in turn, and most requests are of these.
            operations.versioned_route(),
            Route("/mcp", _no_stream, methods=["GET"]),
            *mcp_app.routes,
            *HealthRoutes([check.report for check in gateway.health_checks]).routes(),
            *OpenApiRoute(methods, service.backends, VERSION).routes(),
            *_documentation(),
            # Last, because its path matches nearly everything.
            operations.route(),
        ],
        exception_handlers={
            StatusError: _on_status_error,
            HTTPException: _on_http_exception,
            Exception: _on_exception,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return Guard(app, gateway.config.server)


def create_mcp_server(gateway: Gateway, extensions: Iterable[Extension] = ()) -> McpServer:
    """Return the MCP server over an open gateway, for either transport."""
    return McpServer(
        gateway.service,
        version=VERSION,
        sealer=gateway.sealer,
        grace=gateway.config.server.sync_grace,
        extensions=extensions,
    )


def _documentation() -> list[Route]:
    """Return `/docs`, which show `/openapi.json`, by a FastAPI that serves nothing else.

    Its machinery would cost every operation's request more than the gateway's own work does.
    """
    api = FastAPIOffline(redoc_url=None, title="lro-gateway", version=VERSION)
    paths = ("/docs", "/docs/oauth2-redirect", "/static-offline-docs/{file}")
    return [Route(path, api, methods=["GET"]) for path in paths]


async def _no_stream(_request: Request) -> Response:
    """Refuse the stream that older clients may open: without a session nothing would come by it."""
    raise HTTPException(405, headers={"allow": "POST"})


async def _on_status_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, StatusError):
        raise error
    return error_response(error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what Starlette refuses, an unknown path or method, as Google does."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code != 405:
        return error_response(unknown_path(request))
    headers = dict(error.headers or {})
    refused = status_error(
        Code.UNIMPLEMENTED,
        f"{request.method} is not offered here",
        "METHOD_NOT_ALLOWED",
        metadata={"method": request.method},
    )
    return error_response(refused, http_status=405, headers=headers)


async def _on_exception(_request: Request, _error: Exception) -> Response:
    """Answer for a mistake of the gateway's own; the log has it, the caller gets no trace."""
    return error_response(
        status_error(Code.INTERNAL, "the gateway failed; its log says why", "INTERNAL")
    )

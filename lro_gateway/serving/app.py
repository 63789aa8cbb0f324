"""The ASGI app: it joins both faces behind the checks that they share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import Any, Final

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from lro_gateway import __version__
from lro_gateway.config.auth import AuthConfig
from lro_gateway.gateway import Gateway
from lro_gateway.mcp.caller import caller_of
from lro_gateway.mcp.extension_point import Extension
from lro_gateway.mcp.quick_calls import LONGEST
from lro_gateway.mcp.server import McpServer, McpSettings
from lro_gateway.rest.console.routes import DOCS_FILES, console_routes
from lro_gateway.rest.dispatch import Dispatch
from lro_gateway.rest.errors import HANDLERS
from lro_gateway.rest.explaining import explain_router
from lro_gateway.rest.health import described_health, health_routes
from lro_gateway.rest.method_routes import MethodRoutes
from lro_gateway.rest.openapi.approval_paths import APPROVAL_PATHS
from lro_gateway.rest.openapi.method_paths import ERROR
from lro_gateway.rest.openapi.route import OpenApiRoute
from lro_gateway.rest.resource_metadata import resource_routes
from lro_gateway.rest.responses import ResourceResponse
from lro_gateway.rest.webhooks import is_of_webhooks, routes_without_store, webhook_router
from lro_gateway.rest.work_health import described_work_health, work_health_route
from lro_gateway.serving.access_log import SeenClient
from lro_gateway.serving.admission import Admission
from lro_gateway.serving.cors import Cors
from lro_gateway.serving.exchanges import Exchanges
from lro_gateway.serving.forwarding import Forwarding
from lro_gateway.serving.guard import Guard
from lro_gateway.serving.limits import Limits
from lro_gateway.serving.mcp_endpoint import McpEndpoint
from lro_gateway.serving.metrics_page import show_metrics
from lro_gateway.serving.shares import Shares

_NO_TELEMETRY: Final = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own spans and metrics are off, because they repeat the gateway's and cost time."""


def create_app(gateway: Gateway, extensions: Iterable[Extension] = ()) -> ASGIApp:
    """Return the app of an open gateway. The lifespan of the app runs the MCP sessions.

    `extensions` add tools and tasks to the MCP face.
    """
    service = gateway.service
    methods = MethodRoutes(service)
    dispatch = Dispatch(service, methods)
    mcp_server = create_mcp_server(gateway, extensions)
    mcp_app, quick = mcp_server.http_app(), mcp_server.without_streams()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with mcp_server.server.session_manager.run(), quick.run():
            yield

    app = _fastapi(lifespan)
    app.router.routes += health_routes(gateway.health_checks)
    app.router.routes.append(work_health_route(gateway.work_health, service))
    app.include_router(explain_router(service))
    if gateway.deliveries is not None:
        app.include_router(webhook_router(service, gateway.deliveries))
    else:
        app.router.routes += routes_without_store()
    if gateway.callers.resource is not None:
        prefix = gateway.config.server.root_path
        app.router.routes += resource_routes(gateway.callers.resource, prefix)
    app.add_route("/metrics", show_metrics, methods=["GET"], include_in_schema=False)
    app.router.routes += console_routes()
    # FastAPI's own /openapi.json describes FastAPI's routes only, so the gateway's document must
    # precede it.
    schemes = _schemes(gateway.config.auth)
    own = cache(partial(_described, gateway, lifespan))
    described = OpenApiRoute(service, methods, __version__, own, schemes)
    app.router.routes[:0] = described.routes()
    # This route comes last, because its path matches nearly everything.
    app.router.routes.append(dispatch.route())
    deadlines = (each.deadline for each in gateway.config.backends)
    are_quick = all(each <= LONGEST for each in deadlines)
    mcp = _mcp_endpoint(mcp_app, quick.handle_request if are_quick else None)
    shortcut = Shortcut(dispatch, mcp, app)
    return _guarded(shortcut, gateway)


def _schemes(auth: AuthConfig | None) -> tuple[str, ...]:
    """Return the kinds of credentials that clients of REST need, as OpenAPI names them."""
    if auth is None:
        return ()
    kinds = {"bearer": auth.takes_tokens, "certificate": auth.certificates is not None}
    return tuple(name for name, is_taken in kinds.items() if is_taken)


def _guarded(app: ASGIApp, gateway: Gateway) -> ASGIApp:
    """Return the app behind the checks, and behind the middleware that the settings need."""
    server = gateway.config.server
    admission = Admission(server)
    app = Shares(app, gateway.config.limits)
    app = Guard(
        app,
        admission,
        gateway.callers,
        gateway.service.audit,
        max_body_bytes=server.max_body_bytes,
    )
    app = Limits(app, gateway.config.limits, server.trusted_proxies)
    if server.allowed_origins:
        app = Cors(app, admission)
    logs_access = gateway.config.logs.access
    if logs_access and server.trusted_proxies:
        app = SeenClient(app)
    if server.trusted_proxies or server.root_path:
        app = Forwarding(app, server, admission)
    return Exchanges(app, logs_access=logs_access)


class Shortcut:
    """ASGI app that passes the requests of methods, operations and MCP around FastAPI's layers.

    Most requests are such requests. Measured: the layers cost a short answer a tenth of its time.
    """

    def __init__(self, dispatch: Dispatch, mcp: ASGIApp, app: ASGIApp) -> None:
        self._dispatch = dispatch
        self._mcp = mcp
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer a request of a path with a version or of MCP; pass all others to FastAPI."""
        return self._answering(scope)(scope, receive, send)

    def _answering(self, scope: Scope) -> ASGIApp:
        if scope["type"] != "http":
            return self._app
        if self._dispatch.is_sure_of(scope) and not is_of_webhooks(scope):
            return self._dispatch
        # Older clients send `/mcp/`. A redirect would lose the body with many clients.
        return self._mcp if scope["raw_path"] in {b"/mcp", b"/mcp/"} else self._app


def _described(gateway: Gateway, lifespan: Lifespan[FastAPI]) -> dict[str, Any]:
    """Return FastAPI's document of the gateway's own routes."""
    app = _fastapi(lifespan)
    app.include_router(described_health())
    app.include_router(described_work_health())
    app.include_router(explain_router(gateway.service))
    if gateway.deliveries is not None:
        app.include_router(webhook_router(gateway.service, gateway.deliveries))
    document = app.openapi()
    if gateway.service.approvals is None:
        return document
    return {**document, "paths": {**document["paths"], **APPROVAL_PATHS}}


def _fastapi(lifespan: Lifespan[FastAPI]) -> FastAPI:
    """Return an application whose `/docs` page loads its files from the package.

    The page needs no internet.
    """
    app: FastAPI = FastAPIOffline(
        docs_url=None,
        redoc_url=None,
        static_url=f"/{DOCS_FILES}",
        title="lro-gateway",
        version=__version__,
        lifespan=lifespan,
        redirect_slashes=False,
        default_response_class=ResourceResponse,
        exception_handlers=HANDLERS,
        responses={"default": {**ERROR, "description": "An error, in Google's form."}},
        telemetry=_NO_TELEMETRY,
    )
    for route in app.routes:
        # FastAPI's own pages would serve only GET, but GET and HEAD belong together (RFC 9110).
        if isinstance(route, Route) and route.methods == {"GET"}:
            route.methods.add("HEAD")
    return app


def create_mcp_server(gateway: Gateway, extensions: Iterable[Extension] = ()) -> McpServer:
    """Return the MCP server of an open gateway, for HTTP or for stdio."""
    config = gateway.config
    return McpServer(
        gateway.service,
        version=__version__,
        caller_of=caller_of(gateway.authenticator),
        sealer=gateway.sealer,
        settings=McpSettings(
            grace=config.server.sync_grace,
            max_followed=config.limits.max_subscriptions_per_stream,
            tool_budget=config.mcp.tool_budget,
            full_output_schemas=config.mcp.output_schemas == "full",
            answer_bytes=config.mcp.answer_bytes,
            resource_links=config.mcp.resource_links,
            shared_directory=gateway.shared_directory,
            event_codes=config.deliveries.error_codes,
        ),
        extensions=extensions,
        deliveries=gateway.deliveries,
    )


def _mcp_endpoint(mcp_app: Starlette, quick: ASGIApp | None) -> ASGIApp:
    """Return the endpoint of MCP, without the SDK's routes around it."""
    (sdk_route,) = (route for route in mcp_app.routes if isinstance(route, Route))
    return McpEndpoint(sdk_route.app, quick)

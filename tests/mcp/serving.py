"""The gateway's own MCP server on loopback, with tools and tasks that a test adds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import uvicorn

from lro_gateway.access.authentication import NobodyIdentified
from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.mcp.caller import caller_of
from lro_gateway.mcp.replies import ExtraTool
from lro_gateway.mcp.server import McpServer
from lro_gateway.mcp.tasks.tasks import TaskSource
from lro_gateway.sealing import Sealer
from lro_gateway.service.service import OperationService
from lro_gateway.serving.guard import Guard
from lro_gateway.serving.http import HttpServer

GRACE = timedelta(milliseconds=100)

Extras = Callable[[OperationService], tuple[Iterable[ExtraTool], Iterable[TaskSource]]]
"""Makes the tools and tasks that a test adds."""


def none(_service: OperationService) -> tuple[Iterable[ExtraTool], Iterable[TaskSource]]:
    """Add nothing."""
    return (), ()


@asynccontextmanager
async def mcp_server(
    *backends: Mapping[str, Any], extras: Extras = none, sealer: Sealer | None = None
) -> AsyncIterator[McpServer]:
    """Assemble a gateway's MCP server in front of these backends.

    Each look is a new one: tests set their backends' clock between two of them.
    """
    server = {"port": 0, "sync_grace": f"{GRACE.total_seconds()}s"}
    config = GatewayConfig.model_validate(
        {"server": server, "backends": [{"freshness": "0s", **each} for each in backends]}
    )
    async with Gateway.open(config) as gateway:
        tools, sources = extras(gateway.service)
        yield McpServer(
            gateway.service,
            version="1",
            caller_of=caller_of(gateway.authenticator),
            sealer=sealer,
            grace=GRACE,
            tools=tools,
            sources=sources,
        )


@asynccontextmanager
async def serving(mcp: McpServer) -> AsyncIterator[str]:
    """Serve it over HTTP, behind the checks of every face; yields the URL of its endpoint."""
    app = mcp.http_app()
    config = uvicorn.Config(
        Guard(app, GatewayConfig().server, NobodyIdentified()),
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = HttpServer(config, "127.0.0.1")
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets=[listener]))
            await server.listening.wait()
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
            finally:
                server.should_exit = True

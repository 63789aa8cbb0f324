"""Running the app: over HTTP by uvicorn, or over stdio."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import sys
from collections.abc import AsyncIterator, Generator, Iterable
from contextlib import asynccontextmanager
from typing import Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from lro_gateway.background import task_group
from lro_gateway.config.models import ServerConfig
from lro_gateway.gateway import Gateway
from lro_gateway.mcp.extension_point import Extension
from lro_gateway.serving.app import create_app, create_mcp_server

SHUTDOWN_GRACE: Final = 5
"""Seconds that requests under way get to end when a gateway stops."""

_BACKLOG: Final = 2048


def configure_logging(level: int = logging.INFO) -> None:
    """Log to stderr, never to stdout, which may carry MCP."""
    logging.basicConfig(
        stream=sys.stderr, level=level, format="%(levelname)s %(name)s: %(message)s"
    )
    for chatty in ("mcp", "httpx2", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class _Connection(HttpToolsProtocol):
    """A connection whose loss every request on it is told of.

    uvicorn tells the latest alone. A stream on whose connection another request waits would go on
    for nobody.
    """

    _cycles: tuple[RequestResponseCycle, ...] = ()

    def on_headers_complete(self) -> None:
        """Take a request, and remember it while it is not answered."""
        super().on_headers_complete()
        waiting = (each for each in self._cycles if not each.response_complete)
        self._cycles = (*waiting, self.cycle)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever answers that the client has left."""
        super().connection_lost(exc)
        for cycle in self._cycles:
            cycle.disconnected = cycle.disconnected or not cycle.response_complete
            cycle.message_event.set()


class HttpServer(uvicorn.Server):
    """A uvicorn server that says when it listens, and leaves signals to who owns the process."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.address = address

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        self.listening.set()


@asynccontextmanager
async def serve_http(
    gateway: Gateway,
    listener: socket.socket | None = None,
    *,
    extensions: Iterable[Extension] = (),
) -> AsyncIterator[HttpServer]:
    """Serve a gateway over HTTP while the context lasts; it listens when entered.

    Without a `listener` it binds one; `OSError` if the address cannot be had. Requests under way
    get a few seconds to end. `extensions` add tools and tasks to the MCP face.
    """
    app = create_app(gateway, extensions)
    listener = listener or bind(gateway.config.server)
    config = uvicorn.Config(
        app,
        http=_Connection,
        # The guard checks HTTP requests alone, and the gateway serves no WebSocket.
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_GRACE,
    )
    server = HttpServer(config, address_of(listener))
    async with task_group() as group:
        group.create_task(server.serve(sockets=[listener]))
        await server.listening.wait()
        # What was made up to here stays; a collection that passes over it costs every request.
        gc.collect()
        gc.freeze()
        # Requests leave few cycles behind: looking for them less often is cheaper.
        gc.set_threshold(10_000, 20, 50)
        try:
            yield server
        finally:
            gateway.service.close()
            server.should_exit = True


def bind(settings: ServerConfig, *, shared: bool = False) -> socket.socket:
    """Listen at the configured address; a `shared` listener may have others beside it there."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def address_of(listener: socket.socket) -> str:
    """Return `host:port` as a URL has it."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def serve_stdio(gateway: Gateway, *, extensions: Iterable[Extension] = ()) -> None:
    """Serve MCP on stdin and stdout until the client closes them."""
    await create_mcp_server(gateway, extensions).serve_stdio()

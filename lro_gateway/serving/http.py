"""Runs the app on uvicorn for HTTP, or serves MCP on stdin and stdout."""

from __future__ import annotations

import asyncio
import contextlib
import gc
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
"""Seconds within which running requests must end when a gateway stops."""

_BACKLOG: Final = 2048

_SWITCH_INTERVAL: Final = 0.001


class _Connection(HttpToolsProtocol):
    """A connection that tells each of its requests when the client has left.

    uvicorn tells only the latest request. If a client with an open stream sends another request and
    then leaves, uvicorn alone would let the stream go on without a reader.
    """

    _cycles: tuple[RequestResponseCycle, ...] = ()

    def on_headers_complete(self) -> None:
        """Begin a request, and keep it until it is answered."""
        super().on_headers_complete()
        waiting = (each for each in self._cycles if not each.response_complete)
        self._cycles = (*waiting, self.cycle)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header without the blanks around its value, which are no part of it (RFC 9110)."""
        super().on_header(name, value.strip(b" \t"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Report to every unanswered request that the client has left."""
        super().connection_lost(exc)
        for cycle in self._cycles:
            cycle.disconnected = cycle.disconnected or not cycle.response_complete
            cycle.message_event.set()


class HttpServer(uvicorn.Server):
    """A uvicorn server that sets `listening` once it listens, and handles no signals."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.address = address

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Handle no signals, because the command that runs the server handles them."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then set `listening`."""
        await super().startup(sockets)
        self.listening.set()


@asynccontextmanager
async def serve_http(
    gateway: Gateway,
    listener: socket.socket | None = None,
    *,
    extensions: Iterable[Extension] = (),
) -> AsyncIterator[HttpServer]:
    """Serve a gateway over HTTP until the context ends. On entry the server already listens.

    Without a `listener`, this binds the configured address, and raises `OSError` if that fails.
    When the context ends, running requests have `SHUTDOWN_GRACE` seconds to end. `extensions` add
    tools and tasks to the MCP face.
    """
    app = create_app(gateway, extensions)
    listener = listener or bind(gateway.config.server)
    config = uvicorn.Config(
        app,
        http=_Connection,
        # The guard checks only HTTP requests, and the gateway serves no WebSocket.
        ws="none",
        log_config=None,
        access_log=False,
        # By default uvicorn would believe X-Forwarded-For from loopback. See serving/forwarding.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_GRACE,
    )
    server = HttpServer(config, address_of(listener))
    async with task_group() as group:
        group.create_task(server.serve(sockets=[listener]))
        await server.listening.wait()
        # The objects that exist now live as long as the process. Freezing them keeps the garbage
        # collector from scanning them during requests.
        gc.collect()
        gc.freeze()
        # Requests leave few reference cycles, so collecting less often saves time.
        gc.set_threshold(10_000, 20, 50)
        # Threads print large messages. Python lets the event loop go on after this many seconds.
        sys.setswitchinterval(_SWITCH_INTERVAL)
        try:
            yield server
        finally:
            gateway.service.close()
            server.should_exit = True


def bind(settings: ServerConfig, *, shared: bool = False) -> socket.socket:
    """Return a socket that listens at the configured address.

    Several `shared` sockets can listen at one address (SO_REUSEPORT).
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sends without delay (TCP_NODELAY) only if the socket names its protocol. Otherwise the
    # kernel holds back the body of an answer for about 40 ms, until the client confirms the head.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
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
    """Return the address as `host:port` in the form of URLs, such as `[::1]:8080`."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def serve_stdio(gateway: Gateway, *, extensions: Iterable[Extension] = ()) -> None:
    """Serve MCP on stdin and stdout until the client closes them."""
    await create_mcp_server(gateway, extensions).serve_stdio()

"""Runs the app on uvicorn for HTTP, or serves MCP on stdin and stdout."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import sys
from collections.abc import AsyncIterator, Generator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import uvicorn

from lro_gateway.background import task_group
from lro_gateway.config.models import ServerConfig
from lro_gateway.gateway import Gateway
from lro_gateway.mcp.extension_point import Extension
from lro_gateway.serving.accepting import Acceptor
from lro_gateway.serving.app import create_app, create_mcp_server
from lro_gateway.serving.connection import Connection
from lro_gateway.serving.connections import Connections
from lro_gateway.serving.descriptors import raise_limit
from lro_gateway.serving.handshakes import Handshake
from lro_gateway.serving.refusals import Refusal
from lro_gateway.serving.tls import ServerTls

SHUTDOWN_GRACE: Final = 5
"""Seconds within which running requests must end when a gateway stops."""

_BACKLOG: Final = 2048

_SWITCH_INTERVAL: Final = 0.001


class HttpServer(uvicorn.Server):
    """A uvicorn server that sets `listening` once it listens, and handles no signals.

    It accepts connections by its own `Acceptor`, because uvicorn has no limits for connections.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        address: str,
        connections: Connections,
        tls: ServerTls | None = None,
    ) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.address = address
        self.tls = tls
        self._connections = connections

    @property
    def url(self) -> str:
        """The URL at which the server listens, without a path."""
        return f"{'http' if self.tls is None else 'https'}://{self.address}"

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Handle no signals, because the command that runs the server handles them."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections, then set `listening`."""
        await self.lifespan.startup()
        self.should_exit = self.should_exit or self.lifespan.should_exit
        acceptors = [
            Acceptor(each, self._connections, self._protocol, self.tls) for each in sockets or ()
        ]
        self.servers: list[Any] = acceptors
        self.started = True
        self.listening.set()

    def _protocol(self, refusal: Refusal | None, handshake: Handshake | None) -> Connection:
        return Connection(
            self._connections,
            refusal,
            handshake,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )


@asynccontextmanager
async def serve_http(
    gateway: Gateway,
    listener: socket.socket | None = None,
    *,
    extensions: Iterable[Extension] = (),
) -> AsyncIterator[HttpServer]:
    """Serve a gateway over HTTP until the context ends. On entry the server already listens.

    Without a `listener`, this binds the configured address, and raises `OSError` if that fails.
    Raises `ConfigError` if the files of TLS cannot be used.
    When the context ends, running requests have `SHUTDOWN_GRACE` seconds to end. `extensions` add
    tools and tasks to the MCP face.
    """
    raise_limit()
    limits, settings = gateway.config.limits, gateway.config.server
    connections = Connections(limits, settings.trusted_proxies)
    tls = ServerTls(settings.tls, connections.distrust) if settings.tls is not None else None
    app = create_app(gateway, extensions)
    listener = listener or bind(settings)
    config = uvicorn.Config(
        app,
        http=Connection,
        # The guard checks only HTTP requests, and the gateway serves no WebSocket.
        ws="none",
        log_config=None,
        access_log=False,
        # By default uvicorn would believe X-Forwarded-For from loopback. See serving/forwarding.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=limits.idle_timeout.total_seconds(),  # type: ignore[arg-type]  # uvicorn passes it to call_later
        timeout_graceful_shutdown=SHUTDOWN_GRACE,
    )
    server = HttpServer(config, address_of(listener), connections, tls)
    async with task_group() as group:
        group.create_task(server.serve(sockets=[listener]))
        await server.listening.wait()
        _settle()
        kept = [group.create_task(connections.sweep())]
        if tls is not None:
            kept.append(group.create_task(tls.keep_current()))
        try:
            yield server
        finally:
            for task in kept:
                task.cancel()
            gateway.service.close()
            server.should_exit = True


def _settle() -> None:
    """Set how the interpreter collects garbage and switches threads while the gateway serves."""
    # The objects that exist now live as long as the process. Freezing them keeps the garbage
    # collector from scanning them during requests.
    gc.collect()
    gc.freeze()
    # Requests leave few reference cycles, so collecting less often saves time.
    gc.set_threshold(10_000, 20, 50)
    # Threads print large messages. Python lets the event loop go on after this many seconds.
    sys.setswitchinterval(_SWITCH_INTERVAL)


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

"""Accepts connections, and goes on to accept them when the file descriptors run out.

The event loop's own server closes connections without a word if there is no descriptor for them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from lro_gateway.serving.connections import REFUSED_TIME, Connections
from lro_gateway.serving.handshakes import Handshake
from lro_gateway.serving.refusals import Refusal
from lro_gateway.serving.tls import ServerTls

logger: Final = logging.getLogger(__name__)

MakeProtocol = Callable[[Refusal | None, Handshake | None], asyncio.Protocol]
"""Makes the protocol of a connection, which a refusal may allow only one answer.

With TLS the protocol takes its place from the handshake.
"""

_AT_ONCE: Final = 16
"""Connections that the gateway accepts before it turns to its other work."""
_PAUSE: Final = 0.05
"""Seconds without accepting, if there is no descriptor and no refused connection to end."""


class Acceptor:
    """Accepts the connections of one listening socket."""

    def __init__(
        self,
        listener: socket.socket,
        connections: Connections,
        make: MakeProtocol,
        tls: ServerTls | None = None,
    ) -> None:
        self._listener = listener
        self._connections = connections
        self._make = make
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[object]] = set()
        self._handshakes: dict[asyncio.Task[object], Handshake] = {}
        self._closed = False
        listener.setblocking(False)
        self._start()

    def _start(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._wait_for_room(error)
                return
            # A peer at a Unix socket has no address.
            self._open(accepted, str(address[0]) if isinstance(address, tuple) else "")

    def _open(self, accepted: socket.socket, host: str) -> None:
        accepted.setblocking(False)
        refusal = self._connections.refusal(host, accepted.fileno())
        if refusal is not None:
            refusal.log(host)
        if self._tls is not None:
            self._shake_hands(self._tls, accepted, host, refusal)
            return
        opening = self._loop.connect_accepted_socket(lambda: self._make(refusal, None), accepted)
        task = self._loop.create_task(opening)
        self._tasks.add(task)
        task.add_done_callback(self._opened)

    def _shake_hands(
        self, tls: ServerTls, accepted: socket.socket, host: str, refusal: Refusal | None
    ) -> None:
        """Begin the handshake of TLS, which takes a place and has its time like a request."""
        handshake = Handshake(self._connections, host, refused=refusal is not None)
        limits = self._connections.limits
        time = limits.header_timeout.total_seconds() if refusal is None else REFUSED_TIME
        protocol = self._make(refusal, handshake)
        opening = self._loop.connect_accepted_socket(
            lambda: protocol, accepted, **tls.options(time)
        )
        task = self._loop.create_task(opening)
        self._handshakes[task] = handshake
        handshake.runs_in(task)
        task.add_done_callback(partial(self._shaken, host))

    def _shaken(self, host: str, task: asyncio.Task[object]) -> None:
        del self._handshakes[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            # A scan of ports causes such lines, so they are no warnings.
            reason = str(error).partition(" (_ssl.c")[0]
            logger.info("%s: the TLS handshake failed: %s", host or "a client", reason)

    def _opened(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("a connection could not be opened: %s", error)

    def _wait_for_room(self, error: OSError) -> None:
        logger.warning("no connection can be accepted: %s", error.strerror)
        if not self._connections.make_room():
            self._loop.remove_reader(self._listener.fileno())
            self._loop.call_later(_PAUSE, self._start)

    def close(self) -> None:
        """Accept no more connections."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._listener.fileno())
            for handshake in self._handshakes.values():
                handshake.end_refused()

    async def wait_closed(self) -> None:
        """Return at once, because the connections are uvicorn's to end."""

"""Accepts connections, and goes on to accept them when the file descriptors run out.

The event loop's own server closes connections without a word if there is no descriptor for them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

from lro_gateway.serving.connections import Connections
from lro_gateway.serving.refusals import Refusal

logger: Final = logging.getLogger(__name__)

MakeProtocol = Callable[[Refusal | None], asyncio.Protocol]
"""Makes the protocol of a connection, which a refusal may allow only one answer."""

_AT_ONCE: Final = 16
"""Connections that the gateway accepts before it turns to its other work."""
_PAUSE: Final = 0.05
"""Seconds without accepting, if there is no descriptor and no refused connection to end."""


class Acceptor:
    """Accepts the connections of one listening socket."""

    def __init__(
        self, listener: socket.socket, connections: Connections, make: MakeProtocol
    ) -> None:
        self._listener = listener
        self._connections = connections
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[object]] = set()
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
        task = self._loop.create_task(
            self._loop.connect_accepted_socket(lambda: self._make(refusal), accepted)
        )
        self._tasks.add(task)
        task.add_done_callback(self._opened)

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

    async def wait_closed(self) -> None:
        """Return at once, because the connections are uvicorn's to end."""

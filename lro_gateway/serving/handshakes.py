"""Handshakes of TLS, each of which holds the place of its connection."""

from __future__ import annotations

import asyncio
from typing import Any

from lro_gateway.serving.client_trust import Withdrawn
from lro_gateway.serving.connections import Connections


class Handshake:
    """The handshake of a new connection, which counts among the connections until it ends.

    Otherwise a client could hold any number of connections by beginning a handshake in each.
    """

    def __init__(self, connections: Connections, host: str, *, refused: bool) -> None:
        self._connections = connections
        self._host = host
        self._refused = refused
        self._task: asyncio.Task[Any] | None = None
        self._holds = True
        connections.add(self, host, refused=refused)

    def runs_in(self, task: asyncio.Task[Any]) -> None:
        """Take the task that waits for the end of the handshake."""
        self._task = task
        task.add_done_callback(lambda _task: self.release())

    def release(self) -> None:
        """Give the place to the connection, or back if the handshake has failed."""
        if self._holds:
            self._holds = False
            self._connections.remove(self, self._host, refused=self._refused)

    def check_time(self, now: float) -> None:
        """Do nothing, because the event loop ends a handshake that takes too long."""

    def distrust(self, withdrawn: Withdrawn) -> None:  # noqa: ARG002 - it has no certificate yet
        """End the handshake, because it may verify its certificate with the old files."""
        self.end_refused()

    def end_refused(self) -> None:
        """End the handshake without an answer."""
        if self._task is not None:
            self._task.cancel()

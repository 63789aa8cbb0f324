"""Finds out whether a connection on which calls get no answer is dead."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import grpc.aio

from lro_gateway.backends.channel import Channel, Endpoint

_CHECK: Final = "/grpc.health.v1.Health/Check"
_MORE: Final = timedelta(seconds=1)


class Vigil:
    """Keeps one call of a health check open until the backend answers or the connection is closed.

    gRPC sends a keepalive ping only if a call is open when the interval ends. Measured: if calls
    with a deadline of 2 s came 3 s apart, gRPC kept a dead connection for more than 150 s. A server
    may refuse pings without an open call, so the gateway does not send these.
    """

    def __init__(self, channel: Channel, endpoint: Endpoint) -> None:
        self._check: grpc.aio.UnaryUnaryMultiCallable[Any, Any] = channel.unary_unary(_CHECK)
        self._metadata = endpoint.metadata
        longest = endpoint.keepalive + endpoint.keepalive_timeout + _MORE
        self._longest = longest.total_seconds()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin the vigil, unless it goes on already."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        with suppress(grpc.aio.AioRpcError):
            await self._check(b"", timeout=self._longest, metadata=self._metadata or None)

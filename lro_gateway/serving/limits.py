"""The limits for requests in flight, and for waits and streams, in all and by address."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lro_gateway.access.peer import Network, is_in
from lro_gateway.config.limits import LimitsConfig
from lro_gateway.serving.addresses import counted_as
from lro_gateway.serving.heads import PROBES
from lro_gateway.serving.refusals import (
    EXPECTS_KEY,
    REFUSAL_KEY,
    Refusal,
    too_many_requests,
    too_many_streams,
)

STREAMS: Final = (b":wait", b":watch", b"/mcp", b"/mcp/")
"""The ends of the paths of waits, of watches, and of MCP, whose answers are streams."""
_DRAIN: Final = 1.0
"""Seconds that the gateway reads a refused body before it closes the connection."""


class InFlight:
    """A number of things in flight, in all and by client, which is an address or an identity."""

    def __init__(self, in_all: int, by_client: int) -> None:
        self.most_in_all = in_all
        self.most_by_client = by_client
        self._in_all = 0
        self._by_client: Counter[Hashable] = Counter()

    @property
    def is_full(self) -> bool:
        """Whether as many are in flight as may be in all."""
        return self._in_all >= self.most_in_all

    def is_full_for(self, client: Hashable) -> bool:
        """Return whether as many are in flight as one client may have."""
        return self._by_client[client] >= self.most_by_client

    def enter(self, client: Hashable) -> None:
        """Count one more."""
        self._in_all += 1
        self._by_client[client] += 1

    def leave(self, client: Hashable) -> None:
        """Count one less."""
        self._in_all -= 1
        left = self._by_client[client] - 1
        if left:
            self._by_client[client] = left
        else:
            del self._by_client[client]


class Limits:
    """ASGI middleware that refuses requests over a limit. It knows the addresses behind proxies."""

    def __init__(
        self, app: ASGIApp, limits: LimitsConfig, trusted: tuple[Network, ...] = ()
    ) -> None:
        self._app = app
        self._trusted = trusted
        self._requests = InFlight(limits.max_requests, limits.max_requests_per_address)
        self._streams = InFlight(limits.max_streams, limits.max_streams_per_address)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request if there is room for it, and refuse it otherwise."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if EXPECTS_KEY in scope:
            receive, send = _closing_unless_read(receive, send)
        path = scope["raw_path"]
        refusal: Refusal | None = scope.get(REFUSAL_KEY)
        if path in PROBES and refusal is None:
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        host = client[0] if client else ""
        address = counted_as(host)
        is_stream = path.endswith(STREAMS)
        if refusal is None and (refusal := self._refusal(host, address, is_stream=is_stream)):
            refusal.log(host)
        if refusal is not None:
            await _refuse(refusal, scope, receive, send)
            return
        self._requests.enter(address)
        if is_stream:
            self._streams.enter(address)
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            # The client left before its body had arrived, which is no fault of the gateway.
            return
        finally:
            self._requests.leave(address)
            if is_stream:
                self._streams.leave(address)

    def _refusal(self, host: str, address: str, *, is_stream: bool) -> Refusal | None:
        requests, streams = self._requests, self._streams
        if requests.is_full:
            return too_many_requests(requests.most_in_all, "limits.max_requests", in_all=True)
        if is_stream and streams.is_full:
            return too_many_streams(streams.most_in_all, "limits.max_streams", in_all=True)
        if requests.is_full_for(address) and not is_in(host, self._trusted):
            most, setting = requests.most_by_client, "limits.max_requests_per_address"
            return too_many_requests(most, setting, in_all=False)
        if is_stream and streams.is_full_for(address) and not is_in(host, self._trusted):
            most, setting = streams.most_by_client, "limits.max_streams_per_address"
            return too_many_streams(most, setting, in_all=False)
        return None


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a refusal. If it closes the connection, first read the body that the client sends.

    If the connection closed with unread bytes, the client might lose the answer.
    """
    if refusal.closes and EXPECTS_KEY not in scope:
        try:
            async with asyncio.timeout(_DRAIN):
                while (await receive()).get("more_body", False):
                    pass
        except TimeoutError:
            pass
    await refusal.response()(scope, receive, send)


def _closing_unless_read(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Return functions that close the connection if the answer comes before the body was read.

    The client then does not send the body, so the next bytes could be a request.
    """
    is_read = False

    async def reading() -> Message:
        nonlocal is_read
        is_read = True
        return await receive()

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start" and not is_read:
            headers = [*message.get("headers", ()), (b"connection", b"close")]
            message = {**message, "headers": headers}
        await send(message)

    return reading, sending

"""The access log: one line for each HTTP request, when its answer has ended."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from lro_gateway.errors import cut, escaped, shown_name
from lro_gateway.log_context import HTTP_REQUEST, KEPT

logger: Final = logging.getLogger("lro_gateway.access")

_CLIENT: Final = "lro_gateway.client"
"""The key of the scope with the function that notes the address of the client."""
_LONGEST_PATH: Final = 1024
_LEFT: Final = 499
"""The status of a request whose client left before the answer began, as nginx writes it."""
_FAILED: Final = 500


class AccessLog:
    """ASGI middleware that logs each request. It stands inside of `RequestIds`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log it when its answer has ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        entry = _Entry(scope, receive, send)
        try:
            await self._app({**scope, _CLIENT: entry.note_client}, entry.receive, entry.send)
        finally:
            entry.log()


class SeenClient:
    """ASGI middleware behind `Forwarding`, which tells the access log the client of the proxy."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the client of a request, and pass the request on."""
        if (note := scope.get(_CLIENT)) is not None:
            note(scope.get("client"))
        await self._app(scope, receive, send)


class _Entry:
    """One request, and what is known of its answer."""

    __slots__ = (
        "_begun",
        "_client",
        "_has_left",
        "_receive",
        "_scope",
        "_send",
        "_size",
        "_status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._begun = time.perf_counter()
        self._scope, self._receive, self._send = scope, receive, send
        self._client: Any = scope.get("client")
        self._status = 0
        self._size = 0
        self._has_left = False

    def note_client(self, client: tuple[str, int] | None) -> None:
        """Keep the address of the client."""
        self._client = client

    async def receive(self) -> Message:
        """Return the next message of the client, and note whether the client has left."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._has_left = True
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer, and note its status or its size."""
        if message["type"] == "http.response.start":
            self._status = _LEFT if self._has_left or self._is_closed() else message["status"]
        elif message["type"] == "http.response.body":
            self._size += len(message.get("body", b""))
        await self._send(message)

    def _is_closed(self) -> bool:
        """Return whether the server knows that the client has left.

        The application does not always ask for it, and to ask here could take a part of the body.
        """
        cycle = getattr(self._receive, "__self__", None)
        return isinstance(cycle, RequestResponseCycle) and cycle.disconnected

    def log(self) -> None:
        """Log the request. The duration goes from its headers to the end of its answer."""
        seconds = time.perf_counter() - self._begun
        method = self._scope["method"]
        status = self._status or (_LEFT if self._has_left else _FAILED)
        # The server sends no body to HEAD, and nothing to a client that has left.
        size = 0 if method == "HEAD" or status == _LEFT else self._size
        client = shown_name(self._client[0]) if self._client else "-"
        path = escaped(cut(_path(self._scope), _LONGEST_PATH))
        fields = {
            "requestMethod": method,
            "requestUrl": path,
            "status": status,
            "responseSize": str(size),
            "latency": f"{seconds:.6f}s",
            "remoteIp": client,
        }
        logger.info(
            "%s %s %s %d %d B %.1f ms",
            *(client, method, path, status, size, seconds * 1000),
            extra={KEPT: True, HTTP_REQUEST: fields},
        )


def _path(scope: Scope) -> str:
    """Return the path as the client sent it, without the query, which may hold data of callers."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode(errors="backslashreplace")
    return raw.partition(b"?")[0].decode("ascii", "backslashreplace")

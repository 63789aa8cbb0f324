"""The record of each HTTP request and its answer: its id, its metrics and its line of the log."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from lro_gateway.errors import unexpected_error
from lro_gateway.log_context import REQUEST_ID
from lro_gateway.rest.errors import error_response
from lro_gateway.serving.access_log import CLIENT, log_access
from lro_gateway.serving.request_ids import NAME, request_id_of
from lro_gateway.telemetry import metrics

_LEFT: Final = 499
"""The status of a request whose client left before the answer began, as nginx writes it."""
_FAILED: Final = 500
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER: Final = "_OTHER"
"""OpenTelemetry's word for all other methods, because a caller may invent any number of them."""


class Exchanges:
    """ASGI middleware in front of all others, which notes each request and its answer.

    Each answer has the id of its request in the header `X-Request-Id`. An exception that nothing
    else has handled is logged with this id, and is answered with INTERNAL.
    """

    def __init__(self, app: ASGIApp, *, logs_access: bool) -> None:
        self._app = app
        self._logs_access = logs_access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request, then record its duration and the status of its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        method = scope["method"] if scope["method"] in _METHODS else _OTHER
        if self._logs_access:
            scope[CLIENT] = exchange.note_client
        token = REQUEST_ID.set(exchange.request_id)
        metrics.ACTIVE_REQUESTS.add(1, method)
        try:
            await self._app(scope, receive, exchange.send)
        except Exception as error:
            refused = unexpected_error("the answer to a request", error)
            if exchange.has_begun:
                # The server closes the connection, and logs the exception again.
                raise
            await error_response(refused)(scope, receive, exchange.send)
        finally:
            seconds, status = exchange.seconds(), exchange.status()
            metrics.ACTIVE_REQUESTS.add(-1, method)
            metrics.REQUESTS.record(seconds, method, str(status))
            if self._logs_access:
                log_access(scope, exchange.client, status, exchange.size, seconds)
            REQUEST_ID.reset(token)


class _Exchange:
    """One request, and what is known of its answer."""

    __slots__ = ("_begun", "_receive", "_send", "_status", "client", "request_id", "size")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._begun = time.perf_counter()
        self._receive, self._send = receive, send
        self._status = 0
        self.client: tuple[str, int] | None = scope.get("client")
        self.request_id = request_id_of(scope["headers"])
        self.size = 0

    def note_client(self, client: tuple[str, int] | None) -> None:
        """Keep the address of the client behind a proxy."""
        self.client = client

    def send(self, message: Message) -> Awaitable[None]:
        """Send a part of the answer, and note its status or its size."""
        if message["type"] == "http.response.start":
            self._status = _LEFT if self._has_left() else message["status"]
            headers = [*message.get("headers", ()), (NAME, self.request_id.encode())]
            message = {**message, "headers": headers}
        elif self._status != _LEFT:
            self.size += len(message.get("body", b""))
        return self._send(message)

    @property
    def has_begun(self) -> bool:
        """Whether a part of the answer has been sent."""
        return self._status != 0

    def seconds(self) -> float:
        """Return the time since the headers of the request."""
        return time.perf_counter() - self._begun

    def status(self) -> int:
        """Return the status of the answer, or the one that stands for a missing answer."""
        return self._status or (_LEFT if self._has_left() else _FAILED)

    def _has_left(self) -> bool:
        """Return whether the server knows that the client has left.

        The application does not always ask for it, and to ask here could take a part of the body.
        """
        cycle = getattr(self._receive, "__self__", None)
        return isinstance(cycle, RequestResponseCycle) and cycle.disconnected

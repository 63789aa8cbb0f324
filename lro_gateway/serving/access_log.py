"""The access log: one line for each HTTP request, when its answer has ended."""

from __future__ import annotations

import logging
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from lro_gateway.errors import cut, escaped, shown_name
from lro_gateway.log_context import HTTP_REQUEST, KEPT

logger: Final = logging.getLogger("lro_gateway.access")

CLIENT: Final = "lro_gateway.client"
"""The key of the scope with the function that notes the address of the client."""
_LONGEST_PATH: Final = 1024


class SeenClient:
    """ASGI middleware behind `Forwarding`, which tells the access log the client of the proxy."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the client of a request, and pass the request on."""
        if (note := scope.get(CLIENT)) is not None:
            note(scope.get("client"))
        await self._app(scope, receive, send)


def log_access(
    scope: Scope, client: tuple[str, int] | None, status: int, size: int, seconds: float
) -> None:
    """Log a request. `seconds` go from its headers to the end of its answer of `size` bytes."""
    method = scope["method"]
    # The server sends no body to HEAD.
    sent = 0 if method == "HEAD" else size
    host = shown_name(client[0]) if client else "-"
    path = escaped(cut(_path(scope), _LONGEST_PATH))
    fields = {
        "requestMethod": method,
        "requestUrl": path,
        "status": status,
        "responseSize": str(sent),
        "latency": f"{seconds:.6f}s",
        "remoteIp": host,
    }
    logger.info(
        "%s %s %s %d %d B %.1f ms",
        *(host, method, path, status, sent, seconds * 1000),
        extra={KEPT: True, HTTP_REQUEST: fields},
    )


def _path(scope: Scope) -> str:
    """Return the path as the client sent it, without the query, which may hold data of callers."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode(errors="backslashreplace")
    return raw.partition(b"?")[0].decode("ascii", "backslashreplace")

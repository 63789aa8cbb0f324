"""Requests that come through proxies: the host, scheme, client and path that the client used.

A header `X-Forwarded-...` counts only if the peer of the connection is in `trusted_proxies`. The
middleware restores the request that the client sent to the proxy, so the rest of the gateway need
not know of proxies. In a restored request, `path` begins with `root_path`, as ASGI requires, and
`raw_path` does not.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from lro_gateway.access.peer import Address, Network, keep_peer, parsed
from lro_gateway.config.models import ServerConfig
from lro_gateway.config.proxies import checked_prefix
from lro_gateway.errors import Code, status_error
from lro_gateway.rest.errors import error_response
from lro_gateway.serving.admission import Admission

_HOST: Final = "x-forwarded-host"
_PREFIX: Final = "x-forwarded-prefix"


class Forwarding:
    """ASGI middleware in front of the guard."""

    def __init__(self, app: ASGIApp, server: ServerConfig, admission: Admission) -> None:
        self._admission = admission
        self._trusted = server.trusted_proxies
        self._prefix = server.root_path
        trusted = list(_in_both_forms(server.trusted_proxies))
        # uvicorn's middleware reads X-Forwarded-For and X-Forwarded-Proto.
        with_client: Any = ProxyHeadersMiddleware(app, trusted) if trusted else app  # type: ignore[arg-type]  # uvicorn has its own ASGI types
        self._app: ASGIApp = with_client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Restore a request, and pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        prefix = self._prefix
        keep_peer(scope)
        if (peer := self._trusted_peer(scope)) is not None:
            headers = Headers(scope=scope)
            scope = self._with_host(scope, headers, peer)
            if forwarded := _last(headers, _PREFIX):
                try:
                    prefix = checked_prefix(forwarded)
                except ValueError as error:
                    refused = status_error(
                        Code.INVALID_ARGUMENT, f"{_PREFIX}: {error}", "BAD_REQUEST"
                    )
                    await error_response(refused)(scope, receive, send)
                    return
        await self._app(_with_prefix(scope, prefix) if prefix else scope, receive, send)

    def _trusted_peer(self, scope: Scope) -> Address | None:
        """Return the address of a peer that is a trusted proxy, or None for any other peer."""
        client = scope.get("client")
        if not self._trusted or client is None:
            return None
        peer = parsed(client[0])
        return peer if any(peer in network for network in self._trusted) else None

    def _with_host(self, scope: Scope, headers: Headers, peer: Address) -> Scope:
        """Replace the Host header by the host that the client sent to the proxy.

        A page in a browser of this machine has the same address as a proxy on this machine, and can
        send X-Forwarded-Host. It cannot choose the Host header, so from this machine that header
        must be an allowed one too.
        """
        host = _last(headers, _HOST)
        if not host:
            return scope
        if peer.is_loopback and not self._admission.allows_host(headers.get("host", "")):
            return scope
        others = [header for header in scope["headers"] if header[0] != b"host"]
        return {**scope, "headers": [(b"host", host.encode("latin-1")), *others]}


def _last(headers: Headers, name: str) -> str:
    """Return the last value of a header, which the nearest proxy has set."""
    values = headers.getlist(name)
    return values[-1].rpartition(",")[2].strip() if values else ""


def _with_prefix(scope: Scope, prefix: str) -> Scope:
    """Set a prefix, and remove it from the raw path if the proxy has not removed it."""
    raw: bytes = scope["raw_path"]
    encoded = prefix.encode()
    if raw == encoded or raw.startswith(encoded + b"/"):
        raw = raw.removeprefix(encoded) or b"/"
    path = prefix + unquote(raw.decode("ascii"))
    return {**scope, "root_path": prefix, "path": path, "raw_path": raw}


def _in_both_forms(networks: Iterable[Network]) -> Iterator[str]:
    """Yield each network, and the form that IPv4 addresses have on a socket for IPv6."""
    for network in networks:
        yield str(network)
        if isinstance(network, ipaddress.IPv4Network):
            yield f"::ffff:{network.network_address}/{96 + network.prefixlen}"

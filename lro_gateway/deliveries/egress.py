"""The HTTP client of deliveries, which connects only to allowed addresses."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpcore2

from lro_gateway.deliveries.addresses import AddressFilter, parse_address
from lro_gateway.deliveries.resolving import Resolver

_LARGEST: Final = 16 * 1024
"""The number of bytes of an answer that are read. The rest is dropped with its connection."""
_KEPT_ALIVE: Final = 10.0


class EgressError(Exception):
    """No answer of a receiver.

    `kind` is one of refused_address, connection_refused, timeout, tls_error, and protocol_error.
    The message has nothing that the receiver has sent.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a receiver. `body` is cut. Header names are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Egress:
    """Sends webhooks. It never follows a redirect.

    Every address that a host resolves to must be allowed, and the connection goes to one of the
    addresses that were checked. With a proxy, the proxy alone decides where a delivery may go.
    """

    def __init__(
        self, addresses: AddressFilter, *, proxy: str | None = None, ca: Path | None = None
    ) -> None:
        """Set the CA that is trusted in place of those of the system.

        Raises `ValueError` if its file has no certificates.
        """
        self._addresses = addresses
        self._proxy = httpcore2.Proxy(proxy) if proxy is not None else None
        self._pool: httpcore2.AsyncConnectionPool | None = None
        self._opening = asyncio.Lock()
        if ca is not None:
            try:
                self._open(ssl.create_default_context(cafile=ca))
            except OSError as error:
                raise ValueError(f"{ca} is no file of certificates: {error.strerror}") from error

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, deadline: float
    ) -> Answer:
        """Send a message, and return its answer. Raises `EgressError` if there is none.

        `deadline` is in seconds, and counts from the start to the end of the answer.
        """
        return await self._answer("POST", url, headers, body, deadline)

    async def get(self, url: str, *, deadline: float) -> Answer:
        """Read a document, as `post` sends a message."""
        return await self._answer("GET", url, {"accept": "application/json"}, None, deadline)

    async def _answer(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, deadline: float
    ) -> Answer:
        try:
            async with asyncio.timeout(deadline):
                return await self._request(method, url, headers, body, deadline)
        except (TimeoutError, httpcore2.TimeoutException):
            raise EgressError("timeout", f"no answer within {deadline:g} s") from None
        except httpcore2.ConnectError as error:
            raise _failed_connection(error) from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.ProxyError):
            raise EgressError("protocol_error", "the connection broke before the answer") from None

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, deadline: float
    ) -> Answer:
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), deadline)
        extensions = {"timeout": timeouts}
        pool = await self._opened()
        async with pool.stream(
            method, url, headers=[*headers.items()], content=body, extensions=extensions
        ) as response:
            found = bytearray()
            async for part in response.aiter_stream():
                found += part[: _LARGEST - len(found)]
                if len(found) >= _LARGEST:
                    break
            named = {
                name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in response.headers
            }
            return Answer(response.status, named, bytes(found))

    async def _opened(self) -> httpcore2.AsyncConnectionPool:
        """Return the pool of connections.

        The CAs of the system are read for the first request, because a gateway without webhooks
        sends none. Measured: they take 3.5 MB and 45 ms.
        """
        async with self._opening:
            return self._pool or self._open(await asyncio.to_thread(ssl.create_default_context))

    def _open(self, trust: ssl.SSLContext) -> httpcore2.AsyncConnectionPool:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=trust,
            proxy=self._proxy,
            # The owner of the deliveries bounds them, because a full pool would let a receiver
            # that hangs delay the others.
            max_connections=None,
            max_keepalive_connections=100,
            keepalive_expiry=_KEPT_ALIVE,
            network_backend=_CheckedBackend(self._addresses) if self._proxy is None else None,
        )
        return self._pool

    async def close(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            await self._pool.aclose()


class _CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Resolves a host, checks every address, and connects to one that was checked."""

    def __init__(self, addresses: AddressFilter) -> None:
        self._addresses = addresses
        self._connects = httpcore2.AnyIOBackend()
        self._resolver = Resolver()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of the library
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address of the host that answers."""
        try:
            addresses = await self._resolver.addresses(host, port)
        except (OSError, UnicodeError):
            raise EgressError("connection_refused", f"the name {host} cannot be resolved") from None
        for each in addresses:
            if not self._addresses.allows(parse_address(each)):
                raise EgressError(
                    "refused_address",
                    # The address would tell a caller of the names that only the gateway knows.
                    f"{host} has an address that is not public, and that"
                    " deliveries.allowed_addresses does not have",
                )
        last: httpcore2.ConnectError | None = None
        for each in addresses:
            try:
                return await self._connects.connect_tcp(
                    each, port, timeout, local_address, socket_options
                )
            except httpcore2.ConnectError as error:
                last = error
        raise last or httpcore2.ConnectError(f"{host} has no address")


def _failed_connection(error: httpcore2.ConnectError) -> EgressError:
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLError):
        reason = getattr(cause, "verify_message", "") or cause.reason or "the handshake failed"
        return EgressError("tls_error", f"TLS: {reason}")
    return EgressError("connection_refused", "the receiver does not accept connections")

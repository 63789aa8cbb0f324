"""What a connection itself tells of its peer, which no header can change."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

CERTIFICATE_KEY: Final = "lro_gateway.certificate"
"""The key in an ASGI scope of the certificate that the client showed, in DER."""
_PEER: Final = "lro_gateway.peer"
"""The key of the address of the connection, if the headers of a proxy replace `client`."""


def keep_peer(scope: MutableMapping[str, Any]) -> None:
    """Keep the address of the connection, before the headers of a proxy replace `client`."""
    scope[_PEER] = scope.get("client")


def peer_of(scope: Mapping[str, Any]) -> str:
    """Return the address of the connection. It is empty for a peer at a Unix socket."""
    client = scope[_PEER] if _PEER in scope else scope.get("client")
    return str(client[0]) if client else ""


def certificate_of(scope: Mapping[str, Any]) -> bytes | None:
    """Return the verified certificate that the client of a connection has shown, in DER."""
    found: bytes | None = scope.get(CERTIFICATE_KEY)
    return found

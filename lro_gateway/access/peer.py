"""The peer of a connection, as the connection itself tells it. No header can change it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

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


def parsed(text: str) -> Address:
    """Parse an address. An IPv4 address that IPv6 holds becomes an IPv4 address."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_in(text: str, networks: Iterable[Network]) -> bool:
    """Return whether an address is in one of the networks."""
    try:
        address = parsed(text)
    except ValueError:
        return False
    return any(address in network for network in networks)

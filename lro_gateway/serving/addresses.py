"""The addresses of clients: by what the gateway counts a client, and who is a trusted proxy."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from lro_gateway.config.proxies import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_CACHED: Final = 4096
_NETWORK_BITS: Final = 64
"""A client usually has a whole /64 network of IPv6 addresses, and can use all of them."""


def parsed(text: str) -> Address:
    """Parse an address. An IPv4 address that IPv6 holds becomes an IPv4 address."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(_CACHED)
def counted_as(text: str) -> str:
    """Return an IPv4 address, the /64 network of an IPv6 address, or any other text as it is."""
    try:
        address = parsed(text)
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv6Address):
        bits = 128 - _NETWORK_BITS
        return f"{ipaddress.IPv6Address(int(address) >> bits << bits)}/{_NETWORK_BITS}"
    return str(address)


def is_in(text: str, networks: Iterable[Network]) -> bool:
    """Return whether an address is in one of the networks."""
    try:
        address = parsed(text)
    except ValueError:
        return False
    return any(address in network for network in networks)

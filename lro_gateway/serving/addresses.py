"""The addresses of clients, by which the gateway counts them."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

from lro_gateway.access.peer import parsed

_CACHED: Final = 4096
_NETWORK_BITS: Final = 64
"""A client usually has a whole /64 network of IPv6 addresses, and can use all of them."""


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

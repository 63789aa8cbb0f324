"""The network addresses to which a delivery may connect."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_IPV4: Final = 4
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_REFUSED: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        # Python takes these for global, but no public receiver of webhooks has them.
        *("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32"),
        *("2002::/16", "2001::/32", "3fff::/20"),
    )
)
"""Protocol assignments, relays of 6to4 and Teredo, the address of Azure's platform, and others."""
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""The only public addresses of IPv6. Outside of it are translated and unassigned ones."""


def is_public(address: Address) -> bool:
    """Return whether an address belongs to the public Internet, and so may have a receiver.

    An address of IPv6 that stands for one of IPv4 counts as the latter.
    """
    return all(
        each.is_global
        and not each.is_multicast
        and (each.version == _IPV4 or each in _UNICAST)
        and not any(each in network for network in _REFUSED if network.version == each.version)
        for each in _meanings(address)
    )


def address_of(host: str) -> Address | None:
    """Return the address that a host of a URL is, in any form that a resolver reads as one.

    These are also the older forms of IPv4, such as `127.1`, `0x7f000001` and `017700000001`.
    """
    with suppress(ValueError):
        return ipaddress.ip_address(host.partition("%")[0])
    with suppress(OSError):
        return ipaddress.IPv4Address(socket.inet_aton(host))
    return None


def parse_address(text: str) -> Address:
    """Return the address of a text without a port and a zone; raise `ValueError` otherwise."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise ValueError(f"{text!r} has a zone")
    return address


class AddressFilter:
    """Decides on each address to which a delivery would connect.

    `allowed` are the addresses that are not public and yet allowed, one by one.
    """

    def __init__(self, allowed: Collection[Address] = ()) -> None:
        self._allowed = frozenset(each for one in allowed for each in _meanings(one))

    def allows(self, address: Address) -> bool:
        """Return whether a delivery may connect to an address."""
        meanings = frozenset(_meanings(address))
        return meanings <= self._allowed or is_public(address)


def _meanings(address: Address) -> Iterator[Address]:
    """Yield the address that packets to this address reach in the end."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            yield address.ipv4_mapped
            return
        if address in _NAT64:
            yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
            return
    yield address

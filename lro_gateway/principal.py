"""The identity of a caller."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretStr

Reader = tuple[Hashable, Hashable]
"""The reader of a fair share: an address and a connection, or an identity and nothing."""


def is_identity(group: Hashable) -> bool:
    """Return whether the first part of a `Reader` is an identity, and no address."""
    return isinstance(group, tuple) and any(group)


@dataclass(frozen=True, slots=True)
class Principal:
    """The identity of a caller.

    `subject` is unique within `issuer`. `tenant` is the organization that the caller acts for. All
    three are empty if the caller is not identified. `client` is the OAuth client. `scopes` are what
    the credentials grant, and `expires` is the time of their end in seconds since the epoch.
    `peer` is the host and port of the connection of a caller without an identity. Callers that
    differ only in `expires`, `peer` or `token` are equal.

    `token` is the OAuth token that identified the caller. It is None for a caller of any other
    kind. The gateway never sends it to a backend, and only exchanges it for another (RFC 8693).
    `passed` are the headers of the request that some backend gets as metadata. Their names are in
    lower case. Callers with different ones are not equal, so no answer for one is given to another.
    """

    subject: str = ""
    issuer: str = ""
    tenant: str = ""
    groups: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    client: str = ""
    expires: float = field(default=math.inf, compare=False)
    peer: tuple[str, int] | None = field(default=None, compare=False, repr=False)
    token: SecretStr | None = field(default=None, compare=False, repr=False)
    passed: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def identity(self) -> tuple[str, str, str]:
        """The issuer, subject and tenant, for use in keys and in sealed tokens.

        They are separate, because a joined text could be the same for two different principals.
        """
        return (self.issuer, self.subject, self.tenant)

    @property
    def credentials(self) -> Hashable:
        """All that the credentials of an identified caller say, except their end."""
        return (*self.identity, self.groups, self.scopes, self.client)

    @property
    def reader(self) -> Reader:
        """The key by which the caller's share is counted, for example of a backend's polls.

        An identified caller has one share. Callers without an identity share by address, and then
        by connection.
        """
        if self.peer is None or any(self.identity):
            return (self.identity, None)
        host, port = self.peer
        return _network(host), port

    def __str__(self) -> str:
        """Return a text for logs. Two different principals may have the same text."""
        if not any(self.identity):
            return "anonymous"
        return f"{self.issuer}#{self.subject}" + (f"@{self.tenant}" if self.tenant else "")


def _network(host: str) -> Hashable:
    """Return the host, or the network of an IPv6 address.

    One client usually has a whole /64 network.
    """
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host
    return str(address.ipv4_mapped) if address.ipv4_mapped else address.packed[:8]


ANONYMOUS: Final = Principal()
"""The principal of a caller that is not identified."""

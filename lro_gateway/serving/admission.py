"""The hosts and web origins from which the gateway accepts requests."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from lro_gateway.config.hosts import Host, HostPattern, Origin
from lro_gateway.config.models import ServerConfig

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
_LONGEST: Final = 300
"""The maximum length of a host with its port. A DNS name has at most 253 characters."""
_CACHED: Final = 256


class Admission:
    """Decides which hosts and origins may be in a request, by the settings of the server."""

    def __init__(self, server: ServerConfig) -> None:
        own = sorted(LOOPBACK | {server.host}) if server.is_loopback else []
        self._hosts = (*map(HostPattern.parse, own), *server.allowed_hosts)
        self._origins = server.allowed_origins
        self._local = (
            frozenset(each.host.name for each in self._hosts if each.host.port is None) & LOOPBACK
        )
        self._allows_host = lru_cache(_CACHED)(self._compute_allows_host)

    def allows_host(self, host: str) -> bool:
        """Return whether a request may have this Host header."""
        return not self._hosts or (len(host) <= _LONGEST and self._allows_host(host))

    def _compute_allows_host(self, text: str) -> bool:
        try:
            host = Host.parse(text)
        except ValueError:
            return False
        return any(pattern.matches(host) for pattern in self._hosts)

    def is_local(self, host: str) -> bool:
        """Return whether a host is this machine, and the gateway is on loopback."""
        try:
            return Host.parse(host).name in self._local
        except ValueError:
            return False

    def lists_origin(self, origin: str) -> bool:
        """Return whether the setting `allowed_origins` has an origin."""
        if not self._origins:
            return False
        try:
            parsed = Origin.parse(origin)
        except ValueError:
            return False
        return any(pattern.matches(parsed) for pattern in self._origins)

    def is_own(self, origin: str, host: str) -> bool:
        """Return whether an origin is that of the gateway, which a request reached at `host`.

        If the gateway is on loopback, each page that this machine serves on loopback is such an
        origin.
        """
        try:
            parsed = Origin.parse(origin)
            reached = Host.parse(host).without_default_port(parsed.scheme)
        except ValueError:
            return False
        return parsed.host == reached or parsed.host.name in self._local

"""Headers of a proxy that has identified the caller already.

Any client can send such a header, so it counts only on a connection from an address that the
configuration names. That is the address of the connection, and never one that a header names. On
every other connection the header is refused, and not ignored: a mistake in the configuration then
shows, and no later code can take the header for a true one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cachetools import LRUCache

from lro_gateway.access.peer import Network, is_in, peer_of
from lro_gateway.errors import Code, StatusError, quote, status_error
from lro_gateway.principal import Principal

_LONGEST: Final = 4096
"""The maximum length of the value of a header in bytes."""


@dataclass(frozen=True, slots=True)
class HeaderNames:
    """The headers that hold each part of a caller. Only `subject` must be set.

    `separator` separates the groups in one value. Blanks separate scopes.
    """

    subject: str
    tenant: str = ""
    groups: str = ""
    scopes: str = ""
    client: str = ""
    separator: str = ","

    @property
    def used(self) -> tuple[str, ...]:
        """The names of all headers that are set."""
        found = (self.subject, self.tenant, self.groups, self.scopes, self.client)
        return tuple(filter(None, found))


_PEERS: Final = 1024
"""The number of addresses of which it is kept whether they are those of the proxy."""


class ProxyHeaders:
    """Identifies callers by the headers of a proxy.

    `addresses` are those of the proxy. `issuer` is the issuer of these callers, and each
    identification is valid for `valid_for` seconds, because no header tells when a session ends.
    """

    advice: Final = "come through the proxy that identifies callers"

    def __init__(
        self,
        names: HeaderNames,
        addresses: Iterable[Network],
        issuer: str,
        valid_for: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._names = names
        self._by_key = {each.lower().encode("ascii"): each for each in names.used}
        self._addresses = tuple(addresses)
        self._trusted: LRUCache[str, bool] = LRUCache(_PEERS)
        self._issuer = issuer
        self._valid_for = valid_for
        self._clock = clock

    async def identify(self, scope: Mapping[str, Any]) -> Principal | None:
        """Return the caller of a request, or None if it has none of the headers.

        Raises UNAUTHENTICATED if a header comes from another address, twice, or with a value that
        is no text.
        """
        given = [each for each in scope["headers"] if each[0] in self._by_key]
        if not given:
            return None
        peer = peer_of(scope)
        if not self._trusts(peer):
            raise _untrusted(self._by_key[given[0][0]], peer)
        values: dict[str, str] = {}
        for key, value in given:
            name = self._by_key[key]
            if name in values:
                raise _refused(f"the header {name} is there twice")
            values[name] = _text(name, value)
        subject = values.get(self._names.subject, "")
        if not subject:
            # A proxy may let requests without a caller through, with an empty header.
            return None
        groups = values.get(self._names.groups, "").split(self._names.separator)
        return Principal(
            subject,
            self._issuer,
            values.get(self._names.tenant, ""),
            groups=frozenset(filter(None, map(str.strip, groups))),
            scopes=frozenset(values.get(self._names.scopes, "").split()),
            client=values.get(self._names.client, ""),
            expires=self._clock() + self._valid_for,
        )

    def _trusts(self, peer: str) -> bool:
        """Return whether an address is one of the proxy. Measured: to parse it takes 20 us."""
        trusted = self._trusted.get(peer)
        if trusted is None:
            trusted = self._trusted[peer] = is_in(peer, self._addresses)
        return trusted


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise _refused(f"the header {name} is not text in UTF-8") from None
    if len(value) > _LONGEST or not text.isprintable():
        raise _refused(f"the header {name} is too long, or has characters that cannot be printed")
    return text.strip()


def _refused(problem: str) -> StatusError:
    return status_error(Code.UNAUTHENTICATED, problem, "PROXY_HEADER_INVALID")


def _untrusted(name: str, peer: str) -> StatusError:
    source = quote(peer) if peer else "a connection without an address"
    text = f"the header {name} came from {source}, which auth.proxy.addresses does not name"
    return status_error(Code.UNAUTHENTICATED, text, "PROXY_NOT_TRUSTED")

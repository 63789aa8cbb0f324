"""The credentials that go to a backend with each call: a token, and headers of the caller.

A backend may answer differently to each of its callers. `Credentials.key_of` tells which callers
it cannot tell apart, and only those share answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Hashable
from typing import Final, Protocol

from lro_gateway.principal import Principal

Pairs = tuple[tuple[str, str], ...]
"""Keys and values of gRPC metadata."""

_NOTHING: Final[Pairs] = ()


class Tokens(Protocol):
    """Where the token of calls comes from."""

    async def get(self, within: float) -> str:
        """Return a token that is valid now, after at most `within` seconds.

        If there is none, raises a `StatusError` that is `unsent`.
        """

    def drop(self) -> bool:
        """Drop a token that the backend has refused. Return whether the next one may be another."""


class Exchange(Protocol):
    """Makes a token for each caller from the caller's own one."""

    def tokens_of(self, caller: Principal) -> Tokens:
        """Return the tokens for the calls of one caller."""


class Shown:
    """The token and the headers that some calls show to a backend."""

    __slots__ = ("_passed", "_tokens")

    def __init__(self, tokens: Tokens | None, passed: Pairs = _NOTHING) -> None:
        self._tokens = tokens
        self._passed = passed

    async def metadata(self, within: float) -> Pairs:
        """Return the metadata. Raises an `unsent` error without a token in `within` seconds."""
        if self._tokens is None:
            return self._passed
        return (("authorization", f"Bearer {await self._tokens.get(within)}"), *self._passed)

    def drop(self) -> bool:
        """Drop the refused token. Return whether the next call may show another one."""
        return self._tokens is not None and self._tokens.drop()


class Credentials:
    """The credentials of one backend.

    `tokens` are the gateway's own. With an `exchange`, the gateway shows them only where it calls
    for no caller, as for reflection. `headers` are the names of the headers to pass on, in lower
    case.
    """

    def __init__(
        self,
        tokens: Tokens | None = None,
        exchange: Exchange | None = None,
        headers: Collection[str] = (),
    ) -> None:
        self._tokens = tokens
        self._exchange = exchange
        self._headers = frozenset(headers)
        self.own = Shown(tokens) if tokens is not None else None

    @property
    def tell_callers_apart(self) -> bool:
        """Whether the backend is shown something of a caller."""
        return self._exchange is not None or bool(self._headers)

    def key_of(self, caller: Principal) -> Hashable:
        """Return what the backend is shown of a caller, or None if it is shown nothing of it."""
        passed = self._passed(caller)
        if self._exchange is None:
            return passed or None
        return caller.credentials, passed

    def digest_of(self, caller: Principal) -> str:
        """Return a SHA-256 of `key_of`, which is the same in every process and replica."""
        shown: list[object] = [self._passed(caller)]
        if self._exchange is not None:
            sets = (sorted(caller.groups), sorted(caller.scopes))
            shown += [*caller.identity, *sets, caller.client]
        return hashlib.sha256(repr(shown).encode()).hexdigest()

    def of(self, caller: Principal) -> Shown:
        """Return what the backend is shown with the calls of a caller."""
        tokens = self._tokens if self._exchange is None else self._exchange.tokens_of(caller)
        return Shown(tokens, self._passed(caller))

    def _passed(self, caller: Principal) -> Pairs:
        if not caller.passed or not self._headers:
            return _NOTHING
        return tuple(pair for pair in caller.passed if pair[0] in self._headers)

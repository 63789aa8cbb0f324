"""Bearer tokens (RFC 6750) in the header Authorization: JWTs of issuers, and static tokens."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import jwt
from cachetools import LRUCache

from lro_gateway.access.authentication import Scope
from lro_gateway.access.identity.issuers import Issuer
from lro_gateway.access.identity.refusals import (
    credentials_malformed,
    token_in_query,
    token_malformed,
    wrong_issuer,
)
from lro_gateway.access.identity.static_tokens import PREFIX, StaticTokens
from lro_gateway.access.resource import Resource
from lro_gateway.principal import Principal

LONGEST_TOKEN: Final = 16 * 1024
"""The maximum length of a token in characters."""
_KEPT: Final = 10_000
"""The maximum number of verified tokens that are kept."""
_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*\Z")
_IN_QUERY: Final = re.compile(rb"\$?(?:access|oauth)_token")
"""The names of parameters that have a token (RFC 6750, and the system parameters of Google)."""


class VerifiedTokens:
    """The callers of the JWTs that were verified, by a digest of each, until the JWT ends."""

    def __init__(self) -> None:
        self._callers: LRUCache[tuple[bytes, str], Principal] = LRUCache(_KEPT)

    def get(self, token: bytes, address: str, now: float) -> Principal | None:
        """Return the caller of a token, which was verified for this address of the gateway."""
        found = self._callers.get(_key(token, address))
        return found if found is not None and found.expires > now else None

    def put(self, token: bytes, address: str, caller: Principal) -> None:
        """Keep the caller of a verified token."""
        self._callers[_key(token, address)] = caller

    def forget(self, issuer: str) -> None:
        """Drop the tokens of an issuer, because one of its keys is no longer valid."""
        for key, caller in [*self._callers.items()]:
            if caller.issuer == issuer:
                del self._callers[key]


def _key(token: bytes, address: str) -> tuple[bytes, str]:
    return hashlib.sha256(token).digest(), address


class BearerTokens:
    """Identifies callers by bearer tokens."""

    advice: Final = "send a token in the header 'Authorization: Bearer ...'"

    def __init__(
        self,
        issuers: Iterable[Issuer],
        static: StaticTokens | None,
        resource: Resource,
        verified: VerifiedTokens,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._issuers: Mapping[str, Issuer] = {each.url: each for each in issuers}
        self._static = static
        self._resource = resource
        self._verified = verified
        self._clock = clock

    async def identify(self, scope: Scope) -> Principal | None:
        """Return the caller of a request, or None if it has no header Authorization.

        Raises UNAUTHENTICATED if the credentials are wrong, and UNAVAILABLE if they cannot be
        verified now.
        """
        if _has_token(scope["query_string"]):
            raise token_in_query()
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if not given:
            return None
        token = _token(given)
        if token.startswith(PREFIX.encode()) and self._static is not None:
            return self._static.principal(token.decode())
        address = self._resource.address(scope)
        known = self._verified.get(token, address, self._clock())
        if known is None:
            known = await self._of_issuer(token.decode(), address)
            self._verified.put(token, address, known)
        return known

    async def _of_issuer(self, token: str, address: str) -> Principal:
        header, issuer = self._unverified(token)
        return await issuer.principal(token, header, self._resource.audiences(address))

    def _unverified(self, token: str) -> tuple[Mapping[str, Any], Issuer]:
        """Return the header of a token, and the issuer that it claims to have."""
        try:
            found = jwt.decode_complete(token, options={"verify_signature": False})
            header, claims = found["header"], found["payload"]
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise token_malformed() from None
        url = claims.get("iss")
        issuer = self._issuers.get(url) if isinstance(url, str) else None
        if issuer is None:
            raise wrong_issuer()
        return header, issuer


def _has_token(query: bytes) -> bool:
    """Return whether a parameter of a query has a token, however its name is encoded."""
    if not query or not _IN_QUERY.search(unquote_to_bytes(query)):
        return False
    names = (part.partition(b"=")[0] for part in query.split(b"&"))
    return any(_IN_QUERY.fullmatch(unquote_to_bytes(each)) for each in names)


def _token(given: list[bytes]) -> bytes:
    if len(given) > 1:
        raise credentials_malformed(f"the request has {len(given)} Authorization headers; send one")
    scheme, _, token = given[0].partition(b" ")
    if scheme.lower() != b"bearer":
        raise credentials_malformed("the header Authorization must have the form 'Bearer TOKEN'")
    token = token.strip(b" ")
    if len(token) > LONGEST_TOKEN:
        raise credentials_malformed(f"a token may have at most {LONGEST_TOKEN} characters")
    if not _TOKEN.match(token):
        raise credentials_malformed("the token has characters that no token can have")
    return token

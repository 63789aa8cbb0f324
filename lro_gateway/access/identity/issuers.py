"""JWTs of an OAuth 2.1 or OpenID Connect issuer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt

from lro_gateway.access.identity.claims import ClaimNames
from lro_gateway.access.identity.key_cache import KeyCache
from lro_gateway.access.identity.keys import KeysError
from lro_gateway.access.identity.refusals import (
    issuer_unavailable,
    rejected,
    token_malformed,
    unknown_key,
    wrong_algorithm,
    wrong_claims,
)
from lro_gateway.principal import Principal

DEFAULT_ALGORITHMS: Final = ("RS256", "ES256", "PS256", "EdDSA")
_MOST_TRIED: Final = 4
"""The maximum number of keys to try for a token that does not name its key."""
_REQUIRED: Final = ("exp", "aud", "iss")
_TIMES: Final = ("exp", "nbf", "iat")
_OTHER_USES: Final = re.compile(r"(?i)(?:application/)?(?!at\+)[^/]*\+jwt")
"""The header `typ` of JWTs for other uses, such as `logout+jwt` and `dpop+jwt` (RFC 8725, 3.11)."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer whose tokens identify callers.

    A token must be for one of `audiences`, or, if there are none, for the gateway. `skew` is the
    number of seconds by which the clocks may differ. `required` are the claims that a token must
    have besides its end, its audience and its issuer.
    """

    url: str
    keys: KeyCache
    algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS
    audiences: frozenset[str] = frozenset()
    skew: float = 30.0
    claims: ClaimNames = field(default_factory=ClaimNames)
    required: tuple[str, ...] = ()
    clock: Callable[[], float] = time.time

    async def principal(
        self, token: str, header: Mapping[str, Any], own_audiences: frozenset[str]
    ) -> Principal:
        """Return the caller whose token this is; the header has not been verified yet.

        Raises UNAUTHENTICATED if the token is wrong, and UNAVAILABLE if it cannot be verified now.
        """
        algorithm = header.get("alg")
        if algorithm not in self.algorithms:
            raise wrong_algorithm(self.algorithms)
        if _OTHER_USES.fullmatch(str(header.get("typ", ""))):
            raise wrong_claims("is for another use, as its header typ says; send an access token")
        kid = header.get("kid", "")
        if not isinstance(kid, str):
            raise token_malformed()
        try:
            keys = await self.keys.find(kid, algorithm)
        except KeysError as error:
            raise issuer_unavailable(str(error)) from error
        if not keys:
            raise unknown_key()
        audiences = self.audiences or own_audiences
        failure: Exception | None = None
        for key in keys[:_MOST_TRIED]:
            try:
                claims = self._verified(token, key.public, algorithm, audiences)
            except jwt.InvalidSignatureError as error:
                failure = error
            except (jwt.PyJWTError, ValueError, OverflowError, TypeError, RecursionError) as error:
                raise rejected(error, audiences) from None
            else:
                return self._principal(claims, token)
        raise rejected(failure or jwt.InvalidSignatureError(), audiences) from None

    def _verified(
        self, token: str, key: Any, algorithm: str, audiences: frozenset[str]
    ) -> dict[str, Any]:
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=audiences,
            issuer=self.url,
            leeway=self.skew,
            options={"require": [*_REQUIRED, *self.required]},
        )

    def _principal(self, claims: Mapping[str, Any], token: str) -> Principal:
        """Return the principal.

        A token that is used after its end, because the clocks differ, is valid until the end of the
        difference. Otherwise streams of its caller end exactly when the token does.
        """
        for name in _TIMES:
            # PyJWT reads a text or a truth value as a number too, and RFC 7519 does not.
            if isinstance(claims.get(name, 0), bool | str):
                raise wrong_claims(f"has a claim {name} that is no number")
        try:
            # PyJWT has checked that this is in the future.
            end = float(claims["exp"])
        except OverflowError:
            raise wrong_claims("has a claim exp that is too large") from None
        expires = end if end > self.clock() else end + self.skew
        try:
            return self.claims.principal(claims, issuer=self.url, expires=expires, token=token)
        except ValueError as error:
            raise wrong_claims(str(error)) from None

"""The signing keys of an issuer in a test, and every kind of token: good ones, and bad ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

import jwt as pyjwt
from joserfc.jwk import ECKey, KeyParameters, KeySet, OKPKey, RSAKey

Key = ECKey | RSAKey | OKPKey

ALGORITHMS: Mapping[str, str] = {"EC": "ES256", "RSA": "RS256", "OKP": "EdDSA"}


def part(value: Any) -> str:
    """Return JSON or bytes as one part of a compact token."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class TokenSigner:
    """Issues tokens with the newest of its keys.

    `published` are the keys of the JWKS. A test takes a key out of it to revoke the key.
    """

    def __init__(self, issuer: str, audience: str) -> None:
        self.issuer = issuer
        self.audience = audience
        self.published: list[Key] = []
        self._made = 0
        self.rotate()

    @property
    def key(self) -> Key:
        """The newest key."""
        return self.published[-1]

    def rotate(self, kind: str = "EC", *, keep_old: bool = True) -> Key:
        """Publish a new key of a kind, EC, RSA or OKP, and sign with it from now on."""
        self._made += 1
        options: KeyParameters = {"kid": f"key-{self._made}", "use": "sig"}
        key: Key
        if kind == "RSA":
            key = RSAKey.generate_key(2048, options)
        elif kind == "OKP":
            key = OKPKey.generate_key("Ed25519", options)
        else:
            key = ECKey.generate_key("P-256", options)
        self.published = [*(self.published if keep_old else []), key]
        return key

    def jwks(self) -> Any:
        """Return the public keys as a JWKS."""
        return KeySet([*self.published]).as_dict(private=False)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a token of Alice that is valid for an hour.

        A change replaces a claim, or removes it if its value is None.
        """
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": "alice",
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "client_id": "console",
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(
        self, *, key: Key | None = None, header: Mapping[str, Any] | None = None, **changes: Any
    ) -> str:
        """Issue a token. The header may be changed too, such as its `kid`."""
        key = key or self.key
        algorithm = ALGORITHMS[key.key_type]
        complete = {"alg": algorithm, "typ": "at+jwt", "kid": key.kid, **(header or {})}
        # joserfc warns of EdDSA, for which a newer RFC has another name that few issuers use.
        private: Any = key.private_key
        return pyjwt.encode(self.claims(**changes), private, algorithm=algorithm, headers=complete)

    def expired(self, **changes: Any) -> str:
        """Issue a token that ended an hour ago."""
        now = int(time.time())
        return self.token(**{"iat": now - 7200, "nbf": now - 7200, "exp": now - 3600, **changes})

    def not_yet_valid(self, **changes: Any) -> str:
        """Issue a token that is valid only in an hour."""
        now = int(time.time())
        return self.token(**{"nbf": now + 3600, "exp": now + 7200, **changes})

    def unsigned(self, **changes: Any) -> str:
        """Make a token with the algorithm `none` and without a signature."""
        return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(self.claims(**changes))}."

    def signed_with_public_key(self, **changes: Any) -> str:
        """Make a token that HS256 signs, with the text of the public key as its secret."""
        header = {"alg": "HS256", "typ": "JWT", "kid": self.key.kid}
        signed = f"{part(header)}.{part(self.claims(**changes))}"
        digest = hmac.digest(self.key.as_pem(private=False), signed.encode(), hashlib.sha256)
        return f"{signed}.{part(digest)}"

    def of_unknown_key(self, **changes: Any) -> str:
        """Issue a token of a key that is not published."""
        key = ECKey.generate_key("P-256", {"kid": "unknown-key", "use": "sig"})
        return self.token(key=key, **changes)

    def forged(self, **changes: Any) -> str:
        """Issue a token of another key under the `kid` of a published key."""
        key = ECKey.generate_key("P-256", {"kid": str(self.key.kid), "use": "sig"})
        return self.token(key=key, **changes)

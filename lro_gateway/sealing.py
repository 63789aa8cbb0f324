"""Opaque tokens: sealed, so that nobody can read, change or forge one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV


class UnsealError(Exception):
    """A token that this gateway did not seal, or not for this use."""


class Sealer:
    """Seals bytes by AES-SIV (RFC 5297) under a key of its own.

    The same bytes for the same use give the same token. `purpose` and `context` must be the same to
    unseal: who it was for, and what it belongs to.
    """

    def __init__(self, key: bytes | None = None) -> None:
        """Take a key of 32, 48 or 64 bytes, or make one that lives as long as the process."""
        self._cipher = AESSIV(key or AESSIV.generate_key(256))

    def seal(self, content: bytes, purpose: str, context: Sequence[str] = ()) -> str:
        """Return a token of URL-safe characters."""
        sealed = self._cipher.encrypt(content, _associated(purpose, context))
        return _encoded(sealed)

    def unseal(self, token: str, purpose: str, context: Sequence[str] = ()) -> bytes:
        """Return what was sealed, or raise `UnsealError`."""
        try:
            padded = token.encode("ascii") + b"=" * (-len(token) % 4)
            sealed = base64.b64decode(padded, altchars=b"-_", validate=True)
            content = self._cipher.decrypt(sealed, _associated(purpose, context))
        except (ValueError, binascii.Error, InvalidTag) as error:
            raise UnsealError from error
        if _encoded(sealed) != token:
            # Base64 has more than one spelling of the same bytes; a token has one.
            raise UnsealError
        return content


def _encoded(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def _associated(purpose: str, context: Sequence[str]) -> list[bytes]:
    return [part.encode("utf-8", "surrogatepass") for part in (purpose, *context)]

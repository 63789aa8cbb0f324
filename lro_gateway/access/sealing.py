"""Sealed tokens, which callers can neither read nor change nor forge."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MIN_KEY: Final = 32
"""The minimum length of a key, in bytes."""

_DERIVED: Final = 64  # AES-256-SIV takes two keys of 32 bytes as one key.


class UnsealError(Exception):
    """A token that this gateway did not seal, or that it sealed for another purpose or context."""


class Sealer:
    """Seals bytes with AES-SIV (RFC 5297) under a ring of keys.

    Equal bytes with equal `purpose` and `context` give equal tokens. A token can be unsealed only
    with the purpose and the context that it was sealed with. The purpose names the kind of token,
    and the context names its owner. HKDF derives the keys of each purpose.

    `seal` uses the first key of the ring, and `unseal` tries every key. To change the key, first
    add the new key at the end of every replica's ring. Then move it to the front. Remove the old
    key when its tokens are no longer used.
    """

    def __init__(self, key: bytes | None = None, *others: bytes) -> None:
        """Take keys of at least `MIN_KEY` random bytes.

        Without a key, make a random key that only this process has.
        """
        self.is_ephemeral = key is None
        self._keys = (key if key is not None else os.urandom(MIN_KEY), *others)
        if any(len(each) < MIN_KEY for each in self._keys):
            raise ValueError(f"a key needs {MIN_KEY} random bytes or more")
        self._ciphers: dict[str, tuple[AESSIV, ...]] = {}

    def seal(self, content: bytes, purpose: str, context: Sequence[str] = ()) -> str:
        """Return a token that consists of URL-safe characters."""
        return _encoded(self._ring(purpose)[0].encrypt(content, _associated(context)))

    def unseal(self, token: str, purpose: str, context: Sequence[str] = ()) -> bytes:
        """Return the bytes that were sealed, or raise `UnsealError`."""
        content = next(self._opened(_decoded(token), purpose, context), None)
        if content is None:
            raise UnsealError
        return content

    def _opened(self, sealed: bytes, purpose: str, context: Sequence[str]) -> Iterator[bytes]:
        for cipher in self._ring(purpose):
            try:
                yield cipher.decrypt(sealed, _associated(context))
            except (ValueError, InvalidTag):
                continue

    def _ring(self, purpose: str) -> tuple[AESSIV, ...]:
        if purpose not in self._ciphers:
            self._ciphers[purpose] = tuple(AESSIV(_derived(key, purpose)) for key in self._keys)
        return self._ciphers[purpose]


def _derived(key: bytes, purpose: str) -> bytes:
    info = f"lro-gateway/v1/{purpose}".encode("utf-8", "surrogatepass")
    return HKDF(algorithm=SHA256(), length=_DERIVED, salt=None, info=info).derive(key)


def _encoded(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def _decoded(token: str) -> bytes:
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        sealed = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise UnsealError from error
    if _encoded(sealed) != token:
        # Several base64 texts decode to the same bytes, but only the text from `seal` is a token.
        raise UnsealError
    return sealed


def _associated(context: Sequence[str]) -> list[bytes]:
    return [part.encode("utf-8", "surrogatepass") for part in context]

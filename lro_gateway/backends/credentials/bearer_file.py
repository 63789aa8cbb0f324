"""A bearer token in a file, which another program may replace at any time."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final

from lro_gateway.backends.credentials.failures import CredentialsError
from lro_gateway.backends.credentials.token_cache import Token

_INTERVAL: Final = 5.0
"""Seconds between two looks at the file."""
_LARGEST: Final = 64 * 1024
_TOKEN: Final = re.compile(r"[\x21-\x7e]+\Z")


class BearerFile:
    """The token in a file. While the file cannot be used, the last token is."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def fetch(self) -> Token:
        """Read the file."""
        return Token(await asyncio.to_thread(self.read), renewed_in=_INTERVAL)

    def read(self) -> str:
        """Return the token. Raises `CredentialsError` if the file has none."""
        try:
            with self._file.open("rb") as opened:
                content = opened.read(_LARGEST + 1)
        except OSError as error:
            text = f"bearer_file: {self._file} cannot be read: {error.strerror}"
            raise CredentialsError(text) from error
        return checked_token(content.decode("latin-1").strip(), f"bearer_file: {self._file}")


def checked_token(text: str, source: str) -> str:
    """Return a token if it can be sent. Raises `CredentialsError`, which has no part of it."""
    if not text:
        raise CredentialsError(f"{source} is empty")
    if len(text) > _LARGEST:
        raise CredentialsError(f"{source} is larger than {_LARGEST} bytes, so it is no token")
    if not _TOKEN.match(text):
        raise CredentialsError(f"{source} has characters that no token can have")
    return text

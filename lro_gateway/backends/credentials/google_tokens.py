"""Google's Application Default Credentials, by the optional library google-auth."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import Any, Final

from lro_gateway.backends.credentials.failures import CredentialsError
from lro_gateway.backends.credentials.token_cache import Token
from lro_gateway.errors import plain

_DEADLINE: Final = 5.0
"""Seconds within which each answer of Google must arrive."""
_LIFE: Final = 300.0
"""The life in seconds of a token that does not tell it."""


class GoogleTokens:
    """Access tokens with `scopes`, or ID tokens if there is an `audience`."""

    def __init__(self, scopes: tuple[str, ...], audience: str = "") -> None:
        self._scopes = scopes
        self._audience = audience
        self._credentials: Any = None

    async def fetch(self) -> Token:
        """Request a token. The library blocks, so it runs in a thread."""
        return await asyncio.to_thread(self._fetched)

    def _fetched(self) -> Token:
        try:
            # The library is optional, and its import takes 100 ms.
            transport = import_module("google.auth.transport.requests")
            errors = import_module("google.auth.exceptions")
        except ImportError as error:
            text = "google-auth is not installed: pip install 'lro-gateway[google]'"
            raise CredentialsError(text) from error
        request = partial(transport.Request(), timeout=_DEADLINE)
        try:
            if self._credentials is None:
                self._credentials = self._found(request)
            self._credentials.refresh(request)
        except errors.DefaultCredentialsError as error:
            text = f"there are no Application Default Credentials: {_first(error)}"
            raise CredentialsError(text) from error
        except errors.GoogleAuthError as error:
            passes = isinstance(error, errors.TransportError) or error.retryable
            text = f"Google issued no token: {_first(error)}"
            raise CredentialsError(text, passes=passes) from error
        return _token(self._credentials)

    def _found(self, request: Any) -> Any:
        if self._audience:
            module = import_module("google.oauth2.id_token")
            return module.fetch_id_token_credentials(self._audience, request)
        credentials, _ = import_module("google.auth").default(scopes=self._scopes, request=request)
        return credentials


def _first(error: Exception) -> str:
    """Return the first text of an error. The other ones may be whole answers."""
    return plain(str(error.args[0])) if error.args else type(error).__name__


def _token(credentials: Any) -> Token:
    if not isinstance(credentials.token, str) or not credentials.token:
        raise CredentialsError("Google issued no token")
    expiry: datetime | None = credentials.expiry
    if expiry is None:
        return Token.lasting(credentials.token, _LIFE)
    # google-auth gives times in UTC without saying so.
    left = (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
    return Token.lasting(credentials.token, max(left, 1.0))

"""The grants by which the gateway gets tokens: client credentials, and token exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache
from pydantic import SecretStr

from lro_gateway.backends.credentials.failures import caller_token_needed
from lro_gateway.backends.credentials.shown import Tokens
from lro_gateway.backends.credentials.token_cache import Token, TokenCache
from lro_gateway.backends.credentials.token_endpoint import Form, TokenEndpoint
from lro_gateway.background import BackgroundTasks
from lro_gateway.principal import Principal

_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_MAX_CALLERS: Final = 10_000
"""The maximum number of callers whose exchanged token is kept."""


@dataclass(frozen=True, slots=True)
class Target:
    """The scopes, the audience and the resource (RFC 8707) of a token."""

    scopes: tuple[str, ...] = ()
    audience: str = ""
    resource: str = ""

    @property
    def form(self) -> dict[str, str]:
        """The parameters of a request, without those that are empty."""
        found = {
            "scope": " ".join(self.scopes),
            "audience": self.audience,
            "resource": self.resource,
        }
        return {name: value for name, value in found.items() if value}


class ClientCredentials:
    """Tokens of the gateway itself (RFC 6749, section 4.4)."""

    def __init__(self, endpoint: TokenEndpoint, target: Target) -> None:
        self._endpoint = endpoint
        self._target = target

    async def fetch(self) -> Token:
        """Request a token."""
        form = {"grant_type": "client_credentials", **self._target.form}
        return await self._endpoint.grant(form)


class _OfCaller:
    """Tokens of one caller. `subject` is the latest token that the caller has shown."""

    def __init__(self, exchange: TokenExchange, caller: Principal, subject: SecretStr) -> None:
        self._exchange = exchange
        self.expires = caller.expires
        self.subject = subject

    async def fetch(self) -> Token:
        """Exchange the caller's token."""
        return await self._exchange.exchanged(self.subject)


class _Nothing:
    """The tokens of a caller that has none to exchange."""

    def __init__(self, backend: str) -> None:
        self._backend = backend

    async def get(self, _within: float) -> str:
        """Raise FAILED_PRECONDITION, which tells what the caller must show."""
        raise caller_token_needed(self._backend)

    def drop(self) -> bool:
        """Return False."""
        return False


class TokenExchange:
    """Tokens of callers, each of which is exchanged for the caller's own token (RFC 8693).

    `subject_type` and `requested_type` are URNs of kinds of tokens.
    """

    def __init__(
        self,
        backend: str,
        endpoint: TokenEndpoint,
        target: Target,
        tasks: BackgroundTasks,
        *,
        subject_type: str,
        requested_type: str,
    ) -> None:
        self._backend = backend
        self._endpoint = endpoint
        self._tasks = tasks
        self._form: Form = {
            "grant_type": _EXCHANGE,
            "subject_token_type": subject_type,
            "requested_token_type": requested_type,
            **target.form,
        }
        self._nothing = _Nothing(backend)
        self._callers: LRUCache[object, tuple[_OfCaller, TokenCache]] = LRUCache(_MAX_CALLERS)

    def tokens_of(self, caller: Principal) -> Tokens:
        """Return the tokens of a caller. A newer token of the caller replaces the one before."""
        if caller.token is None:
            return self._nothing
        known = self._callers.get(caller.credentials)
        if known is None:
            source = _OfCaller(self, caller, caller.token)
            known = source, TokenCache(self._backend, source, self._tasks)
            self._callers[caller.credentials] = known
        source, cache = known
        if caller.token != source.subject and caller.expires >= source.expires:
            source.subject, source.expires = caller.token, caller.expires
            cache.forget_failure()
        return cache

    async def exchanged(self, subject: SecretStr) -> Token:
        """Return a token for the backend. The caller's token goes to the endpoint alone."""
        form = {**self._form, "subject_token": subject.get_secret_value()}
        return await self._endpoint.grant(form, of_caller=True)

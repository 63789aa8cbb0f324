"""Constructs what each backend is shown with a call, from the tables `[backends.credentials]`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta

from pydantic import SecretStr

from lro_gateway.backends.credentials.bearer_file import BearerFile
from lro_gateway.backends.credentials.failures import CredentialsError
from lro_gateway.backends.credentials.google_tokens import GoogleTokens
from lro_gateway.backends.credentials.oauth_grants import ClientCredentials, Target, TokenExchange
from lro_gateway.backends.credentials.secret_file import SecretFile
from lro_gateway.backends.credentials.shown import Credentials
from lro_gateway.backends.credentials.token_cache import TokenCache, TokenSource
from lro_gateway.backends.credentials.token_endpoint import OAuthClient, TokenEndpoint
from lro_gateway.background import BackgroundTasks
from lro_gateway.config.credentials import CredentialsConfig, OAuthConfig
from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import BackendConfig
from lro_gateway.config.secrets import SecretFileStr


async def open_credentials(
    configs: Iterable[BackendConfig], stack: AsyncExitStack
) -> Mapping[str, Credentials]:
    """Return the credentials of the backends that have any, by the backends' names.

    The stack closes what they need. Raises `ConfigError` if a file cannot be used.
    """
    tasks = BackgroundTasks(timedelta(0))
    found: dict[str, Credentials] = {}
    mistakes = []
    for config in configs:
        try:
            made = _credentials(config, tasks, stack)
        except CredentialsError as error:
            mistakes.append(f"backend {config.name}: credentials.{error}")
            continue
        if made is not None:
            found[config.name] = made
    if mistakes:
        raise ConfigError(mistakes)
    # The tasks end before the connections to token endpoints close.
    await stack.enter_async_context(tasks)
    return found


def _credentials(
    config: BackendConfig, tasks: BackgroundTasks, stack: AsyncExitStack
) -> Credentials | None:
    stated = config.credentials
    if stated is None:
        return Credentials(headers=config.pass_headers) if config.pass_headers else None
    exchange = None
    oauth = stated.client_credentials or stated.token_exchange
    if oauth is not None:
        endpoint = _endpoint(oauth)
        stack.push_async_callback(endpoint.close)
        target = Target(oauth.scopes, oauth.audience, oauth.resource)
        source: TokenSource = ClientCredentials(endpoint, target)
        if stated.token_exchange is not None:
            exchange = TokenExchange(
                *(config.name, endpoint, target, tasks),
                subject_type=stated.token_exchange.subject_token_type,
                requested_type=stated.token_exchange.requested_token_type,
            )
    else:
        source = _source(stated)
    tokens = TokenCache(config.name, source, tasks)
    return Credentials(tokens, exchange, config.pass_headers)


def _source(stated: CredentialsConfig) -> TokenSource:
    if stated.google is not None:
        return GoogleTokens(stated.google.scopes, stated.google.audience)
    assert stated.bearer_file is not None  # noqa: S101 - the model has checked it
    file = BearerFile(stated.bearer_file)
    file.read()
    return file


def _reread(secret: SecretStr | None) -> SecretStr | SecretFile | None:
    """Return a secret which is read again if a file has it."""
    if not isinstance(secret, SecretFileStr):
        return secret
    return SecretFile(secret.file, secret.get_secret_value())


def _endpoint(oauth: OAuthConfig) -> TokenEndpoint:
    client = OAuthClient(
        oauth.client_id,
        _reread(oauth.client_secret),
        oauth.client_auth,
        _reread(oauth.client_key),
        oauth.client_key_id,
        oauth.client_algorithm,
    )
    return TokenEndpoint(client, oauth.token_url or "", oauth.issuer or "", oauth.ca)

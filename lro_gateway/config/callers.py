"""Constructs what identifies the callers, from the table `[auth]`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

from lro_gateway.access.authentication import Authenticator, NobodyIdentified
from lro_gateway.access.identity.bearer import BearerTokens, VerifiedTokens
from lro_gateway.access.identity.callers import PROCESS_ISSUER, Credentials, IdentifiedCallers
from lro_gateway.access.identity.certificates import CertificateNames, ClientCertificates
from lro_gateway.access.identity.claims import ClaimNames
from lro_gateway.access.identity.issuers import Issuer
from lro_gateway.access.identity.key_cache import KeyCache
from lro_gateway.access.identity.keys import DiscoverySource, FileSource, KeySource, UrlSource
from lro_gateway.access.identity.proxy_headers import HeaderNames, ProxyHeaders
from lro_gateway.access.identity.static_tokens import StaticTokens, TokensError
from lro_gateway.access.passed_headers import PassingHeaders
from lro_gateway.access.resource import Resource
from lro_gateway.background import BackgroundTasks
from lro_gateway.config.auth import AuthConfig, ClaimsConfig, IssuerConfig, StdioConfig
from lro_gateway.config.auth_connections import CertificatesConfig, ProxyConfig
from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import BackendConfig, GatewayConfig
from lro_gateway.principal import ANONYMOUS, Principal


@dataclass(frozen=True, slots=True)
class Callers:
    """The parts that identify the callers of a gateway.

    `resource` is what the gateway tells clients about itself. It is None if no bearer token
    identifies a caller. `keys` are the keys of each issuer.
    """

    authenticator: Authenticator
    resource: Resource | None = None
    keys: tuple[KeyCache, ...] = ()


def open_callers(config: GatewayConfig, tasks: BackgroundTasks) -> Callers:
    """Return what identifies callers, and start to fetch the keys of the issuers.

    Raises `ConfigError` if the file of static tokens cannot be used.
    """
    auth = config.auth
    if auth is None:
        return Callers(NobodyIdentified())
    process = _process(auth.stdio)
    if not auth.identifies_http:
        return Callers(IdentifiedCallers((), process))
    kinds: list[Credentials] = []
    if auth.certificates is not None:
        kinds.append(ClientCertificates(_names(auth.certificates)))
    if auth.proxy is not None:
        kinds.append(_proxy(auth.proxy))
    if not auth.takes_tokens:
        return Callers(IdentifiedCallers(kinds, process))
    resource = Resource(
        auth.resource, tuple(each.issuer for each in auth.issuers), _scopes(config, auth)
    )
    try:
        static = StaticTokens(auth.tokens) if auth.tokens is not None else None
    except TokensError as error:
        raise ConfigError([f"auth.tokens: {error}"]) from error
    verified = VerifiedTokens()
    issuers = [_issuer(each, verified, tasks) for each in auth.issuers]
    for each in issuers:
        tasks.start(each.keys.keep_current())
    kinds.append(BearerTokens(issuers, static, resource, verified))
    keys = tuple(each.keys for each in issuers)
    return Callers(IdentifiedCallers(kinds, process), resource, keys)


def _scopes(config: GatewayConfig, auth: AuthConfig) -> tuple[str, ...]:
    """Return the scopes that clients may ask for: those of the settings, and those of rules."""
    of_rules = (scope for rule in config.policy for scope in rule.scopes or ())
    return tuple(dict.fromkeys((*auth.scopes, *of_rules)))


def _process(stdio: StdioConfig | None) -> Principal:
    if stdio is None:
        return ANONYMOUS
    return Principal(
        stdio.subject,
        PROCESS_ISSUER,
        stdio.tenant,
        groups=frozenset(stdio.groups),
        scopes=frozenset(stdio.scopes),
    )


def _issuer(config: IssuerConfig, verified: VerifiedTokens, tasks: BackgroundTasks) -> Issuer:
    forget = partial(verified.forget, config.issuer)
    keys = KeyCache(config.issuer, _source(config), config.jwks_refresh, forget, tasks)
    return Issuer(
        config.issuer,
        keys,
        config.algorithms,
        frozenset(config.audience),
        config.clock_skew.total_seconds(),
        _claims(config.claims),
        config.required_claims,
    )


def _source(config: IssuerConfig) -> KeySource:
    if config.jwks_file is not None:
        return FileSource(config.jwks_file)
    if config.jwks_url is not None:
        return UrlSource(config.jwks_url, config.ca)
    return DiscoverySource(config.issuer, config.ca)


def _claims(config: ClaimsConfig) -> ClaimNames:
    return ClaimNames(config.subject, config.tenant, config.groups, config.scopes, config.client)


def _names(config: CertificatesConfig) -> CertificateNames:
    domains = frozenset(config.trust_domains)
    return CertificateNames(config.subject, config.tenant, config.groups, domains)


def _proxy(config: ProxyConfig) -> ProxyHeaders:
    names = HeaderNames(
        config.subject,
        config.tenant,
        config.groups,
        config.scopes,
        config.client,
        config.separator,
    )
    return ProxyHeaders(names, config.addresses, config.issuer, config.valid_for.total_seconds())


def passing(callers: Callers, configs: Iterable[BackendConfig]) -> Callers:
    """Return what identifies callers, and notes the headers that backends get."""
    names = {name for each in configs for name in each.pass_headers}
    if not names:
        return callers
    return replace(callers, authenticator=PassingHeaders(callers.authenticator, names))

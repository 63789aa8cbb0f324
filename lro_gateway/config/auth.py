"""The table `[auth]`: who identifies the callers, and what their tokens say of them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lro_gateway.access.identity.issuers import DEFAULT_ALGORITHMS
from lro_gateway.access.identity.keys import ALGORITHMS
from lro_gateway.config.auth_connections import CertificatesConfig, ProxyConfig
from lro_gateway.config.tables import Table
from lro_gateway.config.values import ExistingFile, PositiveDuration, ShortDuration

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_MCP: Final = "/mcp"
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+\Z")


def _check_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise ValueError(f"{value!r} is not a URL: {error}") from None
    if parts.username or parts.password:
        raise ValueError("a URL with a user or a password is not allowed")
    if not host or port == 0 or parts.query or parts.fragment or not value.isascii():
        raise ValueError("a URL is needed, such as https://login.acme.example")
    if parts.scheme != "https" and (parts.scheme != "http" or host not in _LOOPBACK):
        raise ValueError("a URL with https is needed; http is allowed only on loopback")
    return value


def _check_resource(value: str) -> str:
    """Return the address of the gateway, under which MCP is at `/mcp`."""
    return _check_url(value).rstrip("/").removesuffix(_MCP) if value else ""


def _check_algorithm(value: str) -> str:
    if value in ALGORITHMS:
        return value
    known = ", ".join(ALGORITHMS)
    raise ValueError(
        f"{value!r} is not an algorithm of signatures by public keys; these are: {known}"
    )


def _check_text(value: str) -> str:
    if not value or not value.isprintable():
        raise ValueError("text is needed, and it cannot be empty")
    return value


def _check_scope(value: str) -> str:
    if not _SCOPE.match(value):
        raise ValueError(f"{value!r} is not a scope; a scope has no blanks")
    if value == "offline_access":
        raise ValueError("offline_access is a matter of the client, so no resource announces it")
    return value


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Url = Annotated[str, AfterValidator(_check_url)]
Resource = Annotated[str, AfterValidator(_check_resource)]
Algorithm = Annotated[str, AfterValidator(_check_algorithm)]
ScopeName = Annotated[str, AfterValidator(_check_scope)]
Text = Annotated[str, AfterValidator(_check_text)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_listed)]
"""One text, or a list of texts."""


class ClaimsConfig(Table):
    """The claims that hold each part of a caller: one name, or a list of names.

    A name may be a path, such as `realm_access.roles`.
    """

    subject: Annotated[Texts, Field(min_length=1)] = ("sub",)
    tenant: Texts = ()
    groups: Texts = ("groups",)
    scopes: Texts = ("scope", "scp")
    client: Texts = ("client_id", "azp")


class IssuerConfig(Table):
    """One entry of `[[auth.issuers]]`: an OAuth 2.1 or OpenID Connect issuer.

    Without `jwks_url` and `jwks_file`, the metadata of the issuer tells where its keys are. `ca` is
    the file of the authority that the gateway trusts there.
    """

    issuer: Url
    audience: Texts = ()
    jwks_url: Url | None = None
    jwks_file: ExistingFile | None = None
    jwks_refresh: PositiveDuration = timedelta(minutes=5)
    ca: ExistingFile | None = None
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = DEFAULT_ALGORITHMS
    clock_skew: ShortDuration = timedelta(seconds=30)
    required_claims: Texts = ()
    claims: ClaimsConfig = ClaimsConfig()

    @model_validator(mode="after")
    def _check_source(self) -> IssuerConfig:
        if self.jwks_url is not None and self.jwks_file is not None:
            raise ValueError("jwks_url and jwks_file cannot both be set; remove one of them")
        return self


class StdioConfig(Table):
    """The identity of the caller of MCP over stdio."""

    subject: Text
    tenant: str = ""
    groups: Texts = ()
    scopes: Texts = ()


class AuthConfig(Table):
    """The `[auth]` table. With it, each request over HTTP needs credentials.

    `resource` is the public URL of the gateway, without which it is the URL of each request.
    `scopes` are those that the metadata of the resource announces. `tokens` is the file of static
    tokens. If several ways identify callers, a request may use only one of them.
    """

    resource: Resource = ""
    scopes: tuple[ScopeName, ...] = ()
    tokens: ExistingFile | None = None
    certificates: CertificatesConfig | None = None
    proxy: ProxyConfig | None = None
    issuers: tuple[IssuerConfig, ...] = ()
    stdio: StdioConfig | None = None

    @property
    def identifies_http(self) -> bool:
        """Whether the callers of HTTP are identified."""
        return bool(self.takes_tokens or self.certificates or self.proxy)

    @property
    def takes_tokens(self) -> bool:
        """Whether bearer tokens identify callers."""
        return bool(self.issuers or self.tokens)

    @model_validator(mode="after")
    def _check_ways(self) -> AuthConfig:
        if not self.identifies_http and self.stdio is None:
            raise ValueError(
                "nothing identifies callers: add tokens, [[auth.issuers]], [auth.certificates],"
                " [auth.proxy] or [auth.stdio]"
            )
        seen: set[Any] = set()
        for each in self.issuers:
            if each.issuer in seen:
                raise ValueError(f"two issuers are {each.issuer}; write one of them")
            seen.add(each.issuer)
        return self

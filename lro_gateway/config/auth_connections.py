"""The tables `[auth.certificates]` and `[auth.proxy]`: callers whom their connection identifies."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, Field, model_validator

from lro_gateway.access.identity.certificates import Groups, Subject, Tenant
from lro_gateway.config.proxies import TrustedProxy
from lro_gateway.config.tables import Table
from lro_gateway.config.values import PositiveDuration

_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_TAKEN: Final = frozenset(
    ("host", "cookie", "authorization", "content-length", "content-type", "transfer-encoding")
)
_DOMAIN: Final = re.compile(r"[a-z0-9._-]{1,255}\Z")
_NAME: Final = re.compile(r"[A-Za-z0-9._:/-]{1,128}\Z")


def _check_header(value: str) -> str:
    if not _HEADER.match(value):
        raise ValueError(f"{value!r} is not the name of a header, such as X-Forwarded-User")
    if value.lower() in _TAKEN or value.lower().startswith("x-forwarded-for"):
        raise ValueError(f"{value} has another meaning; use a header such as X-Forwarded-User")
    return value


def _check_optional_header(value: str) -> str:
    return _check_header(value) if value else value


def _check_domain(value: str) -> str:
    if not _DOMAIN.match(value):
        raise ValueError(f"{value!r} is not a trust domain, such as prod.acme.example")
    return value


def _check_issuer(value: str) -> str:
    if not _NAME.match(value):
        raise ValueError(f"{value!r} is not a name, such as proxy")
    return value


Header = Annotated[str, AfterValidator(_check_header)]
OptionalHeader = Annotated[str, AfterValidator(_check_optional_header)]


class CertificatesConfig(Table):
    """The parts of a client certificate that hold each part of a caller.

    `trust_domains` are those whose SPIFFE IDs are believed. They are needed for SPIFFE, because
    each authority in `server.tls.client_ca` could sign an ID of any trust domain.
    """

    subject: Subject = "common_name"
    tenant: Tenant = ""
    groups: Groups = ""
    trust_domains: tuple[Annotated[str, AfterValidator(_check_domain)], ...] = ()

    @model_validator(mode="after")
    def _check_spiffe(self) -> CertificatesConfig:
        if (self.subject == "spiffe") != bool(self.trust_domains):
            raise ValueError('subject = "spiffe" and trust_domains need each other')
        if self.tenant == "trust_domain" and self.subject != "spiffe":
            raise ValueError('tenant = "trust_domain" needs subject = "spiffe"')
        return self


class ProxyConfig(Table):
    """The headers in which a proxy names the caller, and the addresses of the proxy."""

    addresses: Annotated[tuple[TrustedProxy, ...], Field(min_length=1)]
    subject: Header
    tenant: OptionalHeader = ""
    groups: OptionalHeader = ""
    scopes: OptionalHeader = ""
    client: OptionalHeader = ""
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    issuer: Annotated[str, AfterValidator(_check_issuer)] = "proxy"
    valid_for: PositiveDuration = timedelta(hours=1)

    @model_validator(mode="after")
    def _check_headers(self) -> ProxyConfig:
        used = (self.subject, self.tenant, self.groups, self.scopes, self.client)
        named = [each.lower() for each in used if each]
        if len(set(named)) < len(named):
            raise ValueError("one header is named twice; each part of a caller needs its own")
        return self

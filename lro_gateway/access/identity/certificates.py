"""Client certificates as credentials: the name in a certificate is the caller's.

The handshake of TLS has verified the certificate (serving/tls). An X.509 name identifies its bearer
within its authority, and a SPIFFE ID within its trust domain.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from cachetools import LRUCache
from cryptography import x509
from cryptography.x509.oid import NameOID

from lro_gateway.access.peer import certificate_of
from lro_gateway.errors import Code, StatusError, status_error
from lro_gateway.principal import Principal

Subject = Literal["common_name", "distinguished_name", "spiffe"]
Tenant = Literal["", "organization", "organizational_unit", "trust_domain"]
Groups = Literal["", "organization", "organizational_unit"]

_KEPT: Final = 1000
"""The maximum number of certificates whose callers are kept."""
_ATTRIBUTES: Final = MappingProxyType(
    {
        "organization": NameOID.ORGANIZATION_NAME,
        "organizational_unit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    }
)
_SPIFFE: Final = re.compile(
    r"spiffe://(?P<domain>[a-z0-9._-]{1,255})(?P<path>(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+)+)\Z"
)
"""A SPIFFE ID of a workload. A trust domain alone identifies an authority, and no caller."""


@dataclass(frozen=True, slots=True)
class CertificateNames:
    """The parts of a certificate that hold each part of a caller.

    `trust_domains` are those whose SPIFFE IDs are believed.
    """

    subject: Subject = "common_name"
    tenant: Tenant = ""
    groups: Groups = ""
    trust_domains: frozenset[str] = frozenset()

    def caller(self, certificate: x509.Certificate) -> Principal:
        """Return the caller that a certificate names. Raises UNAUTHENTICATED if it names none."""
        if self.subject == "spiffe":
            subject, domain = self._spiffe(certificate)
            issuer = f"spiffe://{domain}"
        else:
            subject, domain = self._name(certificate.subject), ""
            issuer = certificate.issuer.rfc4514_string()
        if not subject or not subject.isprintable():
            raise _nameless("its subject is empty, or has characters that cannot be printed")
        if self.tenant in _ATTRIBUTES:
            tenant = _single(certificate.subject, self.tenant)
        else:
            tenant = domain if self.tenant == "trust_domain" else ""
        return Principal(
            subject,
            issuer,
            tenant,
            groups=frozenset(_values(certificate.subject, self.groups) if self.groups else ()),
            expires=certificate.not_valid_after_utc.timestamp(),
        )

    def _name(self, subject: x509.Name) -> str:
        if self.subject == "distinguished_name":
            return subject.rfc4514_string()
        found = [str(each.value) for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if len(found) != 1:
            raise _nameless(f"it has {len(found)} common names, and one is needed")
        return found[0]

    def _spiffe(self, certificate: x509.Certificate) -> tuple[str, str]:
        """Return the SPIFFE ID and its trust domain."""
        try:
            extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            uris = []
        else:
            uris = extension.value.get_values_for_type(x509.UniformResourceIdentifier)
        if len(uris) != 1:
            raise _nameless(f"it has {len(uris)} URIs, and one SPIFFE ID is needed")
        found = _SPIFFE.match(uris[0])
        if found is None:
            raise _nameless("its URI is not the SPIFFE ID of a workload")
        if found["domain"] not in self.trust_domains:
            raise _nameless("its trust domain is not in auth.certificates.trust_domains")
        return uris[0], found["domain"]


class ClientCertificates:
    """Identifies callers by the certificates of their connections."""

    advice: Final = "connect with a client certificate"

    def __init__(self, names: CertificateNames, clock: Callable[[], float] = time.time) -> None:
        self._names = names
        self._clock = clock
        self._callers: LRUCache[bytes, Principal] = LRUCache(_KEPT)

    async def identify(self, scope: Mapping[str, Any]) -> Principal | None:
        """Return the caller of a request, or None if its connection has no certificate.

        Raises UNAUTHENTICATED if the certificate names no caller, or has ended since the handshake.
        """
        certificate = certificate_of(scope)
        if certificate is None:
            return None
        caller = self._callers.get(certificate)
        if caller is None:
            caller = self._read(certificate)
            self._callers[certificate] = caller
        if caller.expires <= self._clock():
            text = "the client certificate of this connection has expired; connect with a new one"
            raise status_error(Code.UNAUTHENTICATED, text, "CERTIFICATE_EXPIRED")
        return caller

    def _read(self, certificate: bytes) -> Principal:
        try:
            return self._names.caller(x509.load_der_x509_certificate(certificate))
        except ValueError as error:
            # OpenSSL accepts some certificates that the library cannot parse.
            raise _nameless("it cannot be parsed") from error


def _single(subject: x509.Name, part: str) -> str:
    found = _values(subject, part)
    if len(found) > 1:
        raise _nameless(f"it has {len(found)} values for the tenant, and at most one is allowed")
    return found[0] if found else ""


def _values(subject: x509.Name, part: str) -> list[str]:
    return [str(each.value) for each in subject.get_attributes_for_oid(_ATTRIBUTES[part])]


def _nameless(problem: str) -> StatusError:
    text = f"the client certificate names no caller: {problem}"
    return status_error(Code.UNAUTHENTICATED, text, "CERTIFICATE_WITHOUT_CALLER")

"""The caller that a client certificate names."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from lro_gateway.access.identity.certificates import CertificateNames, ClientCertificates
from lro_gateway.access.peer import CERTIFICATE_KEY
from lro_gateway.errors import Code, StatusError
from tests.certificates import Authority

SPIFFE = CertificateNames(
    "spiffe", "trust_domain", "organizational_unit", frozenset(["prod.acme.example"])
)


def named(**parts: str | list[str]) -> x509.Name:
    """Return an X.509 name of these parts."""
    return x509.Name(
        [
            x509.NameAttribute(getattr(NameOID, part.upper()), value)
            for part, values in parts.items()
            for value in ([values] if isinstance(values, str) else values)
        ]
    )


def der(directory: Path, **issued: Any) -> bytes:
    """Return a certificate in DER."""
    identity = Authority(directory, "clients").issue("client", **issued)
    certificate = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
    return certificate.public_bytes(Encoding.DER)


async def refused(names: CertificateNames, certificate: bytes) -> str:
    """Return the text of the refusal of a certificate."""
    with pytest.raises(StatusError) as caught:
        await ClientCertificates(names).identify({CERTIFICATE_KEY: certificate})
    assert (caught.value.code, caught.value.reason) == (
        Code.UNAUTHENTICATED,
        "CERTIFICATE_WITHOUT_CALLER",
    )
    return caught.value.message


async def test_a_connection_without_a_certificate_has_no_credentials() -> None:
    """Another kind of credentials may identify its caller."""
    assert await ClientCertificates(CertificateNames()).identify({}) is None


async def test_the_common_name_is_unique_within_the_authority(tmp_path: Path) -> None:
    """The tenant and the groups come from other parts of the name."""
    subject = named(common_name="ci", organization_name="acme", organizational_unit_name=["a", "b"])
    names = CertificateNames(tenant="organization", groups="organizational_unit")
    scope = {CERTIFICATE_KEY: der(tmp_path, subject=subject)}
    caller = await ClientCertificates(names).identify(scope)
    assert caller is not None
    assert caller.identity == ("CN=clients", "ci", "acme")
    assert caller.groups == {"a", "b"}
    assert 0 < caller.expires - time.time() <= 86_400
    whole = ClientCertificates(CertificateNames("distinguished_name"))
    caller = await whole.identify(scope)
    assert caller is not None
    assert caller.identity == ("CN=clients", "OU=b,OU=a,O=acme,CN=ci", "")


async def test_a_spiffe_id_is_unique_within_its_trust_domain(tmp_path: Path) -> None:
    """The authority of a trust domain may change its own name."""
    uri = x509.UniformResourceIdentifier("spiffe://prod.acme.example/ns/infra/sa/ci")
    certificate = der(tmp_path, names=[uri, x509.DNSName("ci.internal")])
    caller = await ClientCertificates(SPIFFE).identify({CERTIFICATE_KEY: certificate})
    assert caller is not None
    domain = "prod.acme.example"
    assert caller.identity == (f"spiffe://{domain}", f"spiffe://{domain}/ns/infra/sa/ci", domain)


@pytest.mark.parametrize(
    ("uris", "problem"),
    [
        ([], "it has 0 URIs"),
        (["spiffe://prod.acme.example/a", "spiffe://prod.acme.example/b"], "it has 2 URIs"),
        (["https://prod.acme.example/a"], "is not the SPIFFE ID"),
        (["spiffe://prod.acme.example"], "is not the SPIFFE ID"),
        (["spiffe://prod.acme.example/"], "is not the SPIFFE ID"),
        (["spiffe://prod.acme.example/a/../b"], "is not the SPIFFE ID"),
        (["spiffe://prod.acme.example/a/."], "is not the SPIFFE ID"),
        (["spiffe://prod.acme.example//a"], "is not the SPIFFE ID"),
        (["spiffe://PROD.acme.example/a"], "is not the SPIFFE ID"),
        (["spiffe://user@prod.acme.example/a"], "is not the SPIFFE ID"),
        (["spiffe://prod.acme.example:443/a"], "is not the SPIFFE ID"),
        (["spiffe://prod.acme.example/a?b"], "is not the SPIFFE ID"),
        (["spiffe://prod.acme.example/a%2fb"], "is not the SPIFFE ID"),
        (["spiffe://prod.acme.example/a\n"], "is not the SPIFFE ID"),
        (["spiffe://other.example/a"], "is not in auth.certificates.trust_domains"),
    ],
)
async def test_anything_but_one_spiffe_id_is_refused(
    tmp_path: Path, uris: list[str], problem: str
) -> None:
    """SPIFFE allows exactly one URI in a certificate."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(each) for each in uris]
    certificate = der(tmp_path, names=names or [x509.DNSName("ci.internal")])
    assert problem in await refused(SPIFFE, certificate)


@pytest.mark.parametrize(
    ("subject", "problem"),
    [
        (named(organization_name="acme"), "it has 0 common names"),
        (named(common_name=["ci", "admin"]), "it has 2 common names"),
        (named(common_name="ci\nadmin"), "cannot be printed"),
        (named(common_name="ci", organization_name=["a", "b"]), "2 values for the tenant"),
    ],
)
async def test_a_name_that_could_mean_two_callers_is_refused(
    tmp_path: Path, subject: x509.Name, problem: str
) -> None:
    """The gateway never chooses one of several names."""
    certificate = der(tmp_path, subject=subject)
    assert problem in await refused(CertificateNames(tenant="organization"), certificate)


async def test_bytes_that_are_no_certificate_are_refused() -> None:
    """OpenSSL and the library that parses may differ."""
    assert "it cannot be parsed" in await refused(CertificateNames(), b"junk")


async def test_a_certificate_that_ends_during_a_connection_is_refused(tmp_path: Path) -> None:
    """The handshake verified it only once."""
    now = [time.time()]
    kind = ClientCertificates(CertificateNames(), lambda: now[0])
    scope = {CERTIFICATE_KEY: der(tmp_path)}
    for _ in range(2):
        assert await kind.identify(scope) is not None
    now[0] += 86_401
    with pytest.raises(StatusError, match="has expired") as caught:
        await kind.identify(scope)
    assert (caught.value.code, caught.value.reason) == (
        Code.UNAUTHENTICATED,
        "CERTIFICATE_EXPIRED",
    )

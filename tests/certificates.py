"""Certificates that a test makes, and backends over TLS that use them."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.longrunning import operations_pb2

from tests.contrary import ContraryBackend, answering

DONE = operations_pb2.Operation(name="jobs/1", done=True)


@dataclass
class Identity:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path

    @property
    def pair(self) -> tuple[bytes, bytes]:
        """The contents of the key and of the certificate, in gRPC's order."""
        return self.key.read_bytes(), self.certificate.read_bytes()

    def server_tls(self, **more: Any) -> dict[str, Any]:
        """Return the table `[server.tls]` of a server with this certificate."""
        return {"cert": str(self.certificate), "key": str(self.key), **more}


class Authority:
    """A certificate authority for one test."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = directory / f"{name}.pem"
        self.file.write_bytes(self._signed(self._name, self._key, authority=True))

    def issue(
        self,
        name: str,
        host: str | None = None,
        valid: tuple[float, float] = (-1, 1),
        *,
        subject: x509.Name | None = None,
        names: Sequence[x509.GeneralName] | None = None,
        usage: x509.ObjectIdentifier | None = None,
    ) -> Identity:
        """Issue a certificate for a host name, or for 127.0.0.1 if there is none.

        `valid` are the first and the last day on which it is valid, counted from now. `subject` is
        by default the common name `name`, and `names` take the place of the host.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        address = x509.DNSName(host) if host else x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        extensions: list[x509.ExtensionType] = [
            x509.SubjectAlternativeName([address] if names is None else names)
        ]
        if usage is not None:
            extensions.append(x509.ExtendedKeyUsage([usage]))
        identity = Identity(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        identity.certificate.write_bytes(self._signed(subject, key, *extensions, valid=valid))
        identity.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return identity

    def revoke(self, identity: Identity) -> Path:
        """Write the list of revoked certificates with one in it, and return the file."""
        now = dt.datetime.now(dt.UTC)
        certificate = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
        revoked = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
        entry = revoked.revocation_date(now).build()
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(now).next_update(now + dt.timedelta(days=1))
        signed = builder.add_revoked_certificate(entry).sign(self._key, hashes.SHA256())
        file = self._directory / "list of revoked.pem"
        file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return file

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *extensions: x509.ExtensionType,
        authority: bool = False,
        valid: tuple[float, float] = (-1, 1),
    ) -> bytes:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + dt.timedelta(days=valid[0]))
            .not_valid_after(now + dt.timedelta(days=valid[1]))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)


def trusting(authority: Authority, shown: Identity | None = None) -> ssl.SSLContext:
    """Return the TLS of a client that trusts an authority and shows a certificate."""
    context = ssl.create_default_context(cafile=str(authority.file))
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.key)
    return context


def over_tls(
    server: Identity, client_authority: Authority | None = None, address: str = "127.0.0.1:0"
) -> Any:
    """Open a backend over TLS. With an authority it requires a client certificate."""
    credentials = grpc.ssl_server_credentials(
        [server.pair],
        root_certificates=client_authority.file.read_bytes() if client_authority else None,
        require_client_auth=client_authority is not None,
    )
    return ContraryBackend.open(
        {"GetOperation": answering(DONE)}, credentials=credentials, address=address
    )

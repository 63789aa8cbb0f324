"""Channels: TLS, retries and reconnection."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.longrunning import operations_pb2

from lro_gateway.config.loading import ConfigError
from lro_gateway.errors import Code, StatusError
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import ListRequest, NameRequest
from tests.contrary import ContraryBackend, answering, refusing
from tests.gateways import service_of

DONE = operations_pb2.Operation(name="jobs/1", done=True)
JOB = NameRequest("jobs/1")


@dataclass
class Identity:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path

    @property
    def pair(self) -> tuple[bytes, bytes]:
        """The contents of the key and of the certificate, in gRPC's order."""
        return self.key.read_bytes(), self.certificate.read_bytes()


class Authority:
    """A certificate authority for one test."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = directory / f"{name}.pem"
        self.file.write_bytes(self._signed(self._name, self._key, authority=True))

    def issue(self, name: str, host: str | None = None) -> Identity:
        """Issue a certificate for a host name, or for 127.0.0.1 if there is none."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        address = x509.DNSName(host) if host else x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        identity = Identity(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        identity.certificate.write_bytes(
            self._signed(subject, key, x509.SubjectAlternativeName([address]))
        )
        identity.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return identity

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *extensions: x509.ExtensionType,
        authority: bool = False,
    ) -> bytes:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)


def over_tls(server: Identity, client_authority: Authority | None = None) -> Any:
    """Open a backend over TLS. With an authority it requires a client certificate."""
    credentials = grpc.ssl_server_credentials(
        [server.pair],
        root_certificates=client_authority.file.read_bytes() if client_authority else None,
        require_client_auth=client_authority is not None,
    )
    return ContraryBackend.open({"GetOperation": answering(DONE)}, credentials=credentials)


async def test_a_backend_over_tls_is_verified_by_the_configured_authority(tmp_path: Path) -> None:
    """The file `tls.ca` holds the authority's certificate."""
    authority = Authority(tmp_path)
    async with over_tls(authority.issue("server")) as backend:
        tls = {"ca": str(authority.file)}
        async with service_of(backend.target, tls=tls) as service:
            assert (await service.get(ANONYMOUS, JOB)).done


async def test_a_backend_with_a_certificate_of_another_authority_gets_no_call(
    tmp_path: Path,
) -> None:
    """The call fails with UNAVAILABLE."""
    stranger = Authority(tmp_path, "stranger")
    trusted = Authority(tmp_path)
    async with over_tls(stranger.issue("server")) as backend:
        tls = {"ca": str(trusted.file)}
        async with service_of(backend.target, tls=tls, deadline="3s") as service:
            with pytest.raises(StatusError) as caught:
                await service.get(ANONYMOUS, JOB)
        assert (caught.value.code, caught.value.reason) == (
            Code.UNAVAILABLE,
            "BACKEND_UNAVAILABLE",
        )
        assert backend.calls == []


async def test_the_expected_name_in_the_certificate_can_be_configured(tmp_path: Path) -> None:
    """A backend whose address is not the name in its certificate needs `tls.server_name`."""
    authority = Authority(tmp_path)
    async with over_tls(authority.issue("server", host="builds.internal")) as backend:
        tls = {"ca": str(authority.file), "server_name": "builds.internal"}
        async with service_of(backend.target, tls=tls) as service:
            assert (await service.get(ANONYMOUS, JOB)).done
        async with service_of(backend.target, tls={"ca": str(authority.file)}) as service:
            with pytest.raises(StatusError, match="cannot be reached"):
                await service.get(ANONYMOUS, JOB)


async def test_a_backend_may_require_a_client_certificate(tmp_path: Path) -> None:
    """The backend answers if `tls.cert` and `tls.key` are configured, and only then (mTLS)."""
    authority = Authority(tmp_path)
    client = authority.issue("client")
    async with over_tls(authority.issue("server"), authority) as backend:
        tls = {"ca": str(authority.file)}
        mutual = {**tls, "cert": str(client.certificate), "key": str(client.key)}
        async with service_of(backend.target, tls=mutual) as service:
            assert (await service.get(ANONYMOUS, JOB)).done
        async with service_of(backend.target, tls=tls, deadline="3s") as service:
            with pytest.raises(StatusError) as caught:
                await service.get(ANONYMOUS, JOB)
            assert caught.value.code is Code.UNAVAILABLE


@pytest.mark.parametrize("wrong", ["ca", "cert", "key"])
async def test_a_file_that_is_no_certificate_stops_the_gateway_at_its_start(
    tmp_path: Path, wrong: str
) -> None:
    """The error names the backend and the file."""
    authority = Authority(tmp_path)
    client = authority.issue("client")
    junk = tmp_path / "junk.pem"
    junk.write_text("not a certificate")
    files = {"ca": authority.file, "cert": client.certificate, "key": client.key, wrong: junk}
    tls = {key: str(file) for key, file in files.items()}
    with pytest.raises(ConfigError, match=r"backend b: .*junk\.pem"):
        async with service_of("127.0.0.1:1", tls=tls):
            pass


async def test_only_unavailable_is_retried_and_only_for_safe_methods() -> None:
    """Get and list are tried three times. Cancel, delete and other codes are tried once.

    AIP-194 describes these rules.
    """

    async def tries(code: grpc.StatusCode) -> dict[str, int]:
        methods = ("GetOperation", "ListOperations", "CancelOperation", "DeleteOperation")
        handlers = dict.fromkeys(methods, refusing(code, "no"))
        async with ContraryBackend.open(handlers) as backend, service_of(backend.target) as service:
            for call in (
                service.get(ANONYMOUS, JOB),
                service.list(ANONYMOUS, ListRequest()),
                service.cancel(ANONYMOUS, JOB),
                service.delete(ANONYMOUS, JOB),
            ):
                with pytest.raises(StatusError, match="no"):
                    await call
            return {method: backend.count(method) for method in methods}

    once = dict.fromkeys(
        ("GetOperation", "ListOperations", "CancelOperation", "DeleteOperation"), 1
    )
    assert await tries(grpc.StatusCode.UNAVAILABLE) == {
        **once,
        "GetOperation": 3,
        "ListOperations": 3,
    }
    for code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.ABORTED, grpc.StatusCode.UNKNOWN):
        assert await tries(code) == once


async def test_a_backend_that_is_down_at_the_start_works_when_it_comes_up() -> None:
    """The gateway starts without the backend, and needs no restart later."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{listener.getsockname()[1]}"
    async with service_of(target) as service:
        with pytest.raises(StatusError, match="cannot be reached"):
            await service.get(ANONYMOUS, JOB)
        async with (
            ContraryBackend.open({"GetOperation": answering(DONE)}, address=target),
            asyncio.timeout(30),
        ):
            assert (await _as_soon_as_reachable(service)).done


async def _as_soon_as_reachable(service: OperationService) -> Operation:
    """Read until the channel has connected again; gRPC decides when it tries."""
    while True:
        try:
            return await service.get(ANONYMOUS, JOB)
        except StatusError as error:
            if error.code is not Code.UNAVAILABLE:
                raise


async def test_a_call_of_a_server_that_never_answers_fails_at_the_deadline() -> None:
    """The server accepts connections but sends nothing. The gateway makes the error."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        target = f"127.0.0.1:{listener.getsockname()[1]}"
        async with service_of(target, deadline="0.3s") as service:
            with pytest.raises(StatusError) as caught:
                await service.get(ANONYMOUS, JOB)
    assert (caught.value.code, caught.value.reason) == (
        Code.DEADLINE_EXCEEDED,
        "BACKEND_DEADLINE_EXCEEDED",
    )

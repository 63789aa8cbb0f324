"""TLS of the HTTP server, and the certificates that clients show."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from google.longrunning import operations_pb2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import GatewayConfig
from lro_gateway.config.server_tls import ServerTlsConfig
from lro_gateway.gateway import Gateway
from lro_gateway.serving import connection
from lro_gateway.serving.http import HttpServer, serve_http
from lro_gateway.serving.tls import ServerTls, has_expired
from tests.certificates import Authority, Identity, trusting
from tests.contrary import ContraryBackend, answering

RUNNING = operations_pb2.Operation(name="jobs/1")


@asynccontextmanager
async def over_tls(
    tls: Mapping[str, Any], target: str = "127.0.0.1:1"
) -> AsyncIterator[HttpServer]:
    """Serve a gateway over TLS with a backend that has no descriptors."""
    backend = {"name": "b", "target": target, "descriptors": []}
    config = {"server": {"port": 0, "tls": tls}, "backends": [backend]}
    async with (
        Gateway.open(GatewayConfig.model_validate(config)) as gateway,
        serve_http(gateway) as server,
    ):
        yield server


async def alive(server: HttpServer, tls: ssl.SSLContext) -> int:
    """Return the status of a request on a connection of its own."""
    async with httpx.AsyncClient(verify=tls) as http:
        return (await http.get(f"{server.url}/livez")).status_code


async def certificate_at(server: HttpServer, tls: ssl.SSLContext) -> bytes:
    """Return the certificate that a new connection gets."""
    host, port = server.address.split(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=tls)
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return shown


async def test_both_faces_answer_over_tls_and_know_their_scheme(tmp_path: Path) -> None:
    """A client that trusts another authority gets no answer."""
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    tls = trusting(authority)
    async with over_tls(authority.issue("server").server_tls()) as server:
        assert server.url.startswith("https://127.0.0.1:")
        document = httpx.AsyncClient(verify=tls, base_url=server.url)
        async with document as http:
            assert (await http.get("/docs")).status_code == 200
            origin = {"origin": server.url}
            assert (await http.get("/v1/-:get", headers=origin)).status_code != 403
        async with httpx2.AsyncClient(verify=tls) as http2:
            transport = streamable_http_client(f"{server.url}/mcp", http_client=http2)
            async with Client(transport) as client:
                assert (await client.list_tools()).tools
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await alive(server, trusting(other))


@pytest.mark.parametrize(
    ("lowest", "offered", "answers"),
    [
        ("1.2", ssl.TLSVersion.TLSv1_1, False),
        ("1.2", ssl.TLSVersion.TLSv1_2, True),
        ("1.3", ssl.TLSVersion.TLSv1_2, False),
        ("1.3", ssl.TLSVersion.TLSv1_3, True),
    ],
)
async def test_older_versions_of_tls_are_refused(
    tmp_path: Path, lowest: str, offered: ssl.TLSVersion, *, answers: bool
) -> None:
    """The floor is 1.2, and an operator can raise it."""
    authority = Authority(tmp_path)
    tls = trusting(authority)
    tls.set_ciphers("DEFAULT:@SECLEVEL=0")
    is_old = offered < ssl.TLSVersion.TLSv1_2
    with pytest.warns(DeprecationWarning, match="TLSv1_1") if is_old else nullcontext():
        tls.minimum_version = tls.maximum_version = offered
    async with over_tls(authority.issue("server").server_tls(min_version=lowest)) as server:
        if answers:
            assert await alive(server, tls) == 200
        else:
            with pytest.raises(httpx.ConnectError):
                await alive(server, tls)


async def test_a_new_certificate_is_used_and_open_streams_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken files change nothing, and are logged once."""
    caplog.set_level(logging.INFO)
    authority = Authority(tmp_path)
    first, second = authority.issue("first"), authority.issue("second")
    used = Identity(tmp_path / "server.pem", tmp_path / "server.key")
    tls = trusting(authority)
    async with (
        ContraryBackend.open({"GetOperation": answering(RUNNING)}) as backend,
        over_tls(_copied(first, used).server_tls(), backend.target) as server,
        httpx.AsyncClient(verify=tls, base_url=server.url, timeout=60) as http,
        http.stream("GET", "/v1/jobs/1:watch") as stream,
    ):
        assert server.tls is not None
        lines = stream.aiter_lines()
        assert await anext(lines)
        before = await certificate_at(server, tls)
        shutil.copy(second.certificate, used.certificate)
        for _ in range(2):
            await server.tls.refresh()
        assert await certificate_at(server, tls) == before
        _copied(second, used)
        await server.tls.refresh()
        after = await certificate_at(server, tls)
        assert after not in (before, b"")
        assert not stream.is_closed
        assert (await http.get("/livez")).status_code == 200
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    broken = [each for each in warnings if "TLS files" in each]
    assert len(broken) == 1
    assert broken[0].startswith("server.tls: its changed TLS files are not used: server.tls.key:")
    assert "server.tls: new connections use its changed TLS files" in caplog.text


async def test_a_required_client_certificate_is_verified(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A client without a valid certificate gets no answer, and the log says why."""
    caplog.set_level(logging.INFO)
    authority, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    revoked = clients.issue("revoked")
    tls = authority.issue("server").server_tls(
        client_ca=str(clients.file), client_crl=str(clients.revoke(revoked))
    )
    refused = {
        "peer did not return a certificate": None,
        "certificate has expired": clients.issue("expired", valid=(-2, -1)),
        "certificate is not yet valid": clients.issue("early", valid=(1, 2)),
        "certificate revoked": revoked,
        "self-signed certificate in certificate chain": authority.issue("foreign"),
        "unsuitable certificate purpose": clients.issue(
            "other server", usage=ExtendedKeyUsageOID.SERVER_AUTH
        ),
    }
    async with over_tls(tls) as server:
        assert await alive(server, trusting(authority, clients.issue("client"))) == 200
        for reason, shown in refused.items():
            with pytest.raises(httpx.TransportError):
                await alive(server, trusting(authority, shown))
            assert reason in caplog.text
            caplog.clear()


async def test_an_optional_client_certificate_is_verified_if_there_is_one(tmp_path: Path) -> None:
    """A client without one gets an answer."""
    authority, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    tls = authority.issue("server").server_tls(client_ca=str(clients.file), client_cert="optional")
    async with over_tls(tls) as server:
        assert await alive(server, trusting(authority)) == 200
        assert await alive(server, trusting(authority, clients.issue("client"))) == 200
        with pytest.raises(httpx.TransportError):
            await alive(server, trusting(authority, authority.issue("foreign")))


def reused(port: int, client: ssl.SSLContext, session: ssl.SSLSession | None) -> Any:
    """Make a request; return the session, whether it was resumed, and whether it was answered."""
    with (
        socket.create_connection(("127.0.0.1", port)) as raw,
        client.wrap_socket(raw, server_hostname="127.0.0.1", session=session) as secured,
    ):
        answer = b""
        with suppress(OSError):
            secured.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            while part := secured.recv(4096):
                answer += part
        return secured.session, secured.session_reused, answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("version", "resumes"), [(ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, False)]
)
async def test_a_resumed_session_does_not_outlive_its_certificate_or_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: ssl.TLSVersion, *, resumes: bool
) -> None:
    """OpenSSL does not verify the certificate of a resumed session again."""
    authority, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    revoked = clients.revoke(clients.issue("other"))
    issued = authority.issue("server")
    tls = issued.server_tls(client_ca=str(clients.file), client_crl=str(revoked))
    shown = clients.issue("client")
    client = trusting(authority, shown)
    client.minimum_version = client.maximum_version = version
    async with over_tls(tls) as server:
        assert server.tls is not None
        port = int(server.address.partition(":")[2])
        session, *first = await asyncio.to_thread(reused, port, client, None)
        assert first == [False, True]
        assert (await asyncio.to_thread(reused, port, client, session))[1:] == (resumes, True)
        with monkeypatch.context() as patch:
            patch.setattr(connection, "has_expired", lambda _certificate: True)
            found = await asyncio.to_thread(reused, port, client, session)
            assert found[1:] == (resumes, not resumes)
        clients.revoke(shown)
        await server.tls.refresh()
        with suppress(OSError):
            assert (await asyncio.to_thread(reused, port, client, session))[1:] == (False, False)


def test_a_certificate_expires(tmp_path: Path) -> None:
    """A certificate that cannot be parsed counts as expired."""
    authority = Authority(tmp_path)
    for days, expected in (((-2, -1), True), ((-1, 1), False)):
        pem = authority.issue("client", valid=days).certificate.read_text()
        assert has_expired(ssl.PEM_cert_to_DER_cert(pem)) is expected
    assert has_expired(b"junk")


@pytest.mark.parametrize("problem", ["junk", "password", "another key", "no authority"])
def test_files_that_cannot_be_used_are_mistakes(tmp_path: Path, problem: str) -> None:
    """The text names the setting and the file."""
    authority = Authority(tmp_path)
    server, other = authority.issue("server"), authority.issue("other")
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    settings = {
        "junk": (server.server_tls() | {"cert": str(junk)}, r"server\.tls\.cert: .*junk\.pem"),
        "password": (
            server.server_tls() | {"key": str(_locked(server, tmp_path))},
            r"server\.tls\.key: the key in .* has a password",
        ),
        "another key": (
            server.server_tls() | {"key": str(other.key)},
            r"server\.tls\.key: .* is not the key of the certificate",
        ),
        "no authority": (
            server.server_tls(client_ca=str(junk)),
            r"server\.tls\.client_ca: .*junk\.pem",
        ),
    }
    tls, expected = settings[problem]
    with pytest.raises(ConfigError, match=expected):
        ServerTls(ServerTlsConfig.model_validate(tls))


def test_a_certificate_that_ends_soon_is_a_warning(tmp_path: Path) -> None:
    """The operator can renew it in time."""
    authority = Authority(tmp_path)
    warnings = []
    for name, days in (("ended", (-2, -1)), ("ends", (-1, 6)), ("long", (-1, 30))):
        issued = authority.issue(name, valid=days)
        tls = ServerTls(ServerTlsConfig.model_validate(issued.server_tls()))
        warnings.append(tls.warning().partition(" at ")[0])
    assert warnings == [
        "server.tls.cert: the certificate ended",
        "server.tls.cert: the certificate ends",
        "",
    ]


def _copied(source: Identity, target: Identity) -> Identity:
    shutil.copy(source.certificate, target.certificate)
    shutil.copy(source.key, target.key)
    return target


def _locked(identity: Identity, directory: Path) -> Path:
    """Return the file of a key with a password."""
    key = serialization.load_pem_private_key(identity.key.read_bytes(), password=None)
    file = directory / "locked.key"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    return file

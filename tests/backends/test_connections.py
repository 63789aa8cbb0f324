"""Failed connections: the error has gRPC's text, the cause, and the setting that cures it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lro_gateway.backends.channel import Endpoint
from lro_gateway.backends.connections import connection_failure
from lro_gateway.backends.health import Health
from lro_gateway.config.models import GatewayConfig
from lro_gateway.errors import Code, StatusError
from lro_gateway.gateway import Gateway
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.verb_requests import NameRequest
from tests.certificates import DONE, Authority, Identity, over_tls
from tests.contrary import ContraryBackend, answering
from tests.gateways import opened as face_of
from tests.gateways import refusal
from tests.ports import unused_address

pytestmark = pytest.mark.usefixtures("_patient_health")

JOB = NameRequest("jobs/1")


def opened(target: str, **settings: Any) -> AbstractAsyncContextManager[Gateway]:
    """Open a gateway to one backend, `b`."""
    backend = {"name": "b", "target": target, "descriptors": [], "deadline": "60s", **settings}
    return Gateway.open(GatewayConfig.model_validate({"backends": [backend]}))


async def failure(target: str, **settings: Any) -> StatusError:
    """Return the error of a call. A health report with its message is checked too."""
    async with opened(target, **settings) as gateway:
        with pytest.raises(StatusError) as caught:
            await gateway.service.get(ANONYMOUS, JOB)
        report = await gateway.health_checks[0].report()
    assert report.health is Health.UNREACHABLE
    get, health = "google.longrunning.Operations/GetOperation", "grpc.health.v1.Health/Check"
    assert report.message == caught.value.message.replace(get, health)
    return caught.value


def check(error: StatusError, text: str, cure: str, setting: str) -> None:
    """Check that an error has gRPC's text, the cure and the setting."""
    assert (error.code, error.reason) == (Code.UNAVAILABLE, "BACKEND_UNAVAILABLE")
    assert error.info is not None
    assert error.info.metadata["setting"] == setting
    start, _, said = error.message.partition(" cannot be reached: ")
    assert start.startswith("backend 'b' at ")
    found, _, advice = said.partition("; ")
    assert text in found
    assert cure in advice


async def test_a_backend_over_tls_needs_the_setting_tls(tmp_path: Path) -> None:
    """The server closes a connection that does not begin with a TLS handshake."""
    async with over_tls(Authority(tmp_path).issue("server")) as backend:
        error = await failure(backend.target)
    check(error, "Socket closed", "if it expects TLS, set tls = {} for this backend", "tls")


async def test_a_backend_without_tls_must_not_have_the_setting_tls() -> None:
    """The server answers the TLS handshake with a frame of HTTP/2."""
    async with ContraryBackend.open({"GetOperation": answering(DONE)}) as backend:
        error = await failure(backend.target, tls={})
    cure = "the server at this port does not speak TLS: remove tls of this backend"
    check(error, "WRONG_VERSION_NUMBER", cure, "tls")


async def test_an_authority_that_the_gateway_does_not_trust_must_be_in_ca(tmp_path: Path) -> None:
    """Without `tls.ca` the gateway trusts public authorities only."""
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    async with over_tls(authority.issue("server")) as backend:
        public = await failure(backend.target, tls={})
        other = await failure(backend.target, tls={"ca": str(stranger.file)})
    text = "CERTIFICATE_VERIFY_FAILED"
    check(public, text, "set tls.ca to the PEM file of that authority", "tls.ca")
    check(other, text, "no authority in the file tls.ca has signed", "tls.ca")


async def test_a_certificate_of_another_host_needs_the_server_name(tmp_path: Path) -> None:
    """The message names the expected host, or the name that is configured."""
    authority = Authority(tmp_path)
    ca = {"ca": str(authority.file)}
    async with over_tls(authority.issue("server", host="builds.internal")) as backend:
        host = await failure(backend.target, tls=ca)
        name = await failure(backend.target, tls={**ca, "server_name": "wrong.internal"})
    text = "Hostname Verification Check failed"
    cure = f"is not for the host of {backend.target}: set tls.server_name to a name in the cert"
    check(host, text, cure, "tls.server_name")
    check(name, text, "is not for 'wrong.internal': set tls.server_name", "tls.server_name")


@pytest.mark.parametrize(
    ("valid", "text", "cure"),
    [
        ((-3, -1), "certificate has expired", "has expired: renew it at the backend"),
        ((1, 3), "certificate is not yet valid", "correct the clock of this machine"),
    ],
)
async def test_a_certificate_is_valid_for_a_time(
    tmp_path: Path, valid: tuple[int, int], text: str, cure: str
) -> None:
    """The certificate has expired, or is not valid yet."""
    authority = Authority(tmp_path)
    async with over_tls(authority.issue("server", valid=valid)) as backend:
        check(await failure(backend.target, tls={"ca": str(authority.file)}), text, cure, "tls")


async def test_a_client_certificate_that_the_server_requires_is_missing_or_wrong(
    tmp_path: Path,
) -> None:
    """With TLS 1.3 the server only closes the connection."""
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    expired, foreign = authority.issue("expired", valid=(-3, -1)), stranger.issue("foreign")
    tls = {"ca": str(authority.file)}
    async with over_tls(authority.issue("server"), authority) as backend:
        error = await failure(backend.target, tls=tls)
        check(error, "Socket closed", "requires a client certificate, set tls.cert and", "tls.cert")
        for client in (expired, foreign):
            pair = {"cert": str(client.certificate), "key": str(client.key)}
            error = await failure(backend.target, tls={**tls, **pair})
            cure = "the certificate in tls.cert has not expired, and that"
            check(error, "Socket closed", cure, "tls.cert")


async def test_a_model_is_not_told_to_retry_a_mistake_of_the_configuration() -> None:
    """The operator must correct the setting, so a second attempt is enough."""
    async with ContraryBackend.open({"GetOperation": answering(DONE)}) as backend:
        settings = {"name": "b", "target": backend.target, "tls": {}}
        async with face_of("mcp 2026-07-28", settings) as client:
            refused = await refusal(client.get("jobs/1"))
    assert "does not speak TLS: remove tls of this backend" in refused.message
    assert refused.step.endswith("must correct the setting that the message names.")


@asynccontextmanager
async def answering_bytes(answer: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve TCP on loopback; send the bytes to each client, and close unless they are empty."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        while not answer and await reader.read(100):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def context_of(identity: Identity) -> ssl.SSLContext:
    """Return the TLS context of a server that does not speak HTTP/2."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(identity.certificate, identity.key)
    return context


HTTP_1 = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


async def test_a_server_that_speaks_http_1_is_no_grpc_server(tmp_path: Path) -> None:
    """Such a port is wrong, or a proxy with HTTP/2 turned off is before the backend."""
    authority = Authority(tmp_path)
    async with answering_bytes(HTTP_1) as target:
        plain = await failure(target)
        encrypted = await failure(target, tls={})
    async with answering_bytes(HTTP_1, context_of(authority.issue("server"))) as target:
        no_http2 = await failure(target, tls={"ca": str(authority.file)})
    check(plain, "http1.x server", "correct target, or set tls = {} if the", "target")
    check(encrypted, "WRONG_VERSION_NUMBER", "does not speak TLS: remove tls", "tls")
    check(no_http2, "ALPN", "speaks TLS but not HTTP/2, which gRPC needs", "target")


async def test_a_server_with_tls_1_2_may_require_a_client_certificate(tmp_path: Path) -> None:
    """It closes the connection during the handshake."""
    authority = Authority(tmp_path)
    context = context_of(authority.issue("server"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file)
    context.set_alpn_protocols(["h2"])
    async with answering_bytes(HTTP_1, context) as target:
        error = await failure(target, tls={"ca": str(authority.file)})
    cure = "requires a client certificate, set tls.cert and tls.key"
    check(error, "Handshake read failed", cure, "tls.cert")


@pytest.mark.parametrize("tls", [None, {}], ids=["plain", "TLS"])
async def test_a_server_that_stays_silent_gets_advice_about_the_address(
    tls: dict[str, str] | None,
) -> None:
    """No connection is made until the deadline, so the backend cannot be overloaded."""
    async with answering_bytes(b"") as target:
        error = await failure(target, deadline="0.3s", tls=tls)
    assert (error.code, error.reason) == (Code.DEADLINE_EXCEEDED, "BACKEND_DEADLINE_EXCEEDED")
    assert error.message.startswith(f"there is no connection to backend 'b' at {target}, ")
    assert "check that target is right, and that tls is set if" in error.message


@pytest.mark.parametrize(
    ("target_of", "text", "cure"),
    [
        (lambda _: unused_address(), "Connection refused", "nothing listens there: start"),
        (lambda _: "nowhere.invalid:1", "errors resolving", "the host of target has no address"),
        (lambda d: f"unix:{d}/none", "No such file or directory", "there is no such socket"),
        (lambda d: f"unix:{d}", "Connection refused", "nothing listens there"),
    ],
    ids=["no port", "no host", "no socket", "a directory"],
)
async def test_an_address_without_a_server_must_be_corrected(
    tmp_path: Path, target_of: Callable[[Path], str], text: str, cure: str
) -> None:
    """The error does not repeat the address."""
    error = await failure(target_of(tmp_path))
    check(error, text, cure, "target")
    assert "addr:" not in error.message


def test_a_socket_without_permission_is_reported_with_its_cure() -> None:
    """The test passes in gRPC's text, because the user root needs no permission."""
    text = (
        "failed to connect to all addresses; last error: FAILED_PRECONDITION: unix:/b: connect"
        " failed: addr: unix:/b error: Permission denied"
    )
    found = connection_failure(text, Endpoint("b", "unix:/b"))
    assert str(found) == (
        "Permission denied; the user of the gateway must have write permission for the socket"
    )


async def test_a_backend_on_a_socket_answers_with_and_without_tls(tmp_path: Path) -> None:
    """The certificate of a socket is for no host, so TLS needs `tls.server_name`."""
    authority = Authority(tmp_path)
    identity = authority.issue("server", host="builds.internal")
    target = f"unix:{tmp_path}/b.sock"
    handlers = {"GetOperation": answering(DONE)}
    async with ContraryBackend.open(handlers, address=target), opened(target) as gateway:
        assert (await gateway.service.get(ANONYMOUS, JOB)).done
    async with over_tls(identity, address=target):
        tls = {"ca": str(authority.file)}
        async with opened(target, tls={**tls, "server_name": "builds.internal"}) as gateway:
            assert (await gateway.service.get(ANONYMOUS, JOB)).done
        check(await failure(target), "Socket closed", "set tls = {}", "tls")
        error = await failure(target, tls=tls)
    check(error, "Hostname", f"the host of {target}: set tls.server_name", "tls.server_name")


async def test_a_call_over_a_socket_has_the_authority_localhost(tmp_path: Path) -> None:
    """Some servers refuse a call whose authority is the percent-encoded path of the socket."""
    received = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        writer.write(b"\0\0\0\4\0\0\0\0\0")  # SETTINGS, with which HTTP/2 begins
        while b":authority" not in received and (read := await reader.read(1000)):
            received += read
        writer.close()

    async with (
        await asyncio.start_unix_server(serve, tmp_path / "b.sock"),
        opened(f"unix:{tmp_path}/b.sock") as gateway,
    ):
        with pytest.raises(StatusError):
            await gateway.service.get(ANONYMOUS, JOB)
    assert b"localhost" in received
    assert b"b.sock" not in received


@pytest.mark.parametrize(
    "text", ["Socket closed", "recvmsg:Connection reset by peer", "upstream said: Broken pipe"]
)
def test_a_connection_that_ends_during_a_call_gets_no_advice(text: str) -> None:
    """The call was sent over a connection, so the settings are right."""
    assert str(connection_failure(text, Endpoint("b", "h:1"))) == text


def test_the_text_of_a_server_is_no_failed_connection() -> None:
    """A server may be unavailable for reasons of its own."""
    assert connection_failure("the database is being moved", Endpoint("b", "h:1")) is None

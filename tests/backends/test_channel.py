"""Channels: TLS, retries and reconnection."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from google.longrunning import operations_pb2

from lro_gateway.backends.channel import CallMetadata, Endpoint
from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import GatewayConfig
from lro_gateway.errors import Code, StatusError
from lro_gateway.gateway import Gateway
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import ListRequest, NameRequest
from tests.certificates import Authority, over_tls
from tests.contrary import ContraryBackend, acknowledging, answering, refusing
from tests.gateways import service_of
from tests.ports import unused_address

DONE = operations_pb2.Operation(name="jobs/1", done=True)
JOB = NameRequest("jobs/1")


def test_the_values_of_metadata_are_never_shown() -> None:
    """The keys are shown, because they help to find a mistake."""
    config = GatewayConfig.model_validate(
        {"backends": [{"name": "b", "target": "h:1", "metadata": {"x-token": "sesame"}}]}
    )
    endpoint = Endpoint("b", "h:1", metadata=CallMetadata([("x-token", "sesame")]))
    shown = (repr(config), str(config), str(config.model_dump()), config.model_dump_json())
    for text in (*shown, repr(endpoint), str(endpoint), str(dataclasses.asdict(endpoint))):
        assert "x-token" in text
        assert "sesame" not in text


async def test_a_new_gateway_does_not_inherit_the_failures_of_another() -> None:
    """One could not connect to an address; the next one connects to it at its first call."""
    handlers = {"CancelOperation": acknowledging()}
    target = unused_address()
    async with service_of(target) as service:
        for _ in range(3):
            with pytest.raises(StatusError, match="cannot be reached"):
                await service.cancel(ANONYMOUS, JOB)
        async with (
            ContraryBackend.open(handlers, address=target) as backend,
            service_of(target) as another,
        ):
            await another.cancel(ANONYMOUS, JOB)
        assert backend.count("CancelOperation") == 1


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
        async with service_of(backend.target, tls=tls, deadline="60s") as service:
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
        async with service_of(backend.target, tls=tls, deadline="60s") as service:
            with pytest.raises(StatusError) as caught:
                await service.get(ANONYMOUS, JOB)
            assert caught.value.code is Code.UNAVAILABLE


async def test_tls_files_that_cannot_be_used_stop_the_gateway_at_its_start(tmp_path: Path) -> None:
    """One error has the mistakes of all backends, each with its setting and its file."""
    authority = Authority(tmp_path)
    client, other = authority.issue("client"), authority.issue("other")
    (tmp_path / "junk.pem").write_text("not a certificate")
    (tmp_path / "empty.pem").touch()
    key = load_pem_private_key(client.key.read_bytes(), password=None)
    (tmp_path / "locked.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"sesame"),
        )
    )
    good = {"ca": "authority.pem", "cert": "client.pem", "key": "client.key"}
    wrong = {
        "a": {"ca": "junk.pem"},
        "b": {"ca": "empty.pem"},
        "c": {"cert": "junk.pem"},
        "d": {"key": "junk.pem"},
        "e": {"key": "client.pem"},
        "f": {"key": "other.key"},
        "g": {"key": "locked.key"},
    }
    backends = [
        {
            "name": name,
            "target": "127.0.0.1:1",
            "tls": {key: str(tmp_path / file) for key, file in (good | files).items()},
        }
        for name, files in wrong.items()
    ]
    with pytest.raises(ConfigError) as caught:
        async with Gateway.open(GatewayConfig.model_validate({"backends": backends})):
            pass
    no_pem = "is not a valid certificate or key in PEM: "
    starts = [
        f"backend a: tls.ca: {tmp_path}/junk.pem {no_pem}",
        f"backend b: tls.ca: {tmp_path}/empty.pem {no_pem}",
        f"backend c: tls.cert: {tmp_path}/junk.pem {no_pem}",
        f"backend d: tls.key: {tmp_path}/junk.pem {no_pem}",
        f"backend e: tls.key: {client.certificate} {no_pem}",
        f"backend f: tls.key: {other.key} is not the key of the certificate in",
        f"backend g: tls.key: the key in {tmp_path}/locked.key has a password; write it without",
    ]
    found = caught.value.mistakes
    assert [start for start, line in zip(starts, found, strict=True) if line.startswith(start)] == (
        starts
    )
    assert "PRIVATE" not in str(caught.value)


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
    target = unused_address()
    async with service_of(target) as service:
        with pytest.raises(StatusError, match="cannot be reached"):
            await service.get(ANONYMOUS, JOB)
        async with (
            ContraryBackend.open({"GetOperation": answering(DONE)}, address=target),
            asyncio.timeout(60),
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

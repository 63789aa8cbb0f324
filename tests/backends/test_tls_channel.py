"""New certificates and keys are used while the gateway runs."""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from lro_gateway.backends.channel import Endpoint, open_channel
from lro_gateway.backends.tls_channel import TlsChannel
from lro_gateway.backends.tls_files import Tls
from tests.certificates import Authority, Identity
from tests.contrary import Answer, ContraryBackend, Handler, answering
from tests.ports import unused_address
from tests.processes import served

DONE: Message = operations_pb2.Operation(name="jobs/1", done=True)
GET = "/google.longrunning.Operations/GetOperation"
REQUEST = operations_pb2.GetOperationRequest(name="jobs/1").SerializeToString()


def backend_of(identity: Identity, handler: Handler, address: str = "127.0.0.1:0") -> Any:
    """Open a backend with a server's certificate."""
    return ContraryBackend.open(
        {"GetOperation": handler},
        address=address,
        credentials=grpc.ssl_server_credentials([identity.pair]),
    )


def opened(target: str, tls: Tls) -> TlsChannel:
    """Open a channel, which does not look at its files by itself."""
    channel = open_channel(Endpoint("b", target, tls=tls))
    assert isinstance(channel, TlsChannel)
    return channel


async def test_a_new_authority_is_used_and_running_calls_end_on_the_old_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A call object that was made before the change uses the new file too."""
    caplog.set_level(logging.INFO)
    one, other = Authority(tmp_path, "one"), Authority(tmp_path, "other")
    ca = tmp_path / "ca.pem"
    shutil.copy(one.file, ca)
    inside, release = asyncio.Event(), asyncio.Event()

    async def hang(_request: Any, _context: Any) -> Answer:
        inside.set()
        await release.wait()
        return DONE

    async with backend_of(one.issue("server"), hang) as backend:
        channel = opened(backend.target, Tls(ca=ca))
        call = channel.unary_unary(GET)
        running = asyncio.ensure_future(call(REQUEST, timeout=60))
        await inside.wait()
        shutil.copy(other.file, ca)
        await channel.refresh()
        with pytest.raises(grpc.aio.AioRpcError, match="CERTIFICATE_VERIFY_FAILED"):
            await call(REQUEST, timeout=60)
        release.set()
        assert operations_pb2.Operation.FromString(await running) == DONE
        await channel.close(None)
    assert "new connections use its changed TLS files" in caplog.text


async def test_broken_files_change_nothing_and_are_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The same content in a new file is no change either."""
    authority = Authority(tmp_path)
    ca = tmp_path / "ca.pem"
    shutil.copy(authority.file, ca)
    async with backend_of(authority.issue("server"), answering(DONE)) as backend:
        channel = opened(backend.target, Tls(ca=ca))
        first = channel.current
        for content in (b"junk", authority.file.read_bytes()):
            ca.write_bytes(content)
            await channel.refresh()
            await channel.refresh()
        ca.unlink()
        await channel.refresh()
        assert channel.current is first
        call = channel.unary_unary(GET)
        assert operations_pb2.Operation.FromString(await call(REQUEST, timeout=60)) == DONE
        await channel.close(None)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert all(
        each.startswith("backend b: its changed TLS files are not used") for each in warnings
    )


async def test_closing_ends_the_calls_of_an_old_channel(tmp_path: Path) -> None:
    """The gateway must stop although a backend hangs."""
    one, other = Authority(tmp_path, "one"), Authority(tmp_path, "other")
    ca = tmp_path / "ca.pem"
    shutil.copy(one.file, ca)
    inside = asyncio.Event()

    async def hang(_request: Any, _context: Any) -> Answer:
        inside.set()
        await asyncio.Event().wait()
        return DONE

    async with backend_of(one.issue("server"), hang) as backend:
        channel = opened(backend.target, Tls(ca=ca))
        running = asyncio.ensure_future(channel.unary_unary(GET)(REQUEST, timeout=300))
        await inside.wait()
        shutil.copy(other.file, ca)
        await channel.refresh()
        await channel.close(None)
        await asyncio.wait([running], timeout=60)
        assert running.cancelled()


async def test_a_server_reaches_a_backend_whose_authority_has_changed(tmp_path: Path) -> None:
    """The gateway runs on while the backend and the file get new certificates."""
    one, other = Authority(tmp_path, "one"), Authority(tmp_path, "other")
    ca, address = tmp_path / "ca.pem", unused_address()
    shutil.copy(one.file, ca)
    settings = {"name": "b", "target": address, "tls": {"ca": str(ca)}, "deadline": "2s"}
    async with (
        served(tmp_path, settings) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60) as client,
    ):
        async with backend_of(one.issue("server"), answering(DONE), address), asyncio.timeout(60):
            while (await client.get("/v1/jobs/1")).status_code != 200:
                pass
        async with backend_of(other.issue("server"), answering(DONE), address), asyncio.timeout(60):
            shutil.copy(other.file, ca)
            await server.logged("new connections use its changed TLS files")
            while (await client.get("/v1/jobs/1")).status_code != 200:
                pass

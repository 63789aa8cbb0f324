"""Connections end when the server trusts their certificates no longer."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from lro_gateway.serving.client_trust import ClientTrust
from tests.certificates import Authority, trusting
from tests.contrary import ContraryBackend, answering
from tests.serving.test_tls import RUNNING, over_tls


async def all_of(lines: AsyncIterator[str]) -> list[str]:
    """Read to the end."""
    return [each async for each in lines]


def der(file: Path) -> bytes:
    """Return a certificate in DER."""
    return ssl.PEM_cert_to_DER_cert(file.read_text())


def test_what_is_trusted_no_longer(tmp_path: Path) -> None:
    """A new list ends only what is new in it, and an authority that is gone ends all."""
    one, two = Authority(tmp_path, "one"), Authority(tmp_path, "two")
    left, stays = one.issue("left"), one.issue("stays")
    both = one.file.read_bytes() + two.file.read_bytes()
    first = ClientTrust.of(both)
    revoked = ClientTrust.of(both, one.revoke(left).read_bytes())
    withdrawn = revoked.withdrawn_since(first)
    assert withdrawn is not None
    assert withdrawn(der(left.certificate))
    assert not withdrawn(der(stays.certificate))
    assert not withdrawn(b"junk")
    assert revoked.withdrawn_since(revoked) is None
    assert ClientTrust.of(both, two.revoke(left).read_bytes()).withdrawn_since(first)
    assert first.withdrawn_since(ClientTrust.of(one.file.read_bytes())) is None
    gone = ClientTrust.of(two.file.read_bytes()).withdrawn_since(first)
    assert gone is not None
    assert gone(der(stays.certificate))


@pytest.mark.parametrize("how", ["revoked", "authority"])
async def test_a_connection_ends_with_the_trust_in_its_certificate(
    tmp_path: Path, how: str
) -> None:
    """An idle connection and a stream end at once. Those of other callers go on if they may."""
    authority, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    leaver, other = clients.issue("leaver"), clients.issue("other")
    crl = clients.revoke(clients.issue("nobody"))
    tls = authority.issue("server").server_tls(client_ca=str(clients.file), client_crl=str(crl))
    async with (
        ContraryBackend.open({"GetOperation": answering(RUNNING)}) as backend,
        over_tls(tls, backend.target) as server,
        httpx.AsyncClient(verify=trusting(authority, other), base_url=server.url) as stays,
        httpx.AsyncClient(verify=trusting(authority, leaver), base_url=server.url) as leaves,
        stays.stream("GET", "/v1/jobs/1:watch") as going_on,
    ):
        assert server.tls is not None
        lines = going_on.aiter_lines()
        assert await anext(lines)
        idle = trusting(authority, leaver)
        host, port = server.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port), ssl=idle)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        async with leaves.stream("GET", "/v1/jobs/1:watch") as stream:
            watched = stream.aiter_lines()
            assert await anext(watched)
            if how == "revoked":
                clients.revoke(leaver)
            else:
                shutil.copy(Authority(tmp_path, "new").file, clients.file)
            await server.tls.refresh()
            with pytest.raises(httpx.HTTPError):
                await all_of(watched)
        while await reader.readline():
            pass
        writer.transport.abort()
        if how == "revoked":
            assert (await stays.get("/livez")).status_code == 200
            assert not going_on.is_closed
        with pytest.raises(httpx.HTTPError):
            await leaves.get("/livez")

"""Handshakes that never end, and the limits of connections over TLS, in front of a real process."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.certificates import Authority, trusting
from tests.processes import COMMAND, Served, served
from tests.serving.wires import LIVEZ, OPENAPI, Wire

BACKEND: dict[str, Any] = {"name": "b", "target": "127.0.0.1:1", "descriptors": []}

LARGE = OPENAPI.replace(b"/docs", b"/static-offline-docs/swagger-ui-bundle.js")


async def wire(server: Served, tls: ssl.SSLContext | None, sent: bytes = b"") -> Wire:
    """Connect, with TLS if it is given, and send bytes."""
    url = httpx.URL(server.url)
    opened = Wire(*await asyncio.open_connection(url.host, url.port, ssl=tls))
    opened.writer.write(sent)
    return opened


async def test_limits_hold_for_handshakes_and_over_tls(tmp_path: Path) -> None:
    """A client that never ends its handshake holds a place only for the time of a head."""
    authority = Authority(tmp_path)
    tls = trusting(authority)
    tables: dict[str, dict[str, Any]] = {
        "server": {"tls": authority.issue("server").server_tls()},
        "limits": {
            "max_connections": 2,
            "header_timeout": "3s",
            "send_timeout": "1s",
            "max_requests_per_connection": 1000,
        },
    }
    async with served(tmp_path, BACKEND, tables=tables) as server:
        assert server.url.startswith("https://127.0.0.1:")
        assert server.url.replace("https", "MCP https", 1) + "/mcp" in server.log
        # A busy machine may need longer than the time of a head until the third one is accepted.
        while True:
            silent = [await wire(server, None, sent) for sent in (b"", b"\x16\x03\x01\x02\x00")]
            refused = await wire(server, tls, OPENAPI)
            status, answer = await refused.answer()
            refused.close()
            if status != 200:
                break
        reason = answer["error"]["details"][0]["reason"]
        assert (status, reason) == (503, "TOO_MANY_CONNECTIONS")
        probe = await wire(server, tls, LIVEZ)
        assert await probe.answer() == (200, {"status": "ok"})
        probe.close()
        for each in silent:
            assert await each.end() == b""
        await server.logged("the TLS handshake failed: SSL handshake is taking longer than 3")
        slow = await wire(server, tls, OPENAPI[:20])
        assert (await slow.refusal())[:2] == (408, "REQUEST_TIMEOUT")
        slow.close()
        plain = await wire(server, None, LIVEZ)
        assert await plain.end() == b""
        await server.logged("the TLS handshake failed: [SSL: HTTP_REQUEST]")
        answered = await wire(server, tls, LIVEZ)
        assert await answered.answer() == (200, {"status": "ok"})
        answered.close()
        deaf = await wire(server, tls)
        deaf.reader._transport.pause_reading()  # type: ignore[attr-defined]  # noqa: SLF001
        for _ in range(100):
            deaf.writer.write(LARGE)
        await server.logged("reads no answer; see limits.send_timeout")
        deaf.close()
        assert "Traceback" not in server.log


async def test_workers_serve_over_tls_and_ask_for_certificates(tmp_path: Path) -> None:
    """`check` accepts the address, because the certificate there is that of the configuration."""
    authority, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    table = authority.issue("server").server_tls(client_ca=str(clients.file))
    options = ("--workers", "2")
    async with served(tmp_path, BACKEND, options=options, tables={"server": {"tls": table}}) as on:
        tls = trusting(authority, clients.issue("client"))
        for _ in range(8):
            async with httpx.AsyncClient(verify=tls) as http:
                assert (await http.get(f"{on.url}/livez")).json() == {"status": "ok"}
        with pytest.raises(httpx.TransportError):
            async with httpx.AsyncClient(verify=trusting(authority)) as http:
                await http.get(f"{on.url}/livez")
        checking = await asyncio.create_subprocess_exec(
            *(COMMAND, "check", "--config", str(tmp_path / "gateway.toml")),
            *("--port", str(httpx.URL(on.url).port)),
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await checking.communicate()
        assert b"cannot be reached" in printed
        assert b"cannot listen" not in printed

"""Callers whom their connection identifies: by a certificate, or by the header of a proxy."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from google.longrunning import operations_pb2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from pydantic import ValidationError

from lro_gateway.access.identity.static_tokens import new_token
from lro_gateway.access.policy import Action, AllowAll
from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.principal import Principal
from lro_gateway.serving.http import HttpServer, serve_http
from tests.certificates import Authority, trusting
from tests.contrary import ContraryBackend, answering

RUNNING = operations_pb2.Operation(name="jobs/1")
DONE = operations_pb2.Operation(name="jobs/1", done=True)


@dataclass
class Noting(AllowAll):
    """Allows everything, and notes who acts."""

    seen: list[Principal] = field(default_factory=list)

    async def authorize(self, caller: Principal, action: Action, /) -> str:
        self.seen.append(caller)
        return await super().authorize(caller, action)


@asynccontextmanager
async def noting(
    auth: Mapping[str, Any],
    listener: socket.socket | None = None,
    answer: operations_pb2.Operation = DONE,
    idle_timeout: str = "5s",
    **server: Any,
) -> AsyncIterator[tuple[HttpServer, list[Principal]]]:
    """Serve a gateway with this table `[auth]`; yields the server and the callers that act."""
    policy = Noting()
    async with ContraryBackend.open({"GetOperation": answering(answer)}) as backend:
        settings = {
            "server": {"port": 0, "allowed_hosts": ["localhost"], **server},
            "limits": {"idle_timeout": idle_timeout},
            "auth": auth,
            "backends": [{"name": "b", "target": backend.target, "descriptors": []}],
        }
        config = GatewayConfig.model_validate(settings)
        async with (
            Gateway.open(config, policy=policy) as gateway,
            serve_http(gateway, listener) as http_server,
        ):
            yield http_server, policy.seen


async def reason_of(http: httpx.AsyncClient, **headers: str) -> str:
    """Return the reason why a request is refused with 401, or an empty text if it is answered."""
    answer = await http.get("/v1/jobs/1", headers=headers)
    if answer.status_code == 200:
        return ""
    assert answer.status_code == 401, answer.text
    return str(answer.json()["error"]["details"][0]["reason"])


async def test_a_client_certificate_identifies_the_caller_of_both_faces(tmp_path: Path) -> None:
    """The issuer of the caller is the authority that signed the certificate."""
    authority, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    tls = authority.issue("server").server_tls(client_ca=str(clients.file))
    client = trusting(authority, clients.issue("ci"))
    async with noting({"certificates": {}}, tls=tls) as (server, seen):
        async with httpx.AsyncClient(base_url=server.url, verify=client) as http:
            assert await reason_of(http) == ""
        async with httpx2.AsyncClient(verify=client) as http2:
            transport = streamable_http_client(f"{server.url}/mcp", http_client=http2)
            async with Client(transport) as mcp:
                result = await mcp.call_tool("get_operation", {"name": "jobs/1"})
                assert not result.is_error
    assert [each.identity for each in seen] == [("CN=clients", "ci", "")] * 2


async def test_a_stream_ends_when_the_certificate_of_its_caller_does(tmp_path: Path) -> None:
    """A later request on the connection is refused, although its handshake was in time."""
    authority, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    tls = authority.issue("server").server_tls(client_ca=str(clients.file))
    shown = clients.issue("ci", valid=(-1, 6 / 86_400))
    verify, limits = trusting(authority, shown), httpx.Limits(max_connections=1)
    async with (
        noting({"certificates": {}}, answer=RUNNING, tls=tls, idle_timeout="60s") as (server, _),
        httpx.AsyncClient(base_url=server.url, verify=verify, limits=limits, timeout=60) as http,
    ):
        async with http.stream("GET", "/v1/jobs/1:watch") as stream:
            lines = [line async for line in stream.aiter_lines() if line.startswith("data: ")]
        assert "has expired" in lines[-1]
        assert await reason_of(http) == "CERTIFICATE_EXPIRED"


async def test_a_request_with_a_certificate_and_a_token_is_refused(tmp_path: Path) -> None:
    """Each alone identifies a caller. Without both, the error says what to do."""
    authority, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    tls = authority.issue("server").server_tls(client_ca=str(clients.file), client_cert="optional")
    token, entry = new_token("bot")
    (tmp_path / "tokens").write_text(entry.line)
    auth = {"certificates": {}, "tokens": str(tmp_path / "tokens")}
    bearer = {"authorization": f"Bearer {token}"}
    async with noting(auth, tls=tls) as (server, seen):
        for shown, headers, expected in (
            (clients.issue("ci"), {}, ""),
            (None, bearer, ""),
            (clients.issue("ci"), bearer, "CALLERS_DIFFER"),
            (None, {}, "CREDENTIALS_MISSING"),
        ):
            verify = trusting(authority, shown)
            async with httpx.AsyncClient(base_url=server.url, verify=verify) as http:
                assert await reason_of(http, **headers) == expected
    assert [each.subject for each in seen] == ["ci", "bot"]


async def test_a_proxy_names_the_caller_in_a_header() -> None:
    """A header of a request that came past the proxy is refused, whoever it says it is from."""
    proxy = {"addresses": ["127.0.0.1"], "subject": "X-Forwarded-User"}
    async with (
        noting({"proxy": proxy}) as (server, seen),
        httpx.AsyncClient(base_url=server.url) as http,
    ):
        assert await reason_of(http, **{"x-forwarded-user": "ana"}) == ""
        assert await reason_of(http, authorization="Basic YQ==") == "CREDENTIALS_MISSING"
        twice = [("X-Forwarded-User", "ana"), ("X-Forwarded-User", "root")]
        assert (await http.get("/v1/jobs/1", headers=twice)).status_code == 401
        assert (await http.get("/livez", headers=twice)).status_code == 200
    assert [each.identity for each in seen] == [("proxy", "ana", "")]


@pytest.mark.parametrize("trusted", [[], ["127.0.0.1"]], ids=["no proxy", "a proxy of clients"])
async def test_a_client_cannot_name_itself(trusted: list[str]) -> None:
    """X-Forwarded-For decides nothing, even if the gateway believes it for other purposes."""
    proxy = {"addresses": ["10.0.0.0/8"], "subject": "X-Forwarded-User"}
    forged: list[dict[str, str]] = [
        {},
        {"x-forwarded-for": "10.0.0.5"},
        {"forwarded": "for=10.0.0.5"},
    ]
    async with (
        noting({"proxy": proxy}, trusted_proxies=trusted) as (server, seen),
        httpx.AsyncClient(base_url=server.url) as http,
    ):
        for more in forged:
            reason = await reason_of(http, **{"x-forwarded-user": "root"}, **more)
            assert reason == "PROXY_NOT_TRUSTED"
    assert seen == []


async def test_a_header_over_a_unix_socket_is_refused(tmp_path: Path) -> None:
    """A peer there has no address, so nobody knows whether it is the proxy."""
    proxy = {"addresses": ["0.0.0.0/0", "::/0"], "subject": "X-Forwarded-User"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        async with noting({"proxy": proxy}, listener, trusted_proxies=["127.0.0.1"]) as (_, seen):
            transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "s"))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                headers = {"x-forwarded-user": "root", "x-forwarded-for": "127.0.0.1"}
                assert await reason_of(http, **headers) == "PROXY_NOT_TRUSTED"
    assert seen == []


def test_certificates_without_an_authority_are_a_mistake() -> None:
    """No handshake would verify them."""
    auth: dict[str, Any] = {"auth": {"certificates": {}}}
    with pytest.raises(ValidationError, match=r"needs server\.tls with client_ca"):
        GatewayConfig.model_validate(auth)

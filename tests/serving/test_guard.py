"""Requests reach a face only with an allowed Host, an allowed Origin and a body in the limit."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from google.longrunning import operations_pb2

from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.serving.app import create_app
from tests.contrary import ContraryBackend, acknowledging, answering
from tests.gateways import serving

HANDLERS = {
    "GetOperation": answering(operations_pb2.Operation(name="jobs/1", done=True)),
    "CancelOperation": acknowledging(),
}
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
REQUESTS = (
    ("GET", "/v1/jobs/1", None),
    ("POST", "/v1/jobs/1:cancel", None),
    ("DELETE", "/v1/jobs/1", None),
    ("POST", "/mcp", PING),
    ("GET", "/mcp", None),
    ("GET", "/openapi.json", None),
    ("GET", "/docs", None),
)


@asynccontextmanager
async def gateway_at(**server: Any) -> AsyncIterator[tuple[httpx.AsyncClient, ContraryBackend]]:
    """Open a client of a gateway's app, whose `[server]` table has these settings."""
    async with ContraryBackend.open(HANDLERS) as backend:
        config = GatewayConfig.model_validate(
            {
                "server": server,
                "backends": [{"name": "b", "target": backend.target, "descriptors": []}],
            }
        )
        async with (
            Gateway.open(config) as gateway,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(create_app(gateway)), base_url="http://127.0.0.1"
            ) as client,
        ):
            yield client, backend


async def reason(client: httpx.AsyncClient, **headers: str) -> str | None:
    """Return the reason that refuses a read with these headers, or None if it is answered."""
    response = await client.get("/v1/jobs/1", headers=headers)
    if response.status_code == 200:
        return None
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["status"]) == (403, 403, "PERMISSION_DENIED")
    return str(error["details"][0]["reason"])


async def test_on_loopback_only_names_of_loopback_are_answered() -> None:
    """A page that rebinds its own host name to 127.0.0.1 sends that name as Host."""
    hosts = {
        "localhost": None,
        "localhost:8080": None,
        "127.0.0.1:1": None,
        "[::1]": None,
        "[::1]:8080": None,
        "evil.test": "HOST_NOT_ALLOWED",
        "evil.test:8080": "HOST_NOT_ALLOWED",
        "localhost.evil.test": "HOST_NOT_ALLOWED",
        "127.0.0.1.evil.test": "HOST_NOT_ALLOWED",
        "127.0.0.1@evil.test": "HOST_NOT_ALLOWED",
        "": "HOST_NOT_ALLOWED",
    }
    async with gateway_at() as (client, _):
        assert {host: await reason(client, Host=host) for host in hosts} == hosts


async def test_more_hosts_can_be_allowed_on_loopback() -> None:
    """A host without a port is allowed at any port, a host with a port at that port only."""
    hosts = {
        "gateway.test": None,
        "gateway.test:99": None,
        "other.test:8443": None,
        "other.test": "HOST_NOT_ALLOWED",
        "localhost": None,
    }
    async with gateway_at(allowed_hosts=["gateway.test", "other.test:8443"]) as (client, _):
        assert {host: await reason(client, Host=host) for host in hosts} == hosts


async def test_beyond_loopback_only_the_allowed_hosts_are_answered() -> None:
    """If no hosts are configured, every Host is answered."""
    async with gateway_at(host="192.0.2.1", allowed_hosts=["gateway.test"]) as (client, _):
        assert await reason(client, Host="gateway.test") is None
        assert await reason(client, Host="localhost") == "HOST_NOT_ALLOWED"
    async with gateway_at(host="192.0.2.1") as (client, _):
        assert await reason(client, Host="anything.test") is None


async def test_an_allowed_host_may_have_any_spelling_and_subdomains() -> None:
    """The gateway compares hosts after it has normalized them."""
    hosts = {
        "GATEWAY.test.": None,
        "a.b.internal:8443": None,
        "internal": "HOST_NOT_ALLOWED",
        "xn--bcher-kva.test": None,
        "a" * 400 + ".internal": "HOST_NOT_ALLOWED",
        "localhost.": None,
        "[0:0::1]:80": None,
    }
    allowed = ["Gateway.Test:443", "*.internal", "bücher.test"]
    async with gateway_at(allowed_hosts=allowed) as (client, _):
        assert {host: await reason(client, Host=host) for host in hosts} == hosts


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_probes_are_answered_at_every_host_and_origin(path: str) -> None:
    """A probe has the address of a pod as its Host."""
    async with gateway_at(allowed_hosts=["gateway.test"], host="192.0.2.1") as (client, _):
        for headers in ({"Host": "10.1.2.3:8080"}, {"Host": ""}, {"Origin": "https://evil.test"}):
            assert (await client.get(path, headers=headers)).status_code == 200


async def exchange(url: str, *lines: str) -> tuple[int, str]:
    """Send a request line and headers as they are; return the status and the body."""
    reader, writer = await asyncio.open_connection(*urlsplit(url).netloc.split(":"))
    writer.write("\r\n".join((*lines, "Connection: close", "", "")).encode())
    answer = (await reader.read()).decode()
    writer.close()
    return int(answer.split()[1]), answer.partition("\r\n\r\n")[2]


async def test_a_request_needs_exactly_one_host() -> None:
    """Several Host headers are an error of HTTP. HTTP/1.0 allows none, but the guard needs one."""
    async with (
        ContraryBackend.open(HANDLERS) as backend,
        serving({"name": "b", "target": backend.target}) as url,
    ):
        two = ("GET /v1/jobs/1 HTTP/1.1", "Host: localhost", "Host: localhost")
        status, body = await exchange(url, *two)
        assert (status, "2 Host headers" in body) == (400, True)
        status, body = await exchange(url, "GET /v1/jobs/1 HTTP/1.0")
        assert (status, "there is no Host header" in body) == (403, True)
        assert (await exchange(url, "GET /livez HTTP/1.0"))[0] == 200
        assert (await exchange(url, "GET /v1/jobs/1 HTTP/1.0", "Host: localhost"))[0] == 200


async def test_a_page_of_another_site_may_not_call() -> None:
    """Pages of this machine and allowed origins may call."""
    origins = {
        "http://localhost:5173": None,
        "http://127.0.0.1:6274": None,
        "https://evil.test": "ORIGIN_NOT_ALLOWED",
        "http://localhost.evil.test": "ORIGIN_NOT_ALLOWED",
        "http://127.0.0.1@evil.test": "ORIGIN_NOT_ALLOWED",
        "null": "ORIGIN_NOT_ALLOWED",
        "http://[": "ORIGIN_NOT_ALLOWED",
        "": "ORIGIN_NOT_ALLOWED",
        "https://app.test": None,
        "http://app.test": "ORIGIN_NOT_ALLOWED",
        "http://127.0.0.1": None,
    }
    async with gateway_at(allowed_origins=["https://App.test:443/"]) as (client, _):
        assert {origin: await reason(client, Origin=origin) for origin in origins} == origins


async def test_beyond_loopback_a_page_of_localhost_may_not_call() -> None:
    """The page comes from the client's machine, which is not the gateway's."""
    async with gateway_at(host="192.0.2.1", allowed_hosts=["gateway.test"]) as (client, _):
        own = {"Host": "gateway.test", "Origin": "https://gateway.test"}
        local = {"Host": "gateway.test", "Origin": "http://localhost"}
        assert [await reason(client, **own), await reason(client, **local)] == [
            None,
            "ORIGIN_NOT_ALLOWED",
        ]


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.test"}, {"Origin": "https://evil.test"}], ids=["Host", "Origin"]
)
async def test_every_path_is_guarded(headers: dict[str, str]) -> None:
    """REST, MCP and documentation refuse the request before any call of a backend."""
    async with gateway_at() as (client, backend):
        for method, path, body in REQUESTS:
            response = await client.request(method, path, json=body, headers=headers)
            assert (path, response.status_code) == (path, 403)
            assert response.json()["error"]["details"][0]["domain"] == "lro-gateway"
        assert backend.calls == []


async def chunks(count: int) -> AsyncIterator[bytes]:
    """Yield the chunks of a body without a Content-Length."""
    for _ in range(count):
        yield b" " * 1024


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
@pytest.mark.parametrize("body", [b" " * 2048, chunks], ids=["declared", "in chunks"])
async def test_a_body_over_the_limit_is_refused_whatever_the_method(method: str, body: Any) -> None:
    """The limit holds for GET too, because some routes read the body of a GET."""
    async with gateway_at(max_body_bytes=1024) as (client, backend):
        content = body if isinstance(body, bytes) else body(2)
        response = await client.request(method, "/v1/jobs/1", content=content)
        assert response.status_code == 413
        assert response.json()["error"]["details"][0]["reason"] == "BODY_TOO_LARGE"
        assert backend.answered == []


@pytest.mark.parametrize("path", ["/v1/databases", "/v1/jobs/1:cancel", "/v1/jobs/1:wait", "/mcp"])
async def test_a_client_that_leaves_in_the_middle_of_a_body_leaves_no_traceback(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no fault of the gateway, and one client could fill the log."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    async with (
        ContraryBackend.open(HANDLERS) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port)) as leaving:
            leaving.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
            # The gateway has begun to read the first request when it answers this one.
            assert (await client.get("/v1/jobs/1")).status_code == 200
        assert (await client.get("/v1/jobs/1")).status_code == 200
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []

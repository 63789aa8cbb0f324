"""Headers of proxies count if the connection comes from a trusted proxy, and only then."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from lro_gateway.config.models import ServerConfig
from lro_gateway.serving.admission import Admission
from lro_gateway.serving.forwarding import Forwarding
from tests.gateways import serving

FORWARDED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "gateway.test",
    "X-Forwarded-Prefix": "/lro",
}


async def show(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the parts of a request that proxies change."""
    shown = {
        "client": scope["client"][0],
        "scheme": scope["scheme"],
        "hosts": Headers(scope=scope).getlist("host"),
        "root_path": scope.get("root_path", ""),
        "path": scope["path"],
        "raw_path": scope["raw_path"].decode(),
    }
    await JSONResponse(shown)(scope, receive, send)


async def seen(
    peer: str, headers: Any, path: str = "/v1/operations", **server: Any
) -> dict[str, Any]:
    """Return what the gateway sees of a request that comes from this address."""
    config = ServerConfig.model_validate(server)
    app = Forwarding(show, config, Admission(config))
    transport = httpx.ASGITransport(app, client=(peer, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://10.1.2.3") as client:
        answer: dict[str, Any] = (await client.get(path, headers=headers)).json()
    return answer


async def test_a_trusted_proxy_tells_how_the_client_sent_the_request() -> None:
    """The client, the scheme, the host and the prefix are those that the client sees."""
    assert await seen("10.0.0.5", FORWARDED, trusted_proxies=["10.0.0.0/8"]) == {
        "client": "203.0.113.9",
        "scheme": "https",
        "hosts": ["gateway.test"],
        "root_path": "/lro",
        "path": "/lro/v1/operations",
        "raw_path": "/v1/operations",
    }


@pytest.mark.parametrize("peer", ["203.0.113.1", "127.0.0.1", "::1", "::ffff:203.0.113.1"])
async def test_nobody_else_can_change_a_request(peer: str) -> None:
    """The headers of other peers have no effect, not even those of this machine."""
    assert await seen(peer, FORWARDED, trusted_proxies=["10.0.0.0/8", "fd00::/8"]) == {
        "client": peer,
        "scheme": "http",
        "hosts": ["10.1.2.3"],
        "root_path": "",
        "path": "/v1/operations",
        "raw_path": "/v1/operations",
    }


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("::ffff:10.0.0.5", "10.0.0.0/8"),
        ("fd00::5", "fd00::/8"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
async def test_a_proxy_is_known_by_its_address(peer: str, trusted: str) -> None:
    """On a socket for IPv6, the address of an IPv4 proxy has a longer form."""
    answer = await seen(
        peer, FORWARDED, trusted_proxies=[trusted], allowed_hosts=["10.1.2.3", "gateway.test"]
    )
    assert (answer["client"], answer["hosts"]) == ("203.0.113.9", ["gateway.test"])


async def test_only_the_nearest_proxy_is_believed() -> None:
    """The client can send the headers too, and each proxy appends its own value."""
    headers = [
        ("X-Forwarded-For", "1.1.1.1, 203.0.113.9, 10.0.0.7"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Host", "evil.test, gateway.test"),
        ("X-Forwarded-Prefix", "/evil, /lro"),
    ]
    answer = await seen("10.0.0.5", headers, trusted_proxies=["10.0.0.0/8"])
    assert (answer["client"], answer["hosts"], answer["root_path"]) == (
        "203.0.113.9",
        ["gateway.test"],
        "/lro",
    )


async def test_a_page_on_the_machine_of_a_proxy_cannot_choose_the_host() -> None:
    """A rebound page has its own name in Host, which the guard then refuses."""
    headers = {**FORWARDED, "Host": "evil.test"}
    trusted: dict[str, Any] = {
        "trusted_proxies": ["127.0.0.1"],
        "allowed_hosts": ["gateway.test"],
    }
    assert (await seen("127.0.0.1", headers, **trusted))["hosts"] == ["evil.test"]
    headers["Host"] = "127.0.0.1:8080"
    assert (await seen("127.0.0.1", headers, **trusted))["hosts"] == ["gateway.test"]


@pytest.mark.parametrize(
    ("path", "raw_path"),
    [
        ("/lro/v1/a%2Fb//c", "/v1/a%2Fb//c"),
        ("/v1/operations", "/v1/operations"),
        ("/lro", "/"),
        ("/lro/", "/"),
        ("/lrox/v1", "/lrox/v1"),
    ],
)
async def test_a_prefix_is_removed_if_the_proxy_has_kept_it(path: str, raw_path: str) -> None:
    """The setting `root_path` is enough, and no proxy need be trusted for it."""
    answer = await seen("203.0.113.1", {}, path, root_path="/lro")
    assert (answer["root_path"], answer["raw_path"]) == ("/lro", raw_path)
    assert answer["path"].startswith("/lro/")


async def test_a_prefix_that_is_no_path_is_refused() -> None:
    """The page /docs must not repeat a script of a header."""
    async with (
        serving(trusted_proxies=["127.0.0.1"]) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        answer = await client.get("/docs", headers={"X-Forwarded-Prefix": "/<script>"})
        assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
        answer = await client.get("/openapi.json", headers={"X-Forwarded-Prefix": "/lro/"})
        assert answer.json()["servers"] == [{"url": "/lro"}]


async def test_the_host_of_the_client_is_checked() -> None:
    """The gateway on loopback allows the hosts of loopback, and `allowed_hosts`."""
    trusted, allowed = ["127.0.0.1"], ["gateway.test"]
    async with (
        serving(trusted_proxies=trusted, allowed_hosts=allowed) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        codes = [
            (await client.get("/docs", headers={"X-Forwarded-Host": host})).status_code
            for host in ("gateway.test", "evil.test")
        ]
    assert codes == [200, 403]


async def test_without_trusted_proxies_no_header_is_believed() -> None:
    """By default uvicorn would believe X-Forwarded-Proto and X-Forwarded-For of loopback."""
    async with serving() as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.get("/openapi.json", headers=FORWARDED)
        assert (answer.status_code, answer.json()["servers"]) == (200, [{"url": "."}])

"""Pages of the allowed origins can call the gateway and read its answers, and no other pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2

from tests.contrary import ContraryBackend, knowing
from tests.gateways import serving

ORIGIN = "https://console.test"
ALL = knowing(operations_pb2.Operation(name="jobs/1", done=True))
CORS = "access-control-"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of a gateway that allows the origin."""
    async with (
        ContraryBackend.open(ALL) as backend,
        serving(
            {"name": "b", "target": backend.target},
            allowed_origins=["https://Console.test:443/", "https://*.apps.test"],
            max_body_bytes=1024,
        ) as url,
        httpx.AsyncClient(base_url=url) as opened,
    ):
        yield opened


def cors_of(response: httpx.Response) -> dict[str, str]:
    """Return the CORS headers of a response."""
    return {name: value for name, value in response.headers.items() if name.startswith(CORS)}


def preflight(method: str, *headers: str, origin: str = ORIGIN) -> dict[str, str]:
    """Return the headers with which a browser asks whether a page may send a request."""
    requested = {"Access-Control-Request-Headers": ",".join(headers)} if headers else {}
    return {"Origin": origin, "Access-Control-Request-Method": method, **requested}


MCP_HEADERS = (
    *("authorization", "content-type", "last-event-id", "mcp-method", "mcp-name"),
    *("mcp-protocol-version", "mcp-session-id", "traceparent"),
)


@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        ("/mcp", "POST", MCP_HEADERS),
        ("/mcp", "GET", MCP_HEADERS),
        ("/mcp", "DELETE", ("mcp-session-id",)),
        ("/v1/jobs/1", "GET", ("if-none-match", "authorization")),
        ("/v1/jobs/1:cancel", "POST", ("content-type", "lro-gateway-confirmed")),
        ("/v1/jobs/1", "DELETE", ()),
        ("/v1/jobs/1", "PATCH", ()),
        ("/v1/jobs/1:watch", "GET", ("last-event-id",)),
    ],
)
async def test_a_preflight_request_of_an_allowed_origin_is_answered(
    client: httpx.AsyncClient, path: str, method: str, headers: tuple[str, ...]
) -> None:
    """The answer allows the method and every header, and does not allow credentials."""
    answer = await client.options(path, headers=preflight(method, *headers))
    cors = cors_of(answer)
    assert answer.status_code == 200
    assert cors[f"{CORS}allow-origin"] == ORIGIN
    allowed_methods = cors[f"{CORS}allow-methods"].split(", ")
    assert allowed_methods.count(method) == allowed_methods.count("HEAD") == 1
    allowed = cors.get(f"{CORS}allow-headers", "").replace(" ", "").split(",")
    assert set(headers) <= {name.lower() for name in allowed}
    assert f"{CORS}allow-credentials" not in cors
    assert "Origin" in answer.headers["vary"]


async def test_a_page_of_a_public_site_may_ask_for_a_gateway_on_loopback(
    client: httpx.AsyncClient,
) -> None:
    """Some browsers ask for this permission before a request to a private address."""
    asked = {**preflight("GET"), "Access-Control-Request-Private-Network": "true"}
    answer = await client.options("/v1/jobs/1", headers=asked)
    assert answer.headers[f"{CORS}allow-private-network"] == "true"


@pytest.mark.parametrize("origin", [ORIGIN, "https://a.apps.test"])
async def test_a_page_of_an_allowed_origin_can_read_answers_and_their_headers(
    client: httpx.AsyncClient, origin: str
) -> None:
    """This includes the events of a watch, and the headers that the gateway describes."""
    for path in ("/v1/jobs/1", "/v1/jobs/1:watch", "/livez", "/openapi.json"):
        answer = await client.get(path, headers={"Origin": origin})
        assert answer.status_code == 200
        assert answer.headers[f"{CORS}allow-origin"] == origin
        assert answer.headers["vary"] == "Origin"
        exposed = answer.headers[f"{CORS}expose-headers"].split(", ")
        assert {
            "etag",
            "allow",
            "retry-after",
            "lro-gateway-request-id",
            "lro-gateway-archived",
            "lro-gateway-warning",
            "idempotency-replayed",
        } <= set(exposed)
        assert {"mcp-session-id", "www-authenticate"} <= set(exposed)


async def test_a_page_can_read_errors_too(client: httpx.AsyncClient) -> None:
    """This includes the errors of the guard, and the answer that nothing has changed."""
    origin = {"Origin": ORIGIN}
    etag = (await client.get("/v1/jobs/1")).headers["etag"]
    answers: list[httpx.Response] = [
        await client.post("/v1/jobs/1:cancel", content=b" " * 2048, headers=origin),
        await client.get("/v1/jobs/1", headers={**origin, "Host": "evil.test"}),
        await client.get("/v1//jobs", headers=origin),
        await client.get("/nothing", headers=origin),
        await client.put("/v1/jobs/1", headers=origin),
        await client.get("/v1/jobs/1", headers={**origin, "If-None-Match": etag}),
        await client.post("/mcp", content=b"{", headers=origin),
    ]
    assert [answer.status_code for answer in answers] == [413, 403, 400, 404, 405, 304, 400]
    assert {answer.headers[f"{CORS}allow-origin"] for answer in answers} == {ORIGIN}


@pytest.mark.parametrize(
    "origin", ["https://evil.test", "null", "http://console.test", "https://console.test.evil.test"]
)
async def test_other_pages_get_no_cors_headers(client: httpx.AsyncClient, origin: str) -> None:
    """Neither a preflight request nor another request of theirs is answered."""
    for answer in (
        await client.options("/v1/jobs/1", headers=preflight("GET", origin=origin)),
        await client.get("/v1/jobs/1", headers={"Origin": origin}),
        await client.post("/mcp", headers={"Origin": origin}),
    ):
        assert (answer.status_code, cors_of(answer)) == (403, {})


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://localhost:5173"}])
async def test_an_answer_without_cors_headers_depends_on_the_origin(
    client: httpx.AsyncClient, headers: dict[str, Any]
) -> None:
    """A cache therefore does not give it to a page of an allowed origin."""
    answer = await client.get("/v1/jobs/1", headers=headers)
    assert (answer.status_code, cors_of(answer), answer.headers["vary"]) == (200, {}, "Origin")


async def test_without_allowed_origins_there_are_no_cors_headers() -> None:
    """A preflight request gets the answer of any OPTIONS request, so the browser refuses it."""
    async with serving() as url, httpx.AsyncClient(base_url=url) as client:
        own = {"Origin": "http://localhost:5173"}
        answer = await client.get("/livez", headers=own)
        assert (answer.status_code, cors_of(answer), answer.headers.get("vary")) == (200, {}, None)
        asked = preflight("POST", origin="http://localhost:5173")
        answer = await client.options("/mcp", headers=asked)
        assert cors_of(answer) == {}

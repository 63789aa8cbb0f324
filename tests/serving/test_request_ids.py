"""The id of each HTTP request."""

from __future__ import annotations

import asyncio
import logging
import re

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from lro_gateway.log_context import REQUEST_ID
from lro_gateway.serving.exchanges import Exchanges
from lro_gateway.serving.log_lines import TextFormatter
from tests.gateways import serving
from tests.serving.test_guard import gateway_at

_MADE = re.compile(r"[0-9a-f]{32}")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/jobs/1", 200),
        ("GET", "/v1/jobs/1:watch", 200),
        ("POST", "/v1/jobs/1:cancel", 200),
        ("GET", "/v1/jobs/1?zoo=1", 400),
        ("GET", "/nothing", 404),
        ("GET", "/mcp", 405),
        ("GET", "/livez", 200),
        ("GET", "/openapi.json", 200),
        ("OPTIONS", "/v1/jobs/1", 200),
    ],
)
async def test_every_answer_has_one_id(method: str, path: str, status: int) -> None:
    """The gateway takes the caller's id, or makes one that is new each time."""
    async with gateway_at() as (client, _):
        taken = await client.request(method, path, headers={"X-Request-Id": "a/b=c:1"})
        made = [await client.request(method, path) for _ in range(2)]
    assert taken.headers.get_list("x-request-id") == ["a/b=c:1"]
    ids = [answer.headers["x-request-id"] for answer in made]
    assert all(_MADE.fullmatch(each) for each in ids)
    assert ids[0] != ids[1]
    if method != "OPTIONS":
        assert taken.status_code == status


async def test_mcp_answers_and_refusals_have_the_id() -> None:
    """The guard refuses the second request, and an answer to a page has the id too."""
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    given = {"X-Request-Id": "r1", "Accept": "application/json, text/event-stream"}
    backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": []}
    async with (
        serving(backend, allowed_origins=["https://a.test"]) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        answered = await client.post("/mcp", json=ping, headers=given)
        refused = await client.get("/v1/jobs/1", headers={**given, "Host": "evil.test"})
        page = await client.get("/v1/jobs/1", headers={**given, "Origin": "https://a.test"})
    assert (answered.status_code, answered.headers["x-request-id"]) == (200, "r1")
    assert (refused.status_code, refused.headers["x-request-id"]) == (403, "r1")
    assert "x-request-id" in page.headers["access-control-expose-headers"].split(", ")


@pytest.mark.parametrize(
    "given",
    [
        *([b""], [b"a b"], [b"a\tb"], [b"\xe9"], [b"\xe2\x80\xae"], [b"a\x7f"], [b"\x1b[2J"]),
        *([b"x" * 129], [b"a", b"b"], [b"a", b"a"]),
    ],
)
async def test_an_id_that_could_harm_the_log_is_replaced(given: list[bytes]) -> None:
    """Only visible ASCII of a bounded length is taken, and only if there is one id."""
    sent: list[Message] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"x-request-id", value) for value in given]
    scope = {"type": "http", "method": "GET", "headers": headers}
    await Exchanges(app, logs_access=False)(scope, receive, send)
    ((name, value),) = sent[0]["headers"]
    assert name == b"x-request-id"
    assert _MADE.fullmatch(value.decode())


async def test_the_log_lines_of_a_request_have_its_id_and_others_have_none() -> None:
    """Two requests at once do not mix their ids."""
    lines = []
    record = logging.makeLogRecord({"name": "a", "levelname": "INFO", "msg": "x"})
    both = asyncio.Barrier(2)

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await both.wait()
        lines.append(TextFormatter().format(record).rpartition(" ")[2])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    transport = httpx.ASGITransport(Exchanges(app, logs_access=False))
    async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
        await asyncio.gather(*(client.get("/", headers={"X-Request-Id": i}) for i in ("r1", "r2")))
    assert sorted(lines) == ["x-request-id=r1", "x-request-id=r2"]
    assert REQUEST_ID.get() is None

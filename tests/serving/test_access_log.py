"""The access log: one line for each HTTP request."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2
from starlette.types import Message, Receive, Scope, Send

from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.log_context import HTTP_REQUEST, KEPT
from lro_gateway.serving.exchanges import Exchanges
from lro_gateway.serving.http import serve_http
from lro_gateway.serving.log_lines import JsonFormatter
from tests.contrary import Answer, ContraryBackend, answering
from tests.serving.test_logs import serving as command_serving

HANDLERS = {"GetOperation": answering(operations_pb2.Operation(name="jobs/1", done=True))}


RUNNING = {"GetOperation": answering(operations_pb2.Operation(name="jobs/1"))}


@asynccontextmanager
async def logged_gateway(
    handlers: Any = HANDLERS, deadline: str = "10s", **server: Any
) -> AsyncIterator[str]:
    """Serve a gateway with an access log over HTTP; yields its URL."""
    async with ContraryBackend.open(handlers) as backend:
        config = GatewayConfig.model_validate(
            {
                "server": {"port": 0, **server},
                "logs": {"access": True},
                "backends": [
                    {"name": "b", "target": backend.target, "descriptors": [], "deadline": deadline}
                ],
            }
        )
        async with Gateway.open(config) as gateway, serve_http(gateway) as http_server:
            yield f"http://{http_server.address}"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """Return a function that waits for a number of records, and returns their fields."""
    caplog.set_level(logging.INFO, "lro_gateway.access")

    async def wait(count: int) -> list[Any]:
        async with asyncio.timeout(60):
            while True:
                found = [each for each in caplog.records if each.name == "lro_gateway.access"]
                if len(found) >= count:
                    assert len(found) == count
                    assert all(getattr(each, KEPT) for each in found)
                    return [each.__dict__[HTTP_REQUEST] for each in found]
                await asyncio.sleep(0)

    return wait


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/jobs/1?alt=json", 200),
        ("HEAD", "/livez", 200),
        ("POST", "/mcp", 400),
        ("GET", "/nothing", 404),
        ("GET", "/mcp", 405),
        ("GET", "/openapi.json", 200),
        ("GET", "/v1/jobs/1:watch", 200),
        ("GET", "/v1/jobs%2F1%0A%E2%80%AE", 400),
    ],
)
async def test_each_request_leaves_one_line(
    lines: Any, method: str, path: str, status: int
) -> None:
    """The path has no query and stays encoded. The size is that of the body."""
    async with logged_gateway() as url, httpx.AsyncClient(base_url=url) as client:
        response = await client.request(method, path)
        (fields,) = await lines(1)
    assert response.status_code == status
    assert re.fullmatch(r"\d+\.\d{6}s", fields.pop("latency"))
    assert fields == {
        "requestMethod": method,
        "requestUrl": path.partition("?")[0],
        "status": status,
        "responseSize": str(len(response.content)),
        "remoteIp": "127.0.0.1",
    }


async def test_a_stream_leaves_its_line_at_its_end(lines: Any) -> None:
    """The line of a shorter request comes first. A client that leaves a stream has its status."""
    async with logged_gateway(RUNNING) as url, httpx.AsyncClient(base_url=url) as client:
        async with client.stream("GET", "/v1/jobs/1:watch") as stream:
            # An iterator that nobody holds is closed, and the stream with it.
            chunks = stream.aiter_bytes()
            first = await anext(chunks)
            await client.get("/livez")
            assert [each["requestUrl"] for each in await lines(1)] == ["/livez"]
        entry = (await lines(2))[1]
    assert (entry["requestUrl"], entry["status"]) == ("/v1/jobs/1:watch", 200)
    assert int(entry["responseSize"]) >= len(first)


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/jobs/1:wait"), ("GET", "/v1/jobs/1")])
async def test_a_client_that_leaves_before_the_answer_has_the_status_499(
    lines: Any, method: str, path: str
) -> None:
    """A wait is cancelled when its client leaves. The call of a read goes on to its end."""
    called, answers = asyncio.Event(), asyncio.Event()

    async def get(request: Any, context: Any) -> Answer:
        called.set()
        if method == "GET":
            await answers.wait()
        return await RUNNING["GetOperation"](request, context)

    async with logged_gateway({"GetOperation": get}, deadline="60s") as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            request = asyncio.create_task(client.request(method, path))
            await called.wait()
            request.cancel()
            await asyncio.wait([request])
        # The answer on another connection shows that the gateway knows that the client has left.
        async with httpx.AsyncClient(base_url=url) as other:
            await other.get("/livez")
        answers.set()
        (fields,) = [each for each in await lines(2) if each["requestUrl"] != "/livez"]
    assert (fields["requestUrl"], fields["status"]) == (path, 499)
    assert fields["responseSize"] == "0"


async def test_the_client_of_a_trusted_proxy_is_logged(lines: Any) -> None:
    """A client cannot forge a line by the header, and a refusal of the header is logged too."""
    headers = {"X-Forwarded-For": "203.0.113.7"}
    bad = {**headers, "X-Forwarded-Prefix": "no prefix"}
    forged = {"X-Forwarded-For": "1.1.1.1 GET /forged"}
    async with (
        logged_gateway(trusted_proxies=["127.0.0.1"]) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        for each in (headers, bad, forged):
            await client.get("/v1/jobs/1", headers=each)
        entries = await lines(3)
    assert [(each["remoteIp"], each["status"]) for each in entries] == [
        ("203.0.113.7", 200),
        ("127.0.0.1", 400),
        ('"1.1.1.1 GET /forged"', 200),
    ]


async def test_a_failure_and_a_long_hostile_path_make_one_bounded_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An application that raises before an answer has the status 500."""
    caplog.set_level(logging.INFO, "lro_gateway.access")

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ZeroDivisionError

    raw = b"/\n\x1b[2J\xe2\x80\xae" + b"x" * 5000
    scope = {"type": "http", "method": "GET", "raw_path": raw, "path": "/", "headers": []}

    async def receive() -> Message:
        raise AssertionError

    async def send(_message: Message) -> None:
        pass

    await Exchanges(app, logs_access=True)(scope, receive, send)
    (record,) = (each for each in caplog.records if each.name == "lro_gateway.access")
    assert len(record.getMessage()) < 1200
    assert record.getMessage().startswith(r"- GET /\n\x1b[2J\xe2\x80\xaexxx")
    entry = json.loads(JsonFormatter().format(record))["httpRequest"]
    assert entry["status"] == 500
    assert entry["requestUrl"].startswith(r"/\n\x1b[2J")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_option_turns_the_log_on_in_each_process(workers: str) -> None:
    """The line has the id of the request, and the members of Cloud Logging."""
    options = ("--access-log", "--log-format", "json", "--workers", workers)
    with command_serving(*options) as process:
        assert process.stderr is not None
        entries = map(json.loads, process.stderr)
        found = (re.search(r"REST (http://\S+)/v1", each["message"]) for each in entries)
        url = next(each[1] for each in found if each)
        httpx.get(f"{url}/livez?a=b", headers={"X-Request-Id": "r1"}, timeout=60)
        entry = next(each for each in entries if each["logger"] == "lro_gateway.access")
        process.terminate()
    assert (entry["severity"], entry["request_id"]) == ("INFO", "r1")
    assert re.fullmatch(r"127\.0\.0\.1 GET /livez 200 \d+ B \d+\.\d ms", entry["message"])
    assert entry["httpRequest"]["requestUrl"] == "/livez"

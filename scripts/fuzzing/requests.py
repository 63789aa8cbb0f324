"""The targets of whole requests: an application in process reads any headers and any JSON-RPC."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import orjson
from starlette.types import Message

from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.serving.app import create_app
from scripts.fuzzing.checks import check

Headers = Iterable[tuple[bytes, bytes]]

_LEAVES_AFTER: Final = 0.5
"""Seconds after which the client leaves, because some answers are streams that do not end."""
_LATEST: Final = 30.0
"""Seconds within which the application has finished with a request whose client has left."""
_SERVER: Final = {
    "trusted_proxies": ["127.0.0.1"],
    "allowed_origins": ["https://*.example.com", "http://localhost:6274"],
    "allowed_hosts": ["gateway.example.com"],
    "root_path": "/lro",
}
_HOST: Final = (b"host", b"127.0.0.1:8080")
_VERSIONS: Final = (b"2025-03-26", b"2025-06-18", b"2025-11-25", b"2026-07-28")
_NAMES: Final = (
    *(b"host", b"origin", b"authorization", b"sec-fetch-site", b"accept", b"content-type"),
    *(b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-prefix"),
    *(b"lro-gateway-confirmed", b"last-event-id", b"if-none-match", b"traceparent", b"baggage"),
    *(b"mcp-protocol-version", b"mcp-session-id", b"mcp-method", b"mcp-name", b"x-request-id"),
    *(b"forwarded", b"content-length", b"transfer-encoding", b"cookie", b"x-user", b"tracestate"),
)
"""The headers that some part of the gateway reads, or that a proxy could send."""
_PATHS: Final = (b"/v1/operations", b"/openapi.json", b"/v1/jobs/1", b"/", b"/mcp", b"/lro/livez")
_MAX_HEADERS: Final = 16


@dataclass(slots=True)
class _Answer:
    """What the application has sent. `left` is true if the client has left before the end."""

    status: int = 0
    body: bytearray = field(default_factory=bytearray)
    left: bool = False


class _Application:
    """An open gateway without backends, which each input sends one request."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._runner.run(self._open())

    async def _open(self) -> None:
        config = GatewayConfig.model_validate({"server": _SERVER})
        self._app = create_app(await self._stack.enter_async_context(Gateway.open(config)))
        started = asyncio.Event()

        async def receive() -> Message:
            if started.is_set():
                await asyncio.Event().wait()
            return {"type": "lifespan.startup"}

        async def send(_message: Message) -> None:
            started.set()

        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._lifespan = asyncio.ensure_future(self._app(scope, receive, send))
        await started.wait()

    def send(self, method: str, path: bytes, headers: Headers, body: bytes) -> _Answer:
        """Send a request, and return its answer."""
        return self._runner.run(self._send(method, path, headers, body))

    async def _send(self, method: str, path: bytes, headers: Headers, body: bytes) -> _Answer:
        answer, pending = _Answer(), [body]

        async def receive() -> Message:
            if pending:
                return {"type": "http.request", "body": pending.pop(), "more_body": False}
            await asyncio.sleep(_LEAVES_AFTER)
            answer.left = True
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                check(answer.status == 0, "a request has one answer")
                answer.status = message["status"]
                for name, value in message["headers"]:
                    check(not {10, 13, 0} & {*name, *value}, "a header is one line")
            answer.body += message.get("body", b"")

        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path.decode(),
            "raw_path": path,
            "query_string": b"",
            "root_path": "",
            "headers": [*headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8080),
            "state": {},
        }
        async with asyncio.timeout(_LATEST):
            await self._app(scope, receive, send)
        check(answer.status or answer.left, "a request has an answer")
        check(answer.status < 500, "no request is a fault of the gateway")
        return answer


@cache
def _application() -> _Application:
    return _Application()


def json_rpc(data: bytes) -> None:
    """Send a body to the endpoint of MCP. The first byte chooses the version of the protocol.

    A request gets one answer with its id, and no answer is a fault of the gateway.
    """
    version, body = _VERSIONS[data[0] % len(_VERSIONS) if data else 0], data[1:]
    headers = [
        *(_HOST, (b"content-type", b"application/json"), (b"mcp-protocol-version", version)),
        (b"accept", b"application/json, text/event-stream"),
        (b"content-length", b"%d" % len(body)),
        *_routing(body),
    ]
    answer = _application().send("POST", b"/mcp", headers, body)
    answers = [each for each in _messages(bytes(answer.body)) if "id" in each]
    for each in answers:
        check(each.get("jsonrpc") == "2.0", "an answer is a message of JSON-RPC")
        error = each.get("error", {})
        check(error.get("code") != -32603, "no request is a fault of the gateway")
    if answer.status == 200 and not answer.left:
        sent = orjson.loads(body)
        answered = [each["id"] for each in answers if "method" not in each]
        check(answered == [sent["id"]], "a request has one answer, with its id")


def _routing(body: bytes) -> Headers:
    """Return the headers that the newest version of MCP wants, if the body names their values."""
    try:
        message = orjson.loads(body)
        params = message.get("params")
        values = (message["method"], params.get("name", params.get("uri")))
    except (orjson.JSONDecodeError, AttributeError, KeyError):
        return
    for name, value in zip((b"mcp-method", b"mcp-name"), values, strict=True):
        if isinstance(value, str) and value.isascii() and value.isprintable():
            yield name, value.encode()


def _messages(body: bytes) -> list[dict[str, Any]]:
    """Return the messages in an answer, which is JSON or a stream of events."""
    if body.startswith(b"{"):
        return [orjson.loads(body)]
    lines = [line[6:] for line in body.splitlines() if line.startswith(b"data: ")]
    return [orjson.loads(line) for line in lines if line.strip()]


def headers(data: bytes) -> None:
    """Send a request whose headers an input chooses: a byte for the name, and a line for the value.

    The answer is JSON, or a page of the gateway, and no header is a fault of the gateway.
    """
    path = _PATHS[data[0] % len(_PATHS) if data else 0]
    chosen = [
        (_NAMES[line[0] % len(_NAMES)], bytes(each for each in line[1:] if each not in _NO_VALUE))
        for line in data[1:].split(b"\n")[:_MAX_HEADERS]
        if line
    ]
    if not any(name == b"host" for name, _ in chosen):
        chosen.append(_HOST)
    method = "POST" if path == b"/mcp" else "GET"
    answer = _application().send(method, path, chosen, b"")
    if answer.status >= 400 and answer.body.startswith(b"{"):
        check("error" in orjson.loads(answer.body), "an error says what is wrong")


_NO_VALUE: Final = frozenset((0, 10, 13))
"""The characters that the parser of HTTP refuses in a header."""

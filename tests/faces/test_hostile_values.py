"""No value in a request is a fault of the gateway, whatever its kind: over MCP and over REST.

Each test takes requests that are right, and puts each of many values in the place of each of their
parts in turn. The store is PostgreSQL, which refuses more texts than SQLite.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest

from lro_gateway.access.identity.static_tokens import new_token
from lro_gateway.demo.server import DemoServer
from lro_gateway.records.location import Location
from tests.access.callers_of import bearing, identifying
from tests.mcp.wire import DECLARED
from tests.postgresql import PostgreSql

TEXTS: Final = (
    *("", "--5", "\x00", "a\x00b", "\ud800", "'", "%_\\", "../..", "//demo/", "**", "\u202e"),
    *("a" * 9000, "9" * 400, "0001-01-01T00:00:00+23:59", "9999999999999s", "https://["),
)
VALUES: Final[tuple[Any, ...]] = (
    *(None, True, -1, 0.5, 1e300, 2**63, [], [[]], ["x"], {}, {"a": {}}),
    *TEXTS,
)
HOOK: Final = {"url": "http://127.0.0.1:9/", "events": ["operation.done"], "format": "event"}
CALLER: Final = {"subject": "bob", "tenant": "acme", "groups": ["a"], "scopes": ["b"]}
SELECTION: Final = {
    "operation": "jobs/1",
    "backend": "demo",
    "method": "*/CreateDatabase",
    "states": ["RUNNING"],
    "mine": True,
}
BODIES: Final[dict[str, Any]] = {
    "/v1/{name}:wait": {"timeout": "0s"},
    "/v1/{name}:notify": {**HOOK, "secret": "whsec_x"},
    "/v1/webhooks": {**HOOK, **SELECTION},
    "/v1/webhooks/{id}:disable": {},
    "/v1/webhooks/{id}:enable": {},
    "/v1/webhooks/{id}:rotateSecret": {"secret": "whsec_x"},
    "/v1/webhooks/{id}:redeliver": {
        "since": "2026-01-02T03:04:05Z",
        "pageSize": 5,
        "pageToken": "019ac0e2",
    },
    "/v1/webhooks/{id}/deliveries/{delivery}:redeliver": {},
    "/v1:explain": {
        "verb": "start",
        "name": "jobs/1",
        "backend": "demo",
        "method": "*/CreateDatabase",
        "args": {"databaseId": "one"},
        "caller": CALLER,
    },
    "/v1/approvals/{approval}:approve": {"reason": "because"},
    "/v1/approvals/{approval}:refuse": {"reason": "because"},
    "/v1/databases": {"databaseId": "two", "rowCount": 3, "requestId": "x"},
    "/v1/databases/{databasesId}:backup": {"requestId": "x"},
    "/v1/databases/{databasesId}:check": {"requestId": "x"},
    "/v1/databases/{databasesId}:exportQuery": {"query": "select 1", "format": "CSV"},
}
"""A right body for each path that takes one."""
TOOLS: Final[dict[str, Any]] = {
    "get_operation": {"name": "databases/one/operations/1", "backend": "demo", "fields": "name"},
    "list_operations": {
        "name": "",
        "filter": "",
        "state": "RUNNING",
        "pageSize": 1,
        "pageToken": "",
        "backend": "demo",
        "returnPartialSuccess": True,
        "fields": "operations.name",
    },
    "list_my_operations": {
        "state": "running",
        "method": "C",
        "backend": "demo",
        "text": "t",
        "pageSize": 1,
        "since": "2026-01-01T00:00:00Z",
        "until": "2027-01-01T00:00:00Z",
        "tenant": True,
        "pageToken": "",
    },
    "wait_operation": {"name": "databases/one/operations/1", "timeout": "0s", "fields": "done"},
    "cancel_operation": {"name": "databases/one/operations/1", "backend": "demo"},
    "create_database": {"databaseId": "two", "rowCount": 3},
    "check_database": {"name": "databases/one", "requestId": "x"},
    "export_query": {"database": "databases/one", "query": "select 1", "format": "CSV"},
    "delete_operation": {"name": "databases/one/operations/1", "backend": "demo"},
}
META: Final = {"idempotency_key": "k", "progressToken": 1, "traceparent": "x", "baggage": "a=b"}
ANSWER: Final = {"approve": {"action": "cancel", "content": {"agreed": True}}}
EVENT: Final = {"name": "operation.done", "arguments": SELECTION}
RECEIVER: Final = {"mode": "webhook", "url": "https://127.0.0.1:9/"}
URI: Final = {"uri": "operation://demo/databases/one"}
METHODS: Final[list[tuple[str, Any]]] = [
    *((f"{each}/list", {"cursor": ""}) for each in ("tools", "resources", "tasks", "events")),
    ("resources/templates/list", {"cursor": ""}),
    *((f"resources/{each}", URI) for each in ("read", "subscribe", "unsubscribe")),
    (
        "completion/complete",
        {
            "ref": {"type": "ref/resource", "uri": "operation://{+name}"},
            "argument": {"name": "name", "value": "d"},
            "context": {"arguments": {"a": "b"}},
        },
    ),
    *((f"tasks/{each}", {"taskId": "x"}) for each in ("get", "cancel", "result")),
    ("tasks/update", {"taskId": "x", "inputResponses": ANSWER}),
    ("events/poll", {**EVENT, "cursor": "1-1-1", "maxEvents": 1, "maxAgeMs": 1}),
    (
        "events/subscribe",
        {**EVENT, "cursor": "1-1-1", "ttlMs": 1, "delivery": {**RECEIVER, "secret": "whsec_x"}},
    ),
    ("events/unsubscribe", {**EVENT, "delivery": RECEIVER}),
    ("tools/call", {"name": "create_database", "arguments": {}, "_meta": META, "task": {"ttl": 1}}),
    *(("tools/call", {"name": name, "arguments": given}) for name, given in TOOLS.items()),
]
"""A right request of each method of MCP, except those whose answer does not end."""


def variants(request: Any) -> Iterator[Any]:
    """Yield a request with each value in place of each of its parts."""
    if isinstance(request, dict):
        for key, inner in request.items():
            for each in variants(inner):
                yield {**request, key: each}
        yield {**request, "odd": 1}
    elif isinstance(request, list):
        for at, inner in enumerate(request):
            for each in variants(inner):
                yield [*request[:at], each, *request[at + 1 :]]
    yield from VALUES


def escaped(text: str) -> str:
    """Return a text for a URL, also one that is not Unicode."""
    return quote(text, safe="", errors="surrogatepass")


@dataclass
class Place:
    """A gateway with a store, webhooks and approvals, and what it has answered wrongly."""

    http: httpx.AsyncClient
    log: pytest.LogCaptureFixture
    faults: list[tuple[str, str, Any, str]] = field(default_factory=list)

    async def send(self, shown: str, method: str, url: str, value: Any, **more: Any) -> None:
        """Send a request, and note an answer that blames the gateway."""
        self.log.clear()
        async with asyncio.timeout(60), self.http.stream(method, url, **more) as answer:
            # The stream of a watch does not end.
            is_watch = method == "GET" and "event-stream" in answer.headers.get("content-type", "")
            text = "" if is_watch else (await answer.aread()).decode()
        has_failed = any(each.levelno >= logging.ERROR for each in self.log.records)
        if answer.status_code >= 500 or has_failed or "-32603" in text:
            self.faults.append((method, shown, value, text[:500]))


@asynccontextmanager
async def opened(
    server: PostgreSql, directory: Path, log: pytest.LogCaptureFixture
) -> AsyncIterator[Place]:
    """Serve it."""
    token, entry = new_token("alice", tenant="acme")
    file = directory / "tokens.toml"
    file.write_text(entry.line)
    file.chmod(0o600)
    async with DemoServer.open(directory / "demo") as demo:
        backend = {"name": "demo", "target": demo.target, "approval": ["*/CheckDatabase"]}
        async with (
            identifying(
                {"tokens": str(file)},
                {**backend, "visibility": "owner"},
                store={"url": Location.parse(server.create_database())},
                policy=[{"allow": ["*"]}],
                deliveries={"allowed_addresses": ["127.0.0.1"], "allow_http": True},
            ) as (_, url),
            bearing(url, token) as http,
        ):
            yield Place(http, log)


async def existing(http: httpx.AsyncClient) -> dict[str, str]:
    """Make what the parameters of the paths name; return their values."""
    made = await http.post("/v1/databases", json={"databaseId": "one"})
    hook = await http.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/"})
    asked = await http.post("/v1/databases/one:check", json={})
    approval = asked.json()["name"].removeprefix("approvals/")
    names = {"name": made.json()["name"], "parent": "databases/one", "databasesId": "one"}
    return {**names, "id": hook.json()["id"], "delivery": "x", "approval": approval}


def parameters(document: Any, operation: Any) -> list[Any]:
    """Return the parameters of an operation in an OpenAPI document."""
    shared = document["components"]["parameters"]
    given = operation.get("parameters", [])
    return [shared[each["$ref"].rpartition("/")[2]] if "$ref" in each else each for each in given]


async def break_parameter(
    place: Place, route: tuple[str, str], values: dict[str, str], parameter: Any
) -> None:
    """Send a request with each text as the value of one parameter."""
    method, path = route
    name = parameter["name"]
    for text in TEXTS:
        url, shown = path.format_map({**values, name: escaped(text)}), f"{path} {name}"
        if parameter["in"] == "query":
            await place.send(shown, method, f"{url}?{name}={escaped(text)}", text)
        elif parameter["in"] == "path":
            await place.send(shown, method, url, text)
        elif text.isascii() and text.isprintable():
            await place.send(shown, method, url, text, headers={name: text}, content=b"{}")


@pytest.mark.timeout(600)
async def test_no_value_is_a_fault_over_rest(
    server: PostgreSql, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each parameter, header and body of each path in the document."""
    async with opened(server, tmp_path, caplog) as place:
        values = await existing(place.http)
        document = (await place.http.get("/openapi.json")).json()
        routes = [
            (method.upper(), path, operation)
            for method in ("get", "post", "delete")
            for path, item in document["paths"].items()
            for operation in (item.get(method),)
            if operation is not None
        ]
        for method, path, operation in routes:
            for each in parameters(document, operation):
                await break_parameter(place, (method, path), values, each)
            if "requestBody" in operation:
                for body in variants(BODIES[path]):
                    content, url = json.dumps(body).encode(), path.format_map(values)
                    await place.send(path, method, url, body, content=content)
        assert {path for _, path, each in routes if "requestBody" in each} == {*BODIES}
        assert place.faults == []


def message(version: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return the body and the headers of a request of MCP."""
    sent = {"accept": "application/json, text/event-stream", "mcp-protocol-version": version}
    if version >= "2026-07-28":
        sent["mcp-method"] = method
        name, meta = params.get("name", params.get("uri")), params.get("_meta", {})
        if isinstance(name, str) and name.isascii() and name.isprintable():
            sent["mcp-name"] = name
        if isinstance(meta, dict):
            prefix = "io.modelcontextprotocol"
            declared = {f"{prefix}/clientCapabilities": DECLARED}
            meta = {**meta, f"{prefix}/protocolVersion": version, **declared}
            params = {**params, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {**sent, "content-type": "application/json"}
    return {"content": json.dumps(body).encode(), "headers": headers}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
async def test_no_value_is_a_fault_over_mcp(
    server: PostgreSql, tmp_path: Path, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    """Each part of the params of each method and tool."""
    async with opened(server, tmp_path, caplog) as place:
        await existing(place.http)
        for method, params in METHODS:
            for each in variants(params):
                if isinstance(each, dict):
                    await place.send(method, "POST", "/mcp", each, **message(version, method, each))
        assert place.faults == []

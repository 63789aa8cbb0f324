"""No answer repeats a large part of its request, over REST and over MCP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest
from google.protobuf.descriptor_pool import DescriptorPool

from tests.contrary import ContraryBackend, answering
from tests.gateways import serving
from tests.mcp.wire import DECLARED
from tests.rest import library
from tests.rest.library import method, rule

MOST: Final = 16 * 1024
LARGE: Final = "k" * 2_000_000
DEEP: Final = ".".join("a" * 1_000_000)
MODERN: Final = "2026-07-28"

BODIES: Final[dict[str, Any]] = {
    "an unknown field": {LARGE: 1},
    "an unknown field in a message": {"book": {LARGE: 1}},
    "an enum value": {"genre": LARGE},
    "enum values": {"genres": ["NOVEL", LARGE]},
    "a text for a number": {"copies": LARGE},
    "a text for a double": {"price": LARGE},
    "a text for a boolean": {"validateOnly": LARGE},
    "a text for a message": {"book": LARGE},
    "a large integer": {"etag": "9" * 2_000_000},
    "bytes": {"digest": LARGE + "!"},
    "a timestamp": {"asOf": LARGE},
    "a duration": {"timeout": LARGE},
    "a field mask": {"updateMask": LARGE},
    "a deep field mask": {"updateMask": DEEP},
    "a list for a field": {"updateMask": [LARGE]},
    "the type of an Any": {"any": {"@type": LARGE}},
    "the URL of an Any": {"any": {"@type": "type.googleapis.com/" + LARGE}},
    "the key of a map": {"labels": {LARGE: 1}},
    "control characters": {"\x01" * 600_000: 1},
    "letters beyond ASCII": {"\u20ac" * 600_000: 1},
    "many unknown fields": {f"{n:06}": 1 for n in range(100_000)},
}
TWICE: Final = f'{{"{LARGE}": 1, "{LARGE}": 2}}'
QUERIES: Final = ("backend", "fields", "$alt", "timeout", "pageToken", "filter", "x" * 40_000)
CALLS: Final[dict[str, dict[str, Any]]] = {
    "resources/read": {"uri": "operation://b/" + LARGE},
    "resources/read of another scheme": {"uri": LARGE},
    "resources/subscribe": {"uri": LARGE},
    "resources/list": {"cursor": LARGE},
    "tools/list": {"cursor": LARGE},
    "tools/call": {"name": LARGE, "arguments": {}},
    "tools/call of an argument": {"name": "get_operation", "arguments": {LARGE: 1}},
    "tools/call of a name": {"name": "get_operation", "arguments": {"name": LARGE + "//"}},
    "tools/call of a backend": {
        "name": "get_operation",
        "arguments": {"name": "jobs/1", "backend": LARGE},
    },
    "tools/call of a page token": {"name": "list_operations", "arguments": {"page_token": LARGE}},
    "tools/call of a time-out": {
        "name": "wait_operation",
        "arguments": {"name": "jobs/1", "timeout": LARGE},
    },
    "tasks/get": {"taskId": LARGE},
    "tasks/cancel": {"taskId": LARGE},
    "tasks/update": {"taskId": LARGE, "inputResponses": {LARGE[:9]: {}}},
    "completion/complete": {
        "ref": {"type": "ref/resource", "uri": LARGE},
        "argument": {"name": "name", "value": LARGE},
    },
    LARGE: {},
}


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Serve a gateway to a backend with a method that takes fields of every kind."""
    pool = DescriptorPool()
    for file in library.descriptor_set(method("Post", rule("POST", "/v1/books", "*"))).file:
        pool.Add(file)
    async with (
        ContraryBackend.open(
            {},
            methods={"library.v1.Library/Post": answering(b"")},
            pool=pool,
            reflection_versions=("v1",),
        ) as backend,
        serving({"name": "b", "target": backend.target, "methods": ["*/*"]}) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as opened,
    ):
        yield opened


def check(answer: httpx.Response, caplog: pytest.LogCaptureFixture) -> None:
    """Check that an answer and the log are small, and that the gateway has not failed."""
    assert len(answer.content) < MOST
    assert sum(len(value) for _, value in answer.headers.raw) < MOST
    assert answer.status_code < 500 or answer.json()["error"]["status"] == "UNIMPLEMENTED"
    assert all(len(each.getMessage()) < MOST for each in caplog.records)


@pytest.mark.parametrize("described", BODIES)
async def test_an_answer_does_not_repeat_a_large_body(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, described: str
) -> None:
    """The error of REST and the one of the tool have less than 16 KiB."""
    answer = await client.post("/v1/books", json=BODIES[described])
    check(answer, caplog)
    # The backend judges the paths of a field mask.
    assert answer.status_code == (200 if "mask" in described else 400)
    tools = await rpc(client, "tools/list", {})
    listed = json.loads(tools.content)["result"]["tools"]
    name = next(each["name"] for each in listed if "post" in each["name"].lower())
    check(
        await rpc(client, "tools/call", {"name": name, "arguments": BODIES[described]}),
        caplog,
    )


async def test_an_answer_does_not_repeat_a_large_key_that_was_given_twice(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The error has less than 16 KiB."""
    answer = await client.post("/v1/books", content=TWICE)
    check(answer, caplog)
    assert answer.status_code == 400


@pytest.mark.parametrize("key", QUERIES, ids=lambda key: key[:9])
async def test_an_answer_does_not_repeat_a_large_query(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    """The paths are those of operations and of a method."""
    for verb, path in (("GET", "/v1/operations"), ("POST", "/v1/jobs/1:wait"), ("GET", "/odd")):
        check(await client.request(verb, path, params={key: LARGE[:20_000]}), caplog)


@pytest.mark.parametrize("header", ["host", "origin", "x-goog-fieldmask", "grpc-timeout"])
async def test_an_answer_does_not_repeat_a_large_header(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, header: str
) -> None:
    """The value has almost the length that headers may have in all."""
    check(await client.get("/v1/jobs/1", headers={header: LARGE[:30_000]}), caplog)


@pytest.mark.parametrize("version", [MODERN, "2025-11-25"])
@pytest.mark.parametrize("described", CALLS, ids=lambda described: described[:40])
async def test_an_answer_of_mcp_does_not_repeat_a_large_parameter(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, described: str, version: str
) -> None:
    """The answer is a JSON-RPC error or the result of a tool."""
    answer = await rpc(client, described.partition(" of ")[0], CALLS[described], version)
    check(answer, caplog)
    assert "header" not in answer.text


async def rpc(
    client: httpx.AsyncClient, name: str, params: dict[str, Any], version: str = MODERN
) -> httpx.Response:
    """Send a request. A value that 2026-07-28 repeats in a header has at most 20,000 characters."""
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": version}
    if version == MODERN:
        headers["mcp-method"] = name[:100]
        for key in {"name", "uri", "taskId"} & set(params):
            headers["mcp-name"] = params[key][:20_000]
            params = {**params, key: headers["mcp-name"]}
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": DECLARED,
        }
        params = {**params, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": 1, "method": name, "params": params}
    return await client.post("/mcp", json=body, headers=headers)

"""google.api.HttpBody: raw bytes over REST, an image or an embedded resource over MCP."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import mcp_types as types
import pytest
from google.api import httpbody_pb2
from google.longrunning import operations_pb2
from google.protobuf import any_pb2
from jsonschema import Draft202012Validator
from mcp import Client

from tests.contrary import ContraryBackend, answering
from tests.gateways import serving
from tests.strange import Strange

PNG = b"\x89PNG\r\n\x1a\n\x00\xff"
HTTP_BODY = "google.api.HttpBody"
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'"


def files() -> Strange:
    """Return a service whose methods take and answer HttpBody in every place."""
    strange = Strange()
    strange.file.dependency.append("google/api/httpbody.proto")
    upload = strange.message("Upload", "name", "note")
    upload.field.add(name="file", number=9, type=11, label=1, type_name=f".{HTTP_BODY}")
    many = strange.message("Many", "name")
    many.field.add(name="files", number=9, type=11, label=3, type_name=f".{HTTP_BODY}")
    strange.message("Named", "name")
    strange.method("Get", "strange.Named", HTTP_BODY, get="/v1/{name=files/*}")
    strange.method("Post", HTTP_BODY, HTTP_BODY, post="/v1/files:convert", body="*")
    strange.method("Put", "strange.Upload", HTTP_BODY, put="/v1/{name=files/*}", body="file")
    strange.method(
        "Predict", "strange.Upload", HTTP_BODY, post="/v1/{name=files/*}:predict", body="*"
    )
    inner = {"get": "/v1/{name=files/*}:inner", "response_body": "file"}
    strange.method("Inner", "strange.Named", "strange.Upload", **inner)
    strange.method("Whole", "strange.Named", "strange.Upload", get="/v1/{name=files/*}:whole")
    strange.method("List", "strange.Many", "strange.Many", post="/v1/files:list", body="*")
    strange.method("Import", "strange.Upload", post="/v1/{name=files/*}:import", body="file")
    return strange


@asynccontextmanager
async def gateway(answer: Any, **server: Any) -> AsyncIterator[tuple[str, ContraryBackend]]:
    """Serve a gateway to a backend whose methods all give this answer."""
    strange = files()
    pool = strange.pool()
    methods = {f"strange.Strange/{each.name}": answering(answer) for each in strange.service.method}
    methods["strange.Strange/Import"] = answering(
        operations_pb2.Operation(name="jobs/1", done=True)
    )
    async with (
        ContraryBackend.open(
            {}, methods=methods, pool=pool, reflection_versions=("v1",)
        ) as backend,
        serving({"name": "b", "target": backend.target, "methods": ["*"]}, **server) as url,
    ):
        yield url, backend


def body(data: bytes, content_type: str = "", **fields: Any) -> Any:
    """Return an HttpBody."""
    return httpbody_pb2.HttpBody(content_type=content_type, data=data, **fields)


def upload(content: Any) -> bytes:
    """Return the bytes of a message strange.Upload, which holds this HttpBody."""
    inner: bytes = content.SerializeToString()
    return b"\x0a\x01n\x4a" + bytes([len(inner)]) + inner


async def test_the_bytes_and_their_content_type_are_the_response() -> None:
    """No part is changed. A browser neither guesses another type nor runs a script in a page."""
    async with gateway(body(PNG, "image/png")) as (url, _), httpx.AsyncClient(base_url=url) as rest:
        answer = await rest.get("/v1/files/a?$alt=json;enum-encoding=int&fields=x&prettyPrint=0")
        assert (answer.status_code, answer.content) == (200, PNG)
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["content-length"] == str(len(PNG))
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == SANDBOX
        head = await rest.head("/v1/files/a")
        assert (head.content, head.headers["content-length"]) == (b"", str(len(PNG)))
        assert (await rest.get("/v1/files/a?alt=media")).content == PNG
        refused = await rest.get("/v1/files/a?fitler=x")
        assert refused.json()["error"]["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("content_type", "sent"),
    [
        ("", "application/octet-stream"),
        ("text/csv", "text/csv"),
        ('text/plain; charset="utf-8"', 'text/plain; charset="utf-8"'),
        ("text/html\r\nset-cookie: a=b", "application/octet-stream"),
        ("text/html\n", "text/html"),
        ("text", "application/octet-stream"),
        ("text/é", "application/octet-stream"),
        ("a/" + "b" * 600, "application/octet-stream"),
    ],
)
async def test_a_content_type_that_is_empty_or_malformed_is_replaced(
    content_type: str, sent: str
) -> None:
    """A backend cannot add a header to the response."""
    async with (
        gateway(body(b"a,b", content_type)) as (url, _),
        httpx.AsyncClient(base_url=url) as rest,
    ):
        answer = await rest.get("/v1/files/a")
        assert (answer.headers["content-type"], answer.content) == (sent, b"a,b")
        assert "set-cookie" not in answer.headers


async def test_a_response_body_may_be_a_field_and_other_bodies_stay_json() -> None:
    """Only a body that is the whole HTTP response can be raw."""
    async with (
        gateway(upload(body(PNG, "image/png"))) as (url, _),
        httpx.AsyncClient(base_url=url) as rest,
    ):
        inner = await rest.get("/v1/files/a:inner")
        assert (inner.content, inner.headers["content-type"]) == (PNG, "image/png")
        whole = await rest.get("/v1/files/a:whole")
        data = base64.b64encode(PNG).decode()
        assert whole.json() == {"name": "n", "file": {"contentType": "image/png", "data": data}}
    async with gateway(b"") as (url, _), httpx.AsyncClient(base_url=url) as rest:
        empty = await rest.get("/v1/files/a:inner")
        assert (empty.content, empty.headers["content-type"]) == (b"", "application/octet-stream")


UPLOADED = [
    ("POST", "/v1/files:convert", lambda request: request),
    ("PUT", "/v1/files/a?note=n", lambda request: request.file),
    ("POST", "/v1/files/a:predict?note=n", lambda request: request.file),
    ("POST", "/v1/files/a:import?note=n", lambda request: request.file),
]


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (PNG, "image/png"),
        (b'{"a": 1}', "application/json"),
        (b"", ""),
        (b"\xff{", "text/plain; x=y"),
    ],
)
@pytest.mark.parametrize(("verb", "path", "received"), UPLOADED)
async def test_the_bytes_and_the_content_type_of_an_upload_arrive(
    verb: str, path: str, received: Any, content: bytes, content_type: str
) -> None:
    """The other fields come from the path and the query, also if the rule has `body: "*"`."""
    headers = {"content-type": content_type} if content_type else {}
    async with gateway(body(b"")) as (url, backend), httpx.AsyncClient(base_url=url) as rest:
        answer = await rest.request(verb, path, content=content, headers=headers)
        assert answer.status_code == 200
        (call,) = backend.answered
        arrived = received(call.request)
        assert (arrived.data, arrived.content_type) == (content, content_type)
        if "note" in path:
            assert (call.request.name, call.request.note) == ("files/a", "n")


async def test_the_default_route_takes_every_field_of_a_request_as_json() -> None:
    """It takes raw bytes only if the request itself is an HttpBody."""
    request = {"name": "n", "file": {"contentType": "a/b", "data": "AA=="}}
    async with gateway(body(PNG)) as (url, backend), httpx.AsyncClient(base_url=url) as rest:
        answer = await rest.post("/v1/strange.Strange/Predict", json=request)
        assert answer.content == PNG
        received = backend.answered[0].request
        assert (received.name, received.file.data) == ("n", b"\0")
        await rest.post("/v1/strange.Strange/Post", content=PNG)
        assert backend.answered[1].request.data == PNG


async def test_an_upload_that_cannot_be_passed_on_is_refused() -> None:
    """It is too large, it is compressed, or several fields could hold it."""
    async with (
        gateway(body(b""), max_body_bytes=1024) as (url, backend),
        httpx.AsyncClient(base_url=url) as rest,
    ):
        large = await rest.put("/v1/files/a", content=b"x" * 2000)
        assert (large.status_code, backend.answered) == (413, [])
        gzip = {"content-encoding": "gzip"}
        packed = await rest.put("/v1/files/a", content=b"x", headers=gzip)
        assert packed.json()["error"]["message"].startswith("content-encoding: ")
        packed = await rest.post("/v1/files:list", content=b"\x1f\x8b", headers=gzip)
        assert packed.json()["error"]["message"].startswith("content-encoding: ")
        unknown = await rest.put("/v1/files/a?file.data=x", content=b"x")
        assert unknown.json()["error"]["message"] == "file.data: must be given in the body"
        several = await rest.post("/v1/files:list", content=PNG)
        assert several.json()["error"]["message"].startswith("the body is not JSON")
        assert backend.answered == []
        files = {"files": [{"contentType": "a/b", "data": "AA=="}]}
        assert (await rest.post("/v1/files:list", json=files)).status_code == 200


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
@pytest.mark.parametrize(
    ("content", "content_type", "form", "text"),
    [
        (b"a,b\n", "text/csv", "text", "a,b\n"),
        ("é".encode(), "application/problem+json; charset=utf-8", "text", "é"),
        (b"\xff", "text/plain", "blob", "/w=="),
        (PNG, "image/tiff", "blob", base64.b64encode(PNG).decode()),
        (PNG, "audio/wav", "blob", base64.b64encode(PNG).decode()),
        (PNG, "", "blob", base64.b64encode(PNG).decode()),
    ],
)
async def test_over_mcp_an_answer_is_an_embedded_resource_and_base64(
    mode: Any, content: bytes, content_type: str, form: str, text: str
) -> None:
    """`structuredContent` is the ProtoJSON, and valid by the output schema."""
    kind = content_type or "application/octet-stream"
    async with (
        gateway(body(content, content_type)) as (url, _),
        Client(f"{url}/mcp", mode=mode) as client,
    ):
        result = await client.call_tool("get", {"name": "files/a"})
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    resource = result.content[2]
    assert isinstance(resource, types.EmbeddedResource)
    assert getattr(resource.resource, form) == text
    assert resource.resource.mime_type == kind
    typed = {"contentType": content_type} if content_type else {}
    data = base64.b64encode(content).decode()
    assert result.structured_content == {**typed, "data": data}
    Draft202012Validator(tools["get"].output_schema or {}).validate(result.structured_content)
    assert "data is base64" in (tools["get"].description or "")
    described = result.content[1]
    assert isinstance(described, types.TextContent)
    assert f"{len(content)} bytes of type {kind}" in described.text


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_over_mcp_an_image_is_a_block_that_a_model_sees(mode: Any) -> None:
    """Only images of types that every provider of models accepts are such blocks."""
    async with (
        gateway(body(PNG, "image/png")) as (url, _),
        Client(f"{url}/mcp", mode=mode) as client,
    ):
        result = await client.call_tool("get", {"name": "files/a"})
    _, described, image = result.content
    data = base64.b64encode(PNG).decode()
    assert image == types.ImageContent(type="image", data=data, mime_type="image/png")
    assert isinstance(described, types.TextContent)
    assert f"{len(PNG)} bytes of type image/png, which are embedded as an image." in described.text
    assert result.structured_content == {"contentType": "image/png", "data": data}


async def test_over_mcp_an_upload_is_base64() -> None:
    """The schema of the arguments says so."""
    async with (
        gateway(body(b"")) as (url, backend),
        Client(f"{url}/mcp", mode="2026-07-28") as client,
    ):
        file = {"contentType": "image/png", "data": base64.b64encode(PNG).decode()}
        await client.call_tool("put", {"name": "files/a", "file": file})
        (tool,) = (t for t in (await client.list_tools()).tools if t.name == "put")
    assert backend.answered[0].request.file.data == PNG
    data = tool.input_schema["properties"]["file"]["properties"]["data"]
    assert data == {"type": "string", "description": "In base64."}


async def test_the_document_says_which_bodies_are_raw() -> None:
    """A raw body may have any content type."""
    raw = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
    async with gateway(body(b"")) as (url, _), httpx.AsyncClient(base_url=url) as rest:
        paths = (await rest.get("/openapi.json")).json()["paths"]
    put = next(item["put"] for item in paths.values() if "put" in item)
    assert put["requestBody"] == {"content": raw, "required": True}
    assert put["responses"]["200"]["content"] == raw
    predict = next(item["post"] for path, item in paths.items() if path.endswith(":predict"))
    assert predict["requestBody"]["content"] == raw
    assert [each["name"] for each in predict["parameters"]] == ["filesId", "note"]
    whole = next(item["get"] for path, item in paths.items() if path.endswith(":whole"))
    assert list(whole["responses"]["200"]["content"]) == ["application/json"]


async def test_an_http_body_in_an_operation_stays_readable_json() -> None:
    """An Any holds it, so its bytes are base64."""
    packed = any_pb2.Any()
    packed.Pack(body(PNG, "image/png"))
    operation = operations_pb2.Operation(name="jobs/1", done=True, response=packed)
    strange = files()
    async with (
        ContraryBackend.open(
            {"GetOperation": answering(operation)},
            methods={"strange.Strange/Get": answering(body(b""))},
            pool=strange.pool(),
            reflection_versions=("v1",),
        ) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        httpx.AsyncClient(base_url=url) as rest,
    ):
        assert (await rest.get("/v1/jobs/1")).json()["response"] == {
            "@type": f"type.googleapis.com/{HTTP_BODY}",
            "contentType": "image/png",
            "data": base64.b64encode(PNG).decode(),
        }

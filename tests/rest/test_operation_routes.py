"""The REST face as HTTP: paths, parameters, headers and bodies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, json_format

from tests.contrary import Answer, ContraryBackend, acknowledging, refusing
from tests.gateways import serving
from tests.shapes import message, pool

METADATA = any_pb2.Any()
METADATA.Pack(message("Everything", big=1, color=2, job=message("Job", progress_percent=7)))
METADATA_JSON = {
    "@type": "type.googleapis.com/shapes.v1.Everything",
    "big": "1",
    "color": "BLUE",
    "job": {"progressPercent": 7},
}


async def get(request: Any, context: Any) -> Answer:
    """Answer any operation, one that runs unless its name says otherwise."""
    if request.name.startswith("none/"):
        return await refusing(grpc.StatusCode.NOT_FOUND, "no such job")(request, context)
    done = request.name.startswith("done/")
    answer: Answer = operations_pb2.Operation(name=request.name, done=done, metadata=METADATA)
    return answer


async def wait(request: Any, _context: Any) -> Answer:
    """Answer that it is done."""
    answer: Answer = operations_pb2.Operation(name=request.name, done=True)
    return answer


async def listed(_request: Any, _context: Any) -> Answer:
    """Answer one operation, and that there are more."""
    answer: Answer = operations_pb2.ListOperationsResponse(
        operations=[operations_pb2.Operation(name="jobs/1", metadata=METADATA)],
        next_page_token="more",  # noqa: S106 - a backend's page token
        unreachable=["jobs/far"],
    )
    return answer


@pytest.fixture(scope="module")
async def backend() -> AsyncIterator[ContraryBackend]:
    """Serve any operation."""
    handlers = {
        "GetOperation": get,
        "ListOperations": listed,
        "WaitOperation": wait,
        "CancelOperation": acknowledging(),
        "DeleteOperation": acknowledging(),
    }
    async with ContraryBackend.open(handlers, reflection_versions=("v1",), pool=pool()) as opened:
        yield opened


@pytest.fixture(scope="module")
async def gateway_url(backend: ContraryBackend) -> AsyncIterator[str]:
    """Serve a gateway to it."""
    async with serving({"name": "b", "target": backend.target}) as url:
        yield url


@pytest.fixture
async def client(backend: ContraryBackend, gateway_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client; what the backend was asked before is forgotten."""
    backend.calls.clear()
    async with httpx.AsyncClient(base_url=gateway_url) as opened:
        yield opened


def asked(backend: ContraryBackend) -> list[tuple[str, str]]:
    """Return the RPCs that the backend got, and the names in them."""
    return [
        (call.method, call.request.name)
        for call in backend.calls
        if not call.method.startswith("reflection")
    ]


def error_of(response: httpx.Response) -> Any:
    """Return the error in a body that has exactly Google's keys."""
    assert response.headers["content-type"].startswith("application/json")
    body = response.json()
    assert list(body) == ["error"]
    error = body["error"]
    assert set(error) <= {"code", "message", "status", "details"}
    assert error["code"] == response.status_code
    return error


async def raw(url: str, request: bytes) -> tuple[bytes, bytes]:
    """Send bytes as they are; return the head and the body of the answer."""
    reader, writer = await asyncio.open_connection(*urlsplit(url).netloc.split(":"))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize("version", ["v1", "v2", "v10", "v1beta1", "v1alpha", "v1p1beta1"])
async def test_any_version_prefix_will_do(client: httpx.AsyncClient, version: str) -> None:
    """Services have versions of their own; the operations are the same."""
    response = await client.get(f"/{version}/done/1")
    assert (response.status_code, response.json()) == (
        200,
        {"name": "done/1", "metadata": METADATA_JSON, "done": True},
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/jobs/1"),
        ("GET", "/v0/jobs/1"),
        ("GET", "/version1/jobs/1"),
        ("GET", "/v1x/jobs/1"),
        ("POST", "/v1/jobs/1"),
        ("POST", "/v1/jobs/1:stop"),
        ("POST", "/v1/operations"),
        ("GET", "/redoc"),
        ("GET", "/caf%C3%A9/%00/%0A"),
    ],
)
async def test_an_unknown_path_is_told_in_json(
    client: httpx.AsyncClient, backend: ContraryBackend, method: str, path: str
) -> None:
    """404 with the gateway's own ErrorInfo."""
    response = await client.request(method, path)
    error = error_of(response)
    assert (response.status_code, error["status"]) == (404, "NOT_FOUND")
    assert (error["details"][0]["reason"], error["details"][0]["domain"]) == (
        "UNKNOWN_PATH",
        "lro-gateway",
    )
    assert asked(backend) == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/v1/jobs/1", "/livez", "/openapi.json"])
async def test_a_method_that_is_not_offered_is_told_in_json(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    """405 with `Allow` and the gateway's own ErrorInfo."""
    response = await client.request(method, path)
    error = error_of(response)
    assert (response.status_code, error["status"]) == (405, "UNIMPLEMENTED")
    assert (error["details"][0]["reason"], error["details"][0]["metadata"]) == (
        "METHOD_NOT_ALLOWED",
        {"method": method},
    )
    assert "GET" in response.headers["allow"]


async def test_head_is_get_without_the_body(client: httpx.AsyncClient) -> None:
    """With the same headers."""
    got = await client.get("/v1/jobs/1")
    head = await client.head("/v1/jobs/1")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-length", "content-type"):
        assert head.headers[name] == got.headers[name]


async def test_the_answers_have_no_fields_beyond_googles(client: httpx.AsyncClient) -> None:
    """Google's own strict parser takes them, with the types of the payloads at hand."""
    operation = operations_pb2.Operation()
    json_format.Parse((await client.get("/v1/jobs/1")).text, operation, descriptor_pool=pool())
    assert operation == operations_pb2.Operation(name="jobs/1", metadata=METADATA)
    page = operations_pb2.ListOperationsResponse()
    json_format.Parse((await client.get("/v1/operations")).text, page, descriptor_pool=pool())
    assert page.operations[0] == operation
    assert page.unreachable == ["jobs/far"]


async def test_both_spellings_of_a_parameter_are_read(
    client: httpx.AsyncClient, backend: ContraryBackend
) -> None:
    """As ProtoJSON has it in camelCase, and as the message does in snake_case."""
    for query in (
        "pageSize=5&returnPartialSuccess=true&filter=a%3Db",
        "page_size=5&return_partial_success=1&filter=a%3Db",
        "page_size=5&returnPartialSuccess=TRUE&filter=a%3db",
    ):
        assert (await client.get(f"/v1/operations?{query}")).status_code == 200
    wanted = operations_pb2.ListOperationsRequest(
        filter="a=b", page_size=5, return_partial_success=True
    )
    assert [call.request for call in backend.calls if call.method == "ListOperations"] == [
        wanted
    ] * 3


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("pageSize=1&page_size=2", "page_size"),
        ("pageSize=1&pageSize=1", "pageSize"),
        ("returnPartialSuccess=", "returnPartialSuccess"),
        ("alt=media", "alt"),
        ("$alt=json;enum-encoding=roman", "alt"),
        ("prettyPrint=perhaps", "prettyPrint"),
        ("fields=a(", "fields"),
        ("fields=a)", "fields"),
        ("fields=a,,b", "fields"),
        ("fields=/a", "fields"),
        ("fields=a%20b%00", "fields"),
        ("fields=" + "a(" * 40 + "b" + ")" * 40, "fields"),
        ("fields=" + "a" * 3000, "fields"),
    ],
)
async def test_a_parameter_that_is_not_as_it_must_be_is_named(
    client: httpx.AsyncClient, backend: ContraryBackend, query: str, field: str
) -> None:
    """INVALID_ARGUMENT, without asking the backend."""
    response = await client.get(f"/v1/operations?{query}")
    error = error_of(response)
    assert (response.status_code, error["status"]) == (400, "INVALID_ARGUMENT")
    assert [v["field"] for d in error["details"] for v in d.get("fieldViolations", ())] == [field]
    assert asked(backend) == []


async def test_a_query_that_is_not_utf8_is_refused(client: httpx.AsyncClient) -> None:
    """Rather than guessed at."""
    response = await client.get("/v1/operations?filter=%ff")
    assert (response.status_code, error_of(response)["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?",
        "?$.xgafv=2&$callback=x&$trace=email:a",
        "?key=k&quotaUser=u&uploadType=x",
        "?alt=json",
    ],
)
async def test_system_parameters_that_mean_nothing_here_are_ignored(
    gateway_url: str, query: str
) -> None:
    """So is a bare question mark, and a Content-Type on GET."""
    request = f"GET /v1/done/1{query} HTTP/1.1\r\nHost: localhost\r\n"
    framing = "Content-Type: application/json\r\nConnection: close\r\n\r\n"
    head, body = await raw(gateway_url, (request + framing).encode())
    assert head.startswith(b"HTTP/1.1 200")
    assert json.loads(body)["name"] == "done/1"


@pytest.mark.parametrize("parameter", ["alt", "$alt", "%24alt"])
async def test_enums_come_as_numbers_where_that_is_asked_for(
    client: httpx.AsyncClient, parameter: str
) -> None:
    """As Google's REST clients do."""
    response = await client.get(f"/v1/jobs/1?{parameter}=json%3Benum-encoding%3Dint")
    assert response.json()["metadata"]["color"] == 2


async def test_pretty_print_can_be_turned_off(client: httpx.AsyncClient) -> None:
    """It is on for people, and off for programs that say so."""
    pretty = await client.get("/v1/done/1?fields=name")
    plain = await client.get("/v1/done/1?fields=name&prettyPrint=false")
    assert (pretty.text, plain.text) == ('{\n  "name": "done/1"\n}\n', '{"name":"done/1"}')


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("name,done", {"name": "jobs/1", "done": False}),
        ("metadata/job/progressPercent", {"metadata": {"job": {"progressPercent": 7}}}),
        ("metadata.big", {"metadata": {"big": "1"}}),
        ("metadata(big,color)", {"metadata": {"big": "1", "color": "BLUE"}}),
        ("metadata(@type)", {"metadata": {"@type": METADATA_JSON["@type"]}}),
        ("metadata/job/*", {"metadata": {"job": {"progressPercent": 7}}}),
        ("*", {"name": "jobs/1", "metadata": METADATA_JSON, "done": False}),
        ("response", {}),
        ("metadata,metadata/big", {"metadata": METADATA_JSON}),
        ("metadata/big,metadata", {"metadata": METADATA_JSON}),
        (
            "metadata(job(x)),metadata(job/progressPercent)",
            {"metadata": {"job": {"progressPercent": 7}}},
        ),
    ],
)
async def test_only_the_fields_that_are_asked_for_come(
    client: httpx.AsyncClient, fields: str, expected: Any
) -> None:
    """Paths, groups and `*`; what is not there is not an error."""
    response = await client.get("/v1/jobs/1", params={"fields": fields})
    assert response.json() == expected


async def test_fields_look_through_lists(client: httpx.AsyncClient) -> None:
    """Of a page, the names and the token."""
    response = await client.get("/v1/operations?fields=operations/name,unreachable")
    assert response.json() == {"operations": [{"name": "jobs/1"}], "unreachable": ["jobs/far"]}


async def test_an_unchanged_operation_is_not_sent_again(client: httpx.AsyncClient) -> None:
    """304 for the tag, a weak form of it, one of several, and `*`; else the operation."""
    first = await client.get("/v1/jobs/1")
    tag = first.headers["etag"]
    statuses = [
        (await client.get("/v1/jobs/1", headers={"If-None-Match": known})).status_code
        for known in (tag, f"W/{tag}", f'"x", {tag}', "*", '"x"', tag.strip('"'))
    ]
    assert statuses == [304, 304, 304, 304, 200, 200]
    same = await client.get("/v1/jobs/1", headers={"If-None-Match": tag})
    assert (same.content, same.headers["etag"]) == (b"", tag)
    assert (await client.get("/v1/jobs/2")).headers["etag"] != tag


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/jobs/a%2Fb", "jobs/a%2Fb"),
        ("/v1/jobs/a%2fb", "jobs/a%2Fb"),
        ("/v1/jobs/%28default%29", "jobs/(default)"),
        ("/v1/jobs/(default)", "jobs/(default)"),
        ("/v1/jobs/a%20b", "jobs/a b"),
        ("/v1/jobs/a+b", "jobs/a+b"),
        ("/v1/jobs/%C3%A9", "jobs/é"),
        ("/v1/jobs/%25", "jobs/%"),
        ("/v1/jobs/a%3Ab", "jobs/a:b"),
        ("/v1/jobs/a%3Fb%23c", "jobs/a?b#c"),
        ("/v1/operations/x", "operations/x"),
        ("/v1/a/operations/b/c", "a/operations/b/c"),
        ("/v1/projects%2Fp%2Foperations%2F1", "projects/p/operations/1"),
    ],
)
async def test_a_path_is_decoded_but_for_escaped_slashes(
    gateway_url: str, backend: ContraryBackend, path: str, name: str
) -> None:
    """As servers do in `{name=**}`; a name that was escaped whole is decoded whole."""
    backend.calls.clear()
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    head, _ = await raw(gateway_url, request.encode())
    assert head.startswith(b"HTTP/1.1 200")
    assert asked(backend) == [("GetOperation", name)]


@pytest.mark.parametrize("path", ["/v1/jobs/%ff", "/v1/jobs/%C3", "/v1/jobs/%ED%A0%80"])
async def test_a_path_that_is_not_utf8_is_refused(
    client: httpx.AsyncClient, backend: ContraryBackend, path: str
) -> None:
    """INVALID_ARGUMENT, without asking the backend."""
    response = await client.get(path)
    assert (response.status_code, error_of(response)["status"]) == (400, "INVALID_ARGUMENT")
    assert asked(backend) == []


async def test_cancel_takes_an_empty_body_and_an_empty_object(
    client: httpx.AsyncClient, backend: ContraryBackend
) -> None:
    """Success of cancel and delete is `{}`."""
    answers = [
        await client.post("/v1/jobs/1:cancel"),
        await client.post("/v1/jobs/1:cancel", json={}),
        await client.post("/v1/jobs/a:b:cancel", content=b"  \n"),
        await client.delete("/v1/jobs/1"),
    ]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {})] * 4
    assert asked(backend) == [
        ("CancelOperation", "jobs/1"),
        ("CancelOperation", "jobs/1"),
        ("CancelOperation", "jobs/a:b"),
        ("DeleteOperation", "jobs/1"),
    ]


async def test_wait_takes_its_timeout_from_the_body_or_the_query(
    client: httpx.AsyncClient, backend: ContraryBackend
) -> None:
    """Twice the same is fine, two different ones are not."""
    path = "/v1/jobs/1:wait"
    answers = [
        await client.post(path, json={"timeout": "20s"}),
        await client.post(f"{path}?timeout=20s"),
        await client.post(f"{path}?timeout=20s", json={"timeout": "20s", "name": "jobs/1"}),
        await client.post(path),
    ]
    assert [answer.json() for answer in answers] == [{"name": "jobs/1", "done": True}] * 4
    backend.calls.clear()
    contradictions = [
        await client.post(f"{path}?timeout=20s", json={"timeout": "21s"}),
        await client.post(path, json={"name": "jobs/2"}),
        await client.post(path, json={"nmae": "jobs/2"}),
        await client.post(path, json={"timeout": 5}),
    ]
    fields = [
        [v["field"] for d in error_of(r)["details"] for v in d.get("fieldViolations", ())]
        for r in contradictions
    ]
    assert fields == [["timeout"], ["name"], ["nmae"], ["timeout"]]
    assert asked(backend) == []


async def test_a_backends_error_body_has_googles_form(client: httpx.AsyncClient) -> None:
    """Exactly `code`, `message`, `status`, and `details` where there are any."""
    response = await client.get("/v1/none/1")
    assert (response.status_code, response.json()) == (
        404,
        {"error": {"code": 404, "message": "no such job", "status": "NOT_FOUND"}},
    )

"""The REST face as HTTP: paths, parameters, headers and bodies."""

from __future__ import annotations

import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf import json_format

from tests.contrary import ContraryBackend
from tests.rest.exchanges import METADATA, METADATA_JSON, error_of, rpcs
from tests.shapes import pool


@pytest.mark.parametrize("version", ["v1", "v2", "v10", "v1beta1", "v1alpha", "v1p1beta1"])
async def test_a_path_may_begin_with_any_version(client: httpx.AsyncClient, version: str) -> None:
    """Backends have different versions, and all versions lead to the same operations."""
    response = await client.get(f"/{version}/done/1")
    assert (response.status_code, response.json()) == (
        200,
        {"name": "done/1", "metadata": METADATA_JSON, "done": True},
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("GET", "/v1"),
        ("GET", "/jobs/1"),
        ("GET", "/v0/jobs/1"),
        ("GET", "/version1/jobs/1"),
        ("GET", "/v1x/jobs/1"),
        ("POST", "/v1/jobs/1"),
        ("POST", "/v1/jobs/1:stop"),
        ("GET", "/redoc"),
        ("GET", "/caf%C3%A9/%00/%0A"),
    ],
)
async def test_an_unknown_path_is_a_404_in_json(
    client: httpx.AsyncClient, backend: ContraryBackend, method: str, path: str
) -> None:
    """The body has an ErrorInfo of the gateway, and no backend is called."""
    response = await client.request(method, path)
    error = error_of(response)
    assert (response.status_code, error["status"]) == (404, "NOT_FOUND")
    assert (error["details"][0]["reason"], error["details"][0]["domain"]) == (
        "UNKNOWN_PATH",
        "lro-gateway",
    )
    assert rpcs(backend) == []


ALLOWED = {
    "/v1/jobs/1": "DELETE, GET, HEAD",
    "/v1/x/operations/1": "DELETE, GET, HEAD",
    "/v1/jobs/1:cancel": "POST",
    "/v1/jobs/1:wait": "POST",
    "/v1/jobs/1:watch": "GET, HEAD",
    "/v1/operations": "GET, HEAD",
    "/v1/jobs/operations": "GET, HEAD",
    "/v1/operations:watch": "GET, HEAD",
    "/livez": "GET, HEAD",
    "/readyz": "GET, HEAD",
    "/docs": "GET, HEAD",
    "/openapi.json": "GET, HEAD",
    "/mcp": "POST",
    "/mcp/": "POST",
}


@pytest.mark.parametrize("path", ALLOWED)
async def test_the_header_allow_of_each_path_is_true(client: httpx.AsyncClient, path: str) -> None:
    """A verb is refused with 405 if and only if the header does not list it."""
    expected = ALLOWED[path]
    options = await client.options(path)
    assert (options.status_code, options.content) == (204, b"")
    assert options.headers["allow"] == expected
    for verb in ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "TRACE", "PROPFIND"):
        if path.endswith("watch") and verb in expected:
            continue  # A watch of a list does not end.
        response = await client.request(verb, path)
        if (verb, path) == ("POST", "/v1/jobs/1"):
            # The path is more likely a start with a wrong path.
            assert response.status_code == 404
        elif verb in expected.split(", "):
            assert response.status_code not in {404, 405}
        else:
            assert (response.status_code, response.headers["allow"]) == (405, expected)


async def test_a_405_is_an_error_in_json(client: httpx.AsyncClient) -> None:
    """The error says which verbs to use."""
    response = await client.get("/v1/jobs/1:cancel")
    error = error_of(response)
    assert (response.status_code, error["status"]) == (405, "UNIMPLEMENTED")
    assert error["message"] == "GET is not offered at this path; use POST"
    assert (error["details"][0]["reason"], error["details"][0]["metadata"]) == (
        "METHOD_NOT_ALLOWED",
        {"method": "GET", "allowed": "POST"},
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/jobs/1"),
        ("GET", "/v1/jobs/1:watch"),
        ("GET", "/v1/operations"),
        ("GET", "/v1/operations:watch"),
        ("POST", "/v1/jobs/1:wait"),
    ],
)
async def test_the_error_for_an_unknown_parameter_lists_the_summary_too(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    """Whatever the query of a read may have is in the list."""
    error = error_of(await client.request(method, path, params={"summery": "true"}))
    listed = error["message"].partition("there are: ")[2].split(", ")
    assert (error["details"][0]["reason"], listed[0]) == ("UNKNOWN_FIELD", "summary")
    assert {"backend", "fields", "prettyPrint", "alt"} < set(listed)


async def test_head_is_get_without_the_body(client: httpx.AsyncClient) -> None:
    """Both responses have the same headers."""
    got = await client.get("/v1/jobs/1")
    head = await client.head("/v1/jobs/1")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-length", "content-type"):
        assert head.headers[name] == got.headers[name]


async def test_the_responses_have_no_fields_but_googles(client: httpx.AsyncClient) -> None:
    """Google's strict parser accepts them if it has the types of the payloads."""
    operation = operations_pb2.Operation()
    json_format.Parse((await client.get("/v1/jobs/1")).text, operation, descriptor_pool=pool())
    assert operation == operations_pb2.Operation(name="jobs/1", metadata=METADATA)
    page = operations_pb2.ListOperationsResponse()
    json_format.Parse((await client.get("/v1/operations")).text, page, descriptor_pool=pool())
    assert page.operations[0] == operation
    assert page.unreachable == ["jobs/far"]


async def test_cancel_takes_an_empty_body_and_an_empty_object(
    client: httpx.AsyncClient, backend: ContraryBackend
) -> None:
    """A successful cancel or delete answers `{}`."""
    answers = [
        await client.post("/v1/jobs/1:cancel"),
        await client.post("/v1/jobs/1:cancel", json={}),
        await client.post("/v1/jobs/a:b:cancel", content=b"  \n"),
        await client.delete("/v1/jobs/1"),
    ]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {})] * 4
    assert rpcs(backend) == [
        ("CancelOperation", "jobs/1"),
        ("CancelOperation", "jobs/1"),
        ("CancelOperation", "jobs/a:b"),
        ("DeleteOperation", "jobs/1"),
    ]


async def test_wait_takes_its_timeout_from_the_body_or_the_query(
    client: httpx.AsyncClient, backend: ContraryBackend
) -> None:
    """A field may be given twice with one value, but not with two different values."""
    path = "/v1/jobs/1:wait"
    answers = [
        await client.post(path, json={"timeout": 20}),
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
        await client.post(path, json={"timeout": "5"}),
    ]
    fields = [
        [v["field"] for d in error_of(r)["details"] for v in d.get("fieldViolations", ())]
        for r in contradictions
    ]
    assert fields == [["timeout"], ["name"], ["nmae"], ["timeout"]]
    assert rpcs(backend) == []

"""The path, the query and the body of a request."""

from __future__ import annotations

import json

import httpx
import pytest
from google.longrunning import operations_pb2

from tests.contrary import ContraryBackend
from tests.rest.exchanges import error_of, raw, rpcs


async def test_both_spellings_of_a_parameter_are_accepted(
    client: httpx.AsyncClient, backend: ContraryBackend
) -> None:
    """CamelCase is ProtoJSON's spelling, and snake_case is the proto file's."""
    for query in (
        "pageSize=5&returnPartialSuccess=true&filter=a%3Db",
        "page_size=5&return_partial_success=1&filter=a%3Db",
        "page_size=5&returnPartialSuccess=TRUE&filter=a%3db",
    ):
        assert (await client.get(f"/v1/operations?{query}")).status_code == 200
    expected = operations_pb2.ListOperationsRequest(
        filter="a=b", page_size=5, return_partial_success=True
    )
    assert [call.request for call in backend.calls if call.method == "ListOperations"] == [
        expected
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
    ],
)
async def test_a_parameter_with_an_invalid_value_is_named(
    client: httpx.AsyncClient, backend: ContraryBackend, query: str, field: str
) -> None:
    """The error is INVALID_ARGUMENT, and no backend is called."""
    response = await client.get(f"/v1/operations?{query}")
    error = error_of(response)
    assert (response.status_code, error["status"]) == (400, "INVALID_ARGUMENT")
    assert [v["field"] for d in error["details"] for v in d.get("fieldViolations", ())] == [field]
    assert rpcs(backend) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"timeout": "1s", "timeout": "9s"}', "'timeout': is given twice in one object"),
        (b'{"a": [{"b": 1, "b": 1}]}', "'b': is given twice in one object"),
        (b'"{}"', "the body is not a JSON object, but a string that holds JSON"),
        (b"[1]", "the body is not a JSON object, but a list"),
        (b'{"timeout": ' + b"[" * 1000 + b"]" * 1000 + b"}", "timeout: "),
        (b'{"timeout": ' + b"9" * 300 + b"}", "timeout: "),
    ],
    ids=["key", "inner key", "string", "list", "deep", "large"],
)
async def test_a_body_that_is_ambiguous_or_no_object_is_refused(
    client: httpx.AsyncClient, backend: ContraryBackend, content: bytes, problem: str
) -> None:
    """A parser that keeps the last of two values would hide that the caller made a mistake."""
    error = error_of(await client.post("/v1/jobs/1:wait", content=content))
    assert error["message"].startswith(problem)
    assert rpcs(backend) == []


async def test_a_query_that_is_not_utf8_is_refused(client: httpx.AsyncClient) -> None:
    """The gateway does not guess the encoding."""
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
async def test_system_parameters_without_a_meaning_here_are_ignored(
    gateway_url: str, query: str
) -> None:
    """A bare question mark and a Content-Type on GET are ignored too."""
    request = f"GET /v1/done/1{query} HTTP/1.1\r\nHost: localhost\r\n"
    framing = "Content-Type: application/json\r\nConnection: close\r\n\r\n"
    head, body = await raw(gateway_url, (request + framing).encode())
    assert head.startswith(b"HTTP/1.1 200")
    assert json.loads(body)["name"] == "done/1"


@pytest.mark.parametrize("parameter", ["alt", "$alt", "%24alt"])
async def test_alt_with_enum_encoding_int_prints_enums_as_numbers(
    client: httpx.AsyncClient, parameter: str
) -> None:
    """Google's REST clients send this parameter."""
    response = await client.get(f"/v1/jobs/1?{parameter}=json%3Benum-encoding%3Dint")
    assert response.json()["metadata"]["color"] == 2


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
async def test_a_path_is_decoded_except_for_escaped_slashes(
    gateway_url: str, backend: ContraryBackend, path: str, name: str
) -> None:
    """`{name=**}` keeps `%2F`, but a path without a slash is a name that was escaped whole."""
    backend.calls.clear()
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    head, _ = await raw(gateway_url, request.encode())
    assert head.startswith(b"HTTP/1.1 200")
    assert rpcs(backend) == [("GetOperation", name)]


@pytest.mark.parametrize("path", ["/v1/jobs/%ff", "/v1/jobs/%C3", "/v1/jobs/%ED%A0%80"])
async def test_a_path_that_is_not_utf8_is_refused(
    client: httpx.AsyncClient, backend: ContraryBackend, path: str
) -> None:
    """The error is INVALID_ARGUMENT, and no backend is called."""
    response = await client.get(path)
    assert (response.status_code, error_of(response)["status"]) == (400, "INVALID_ARGUMENT")
    assert rpcs(backend) == []


async def test_an_agreement_is_true_or_false_and_nothing_else(
    client: httpx.AsyncClient, backend: ContraryBackend
) -> None:
    """A value that a client means as an agreement does not silently count as none."""
    for value, status in (("true", 200), ("TRUE", 200), ("false", 200), ("1", 400), ("yes", 400)):
        headers = {"lro-gateway-confirmed": value}
        answer = await client.post("/v1/jobs/1:cancel", headers=headers)
        assert (value, answer.status_code) == (value, status)
    assert backend.count("CancelOperation") == 3

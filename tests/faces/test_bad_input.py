"""Every face refuses bad input with the same status, reason and field."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from google.longrunning import operations_pb2

from tests.contrary import ContraryBackend, answering, knowing
from tests.gateways import FACES, FaceName, behind, opened, refusal, serving

DONE = operations_pb2.Operation(name="jobs/1", done=True)
ALL = knowing(DONE)
VERBS = ("get", "wait", "cancel", "delete")


MALFORMED = {
    "a leading slash": "/jobs/1",
    "a trailing slash": "jobs/1/",
    "a double slash": "jobs//1",
    "a parent": "jobs/../1",
    "a dot": "./jobs",
    "a NUL": "jobs/\0",
    "a line break": "jobs/1\n",
    "an escape": "jobs/\x1b[31m",
    "a line separator": "jobs/\u2028",
    "a full name without a name": "//b/",
}


@pytest.mark.parametrize("kind", FACES)
async def test_a_malformed_name_is_refused_without_asking_a_backend(kind: FaceName) -> None:
    """Every verb that takes a name answers INVALID_ARGUMENT, and names the field."""
    async with behind(kind, ALL) as (client, backend):
        for described, name in MALFORMED.items():
            # httpx would remove dot segments from the path, so the dots are percent-encoded.
            sent = quote(name, safe="/").replace("..", "%2E%2E") if kind == "rest" else name
            sent = sent.replace("./", "%2E/") if kind == "rest" else sent
            for verb in VERBS:
                refused = await refusal(getattr(client, verb)(sent))
                answer = (described, verb, refused.status, refused.reason, refused.fields)
                assert answer == (described, verb, "INVALID_ARGUMENT", "INVALID_NAME", ["name"])
        assert backend.calls == []


@pytest.mark.parametrize("kind", FACES[1:])
async def test_an_empty_name_is_refused_without_asking_a_backend(kind: FaceName) -> None:
    """Every verb answers INVALID_ARGUMENT, and names the field."""
    async with behind(kind, ALL) as (client, backend):
        for verb in VERBS:
            refused = await refusal(getattr(client, verb)(""))
            assert (refused.status, refused.fields) == ("INVALID_ARGUMENT", ["name"])
        assert backend.calls == []


@pytest.mark.parametrize("path", ["/v1/", "/v1/:cancel", "/v1/:wait"])
async def test_a_path_without_a_name_is_refused_without_asking_a_backend(path: str) -> None:
    """Over REST a request with an empty name has a path without a name."""
    async with (
        ContraryBackend.open(ALL) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        response = await client.request("GET" if path == "/v1/" else "POST", path)
        assert response.status_code in {400, 404}
        assert response.json()["error"]["details"][0]["domain"] == "lro-gateway"
        assert backend.calls == []


@pytest.mark.parametrize("kind", FACES)
async def test_a_malformed_parent_is_refused_without_asking_a_backend(kind: FaceName) -> None:
    """The gateway checks the parent of a list as it checks a name."""
    async with behind(kind, ALL) as (client, backend):
        sent = "projects/%00" if kind == "rest" else "projects/\0"
        refused = await refusal(client.list(name=sent))
        assert (refused.status, refused.fields) == ("INVALID_ARGUMENT", ["name"])
        assert backend.calls == []


@pytest.mark.parametrize("kind", FACES)
async def test_an_error_lists_the_backends_if_no_pattern_matches_a_name(kind: FaceName) -> None:
    """The code is INVALID_ARGUMENT, and the gateway calls no backend."""
    async with (
        ContraryBackend.open(ALL) as backend,
        opened(
            kind,
            {"name": "one", "target": backend.target, "operations": ["jobs/*"]},
            {"name": "two", "target": backend.target, "operations": ["tasks/*"]},
        ) as client,
    ):
        refused = await refusal(client.get("builds/1"))
        assert (refused.status, refused.reason, refused.fields) == (
            "INVALID_ARGUMENT",
            "UNROUTABLE_NAME",
            ["name"],
        )
        assert refused.details[0]["metadata"]["backends"] == "one,two"
        assert "one, two" in refused.message
        assert backend.calls == []


@pytest.mark.parametrize("kind", FACES)
async def test_an_error_lists_the_backends_that_may_have_a_name(kind: FaceName) -> None:
    """A backend without patterns may have any name, so the caller must choose the backend."""
    async with (
        ContraryBackend.open(ALL) as backend,
        opened(
            kind,
            {"name": "one", "target": backend.target},
            {"name": "two", "target": backend.target},
            {"name": "three", "target": backend.target, "operations": ["tasks/*"]},
        ) as client,
    ):
        for verb in VERBS:
            refused = await refusal(getattr(client, verb)("jobs/1"))
            assert (refused.status, refused.reason) == ("INVALID_ARGUMENT", "AMBIGUOUS_NAME")
            assert refused.details[0]["metadata"]["backends"] == "one,two"
        assert backend.calls == []


@pytest.mark.parametrize("kind", FACES)
async def test_an_unknown_or_contradictory_backend_is_refused(kind: FaceName) -> None:
    """`backend` must be configured, and must be the same as the backend of a full name."""
    async with (
        ContraryBackend.open(ALL) as backend,
        opened(
            kind,
            {"name": "one", "target": backend.target},
            {"name": "two", "target": backend.target},
        ) as client,
    ):
        refusals = [
            await refusal(client.get("jobs/1", backend="three")),
            await refusal(client.get("//three/jobs/1")),
            await refusal(client.get("//one/jobs/1", backend="two")),
            await refusal(client.list(backend="three")),
        ]
        assert [(r.status, r.reason, r.fields) for r in refusals] == [
            ("INVALID_ARGUMENT", "UNKNOWN_BACKEND", ["backend"]),
            ("INVALID_ARGUMENT", "UNKNOWN_BACKEND", ["name"]),
            ("INVALID_ARGUMENT", "BACKEND_MISMATCH", ["backend"]),
            ("INVALID_ARGUMENT", "UNKNOWN_BACKEND", ["backend"]),
        ]
        assert backend.calls == []


@pytest.mark.parametrize("kind", FACES)
async def test_an_unknown_field_is_named(kind: FaceName) -> None:
    """The gateway refuses a misspelt argument or parameter, and names it."""
    async with behind(kind, ALL) as (client, backend):
        for verb in VERBS:
            refused = await refusal(getattr(client, verb)("jobs/1", nmae="x"))
            assert (refused.status, refused.fields) == ("INVALID_ARGUMENT", ["nmae"])
        refused = await refusal(client.list(page_sise="3"))
        assert (refused.status, refused.fields) == ("INVALID_ARGUMENT", ["page_sise"])
        assert backend.calls == []


@pytest.mark.parametrize("kind", FACES)
async def test_a_field_of_the_wrong_type_is_named(kind: FaceName) -> None:
    """The gateway refuses a duration, number, boolean or text that is not one."""
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("wait", {"timeout": "soon"}),
        ("wait", {"timeout": "-1s"}),
        ("wait", {"timeout": "5"}),
        ("list", {"pageSize": "many"}),
        ("list", {"page_size": "1.5"}),
        ("list", {"returnPartialSuccess": "perhaps"}),
    ]
    if kind != "rest":
        wrong += [
            ("get", {"name": 7}),
            ("get", {"name": None}),
            ("get", {"name": ["jobs/1"]}),
            ("get", {"backend": 7}),
            ("wait", {"timeout": {"seconds": 5}}),
            ("list", {"filter": True}),
            ("list", {"pageSize": "5 "}),
            ("list", {"pageSize": [1]}),
            ("list", {"return_partial_success": "yes"}),
        ]
    async with behind(kind, ALL) as (client, backend):
        for verb, fields in wrong:
            arguments = (
                fields if verb == "list" or "name" in fields else {"name": "jobs/1", **fields}
            )
            refused = await refusal(getattr(client, verb)(**arguments))
            answer = (fields, refused.status, refused.fields)
            assert answer == (fields, "INVALID_ARGUMENT", list(fields))
        assert backend.calls == []


@pytest.mark.parametrize("kind", FACES)
async def test_a_large_page_size_is_reduced_and_a_negative_one_is_refused(
    kind: FaceName,
) -> None:
    """0 means the backend's default, and the limit replaces a larger size (AIP-158)."""
    async with behind(kind, ALL, max_page_size=50) as (client, backend):
        for size in ("0", "7", "50", "51", "2147483647", "99999999999999999999"):
            await client.list(pageSize=size if kind == "rest" else int(size))
        refused = await refusal(client.list(pageSize="-1" if kind == "rest" else -1))
        assert (refused.status, refused.fields) == ("INVALID_ARGUMENT", ["pageSize"])
        default = 0 if kind == "rest" else 20
        assert [call.request.page_size for call in backend.calls] == [default, 7, 50, 50, 50, 50]


@pytest.mark.parametrize("kind", FACES)
async def test_a_tampered_or_foreign_page_token_is_refused(kind: FaceName) -> None:
    """A page token is valid only for the list that returned it, and only at that gateway."""
    page = operations_pb2.ListOperationsResponse(operations=[DONE], next_page_token="more")  # noqa: S106 - a backend's page token
    async with (
        behind(kind, {"ListOperations": answering(page)}) as (client, backend),
        behind(kind, {"ListOperations": answering(page)}) as (other, _),
    ):
        token = (await client.list(filter="done=true"))["nextPageToken"]
        foreign = (await other.list(filter="done=true"))["nextPageToken"]
        calls = backend.count("ListOperations")
        swapped = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
        bad: list[dict[str, Any]] = [
            {"filter": "done=true", "pageToken": candidate}
            for candidate in ("x", "more", "é", token[:-4], token + "A", swapped, foreign, "=" * 9)
        ]
        bad += [
            {"filter": "done=false", "pageToken": token},
            {"pageToken": token},
            {"filter": "done=true", "name": "projects/p", "pageToken": token},
            {"filter": "done=true", "backend": "b", "pageToken": token},
        ]
        for fields in bad:
            refused = await refusal(client.list(**fields))
            answer = (fields, refused.status, refused.reason, refused.fields)
            assert answer == (fields, "INVALID_ARGUMENT", "INVALID_PAGE_TOKEN", ["pageToken"])
        assert backend.count("ListOperations") == calls


class Connection:
    """One TCP connection with HTTP/1.1, to show that it stays open between two requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_connection(*urlsplit(url).netloc.split(":"))
        try:
            yield cls(reader, writer)
        finally:
            writer.close()

    async def send(self, head: str, *body: bytes, chunked: bool = False) -> tuple[int, Any]:
        """Send a request; return the status and the JSON of its answer."""
        length = "" if chunked else f"Content-Length: {sum(map(len, body))}\r\n"
        framing = "Transfer-Encoding: chunked\r\n" if chunked else length
        request = f"{head} HTTP/1.1\r\nHost: localhost\r\n{framing}"
        accept = "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"
        self._writer.write((request + accept + "\r\n").encode())
        for part in body:
            self._writer.write(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
            await self._writer.drain()
        if chunked:
            self._writer.write(b"0\r\n\r\n")
        return await self._answer()

    async def _answer(self) -> tuple[int, Any]:
        status = int((await self._reader.readline()).split()[1])
        length = 0
        while line := (await self._reader.readline()).strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        content = await self._reader.readexactly(length)
        return status, json.loads(content) if content else None


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
@pytest.mark.parametrize("path", ["/v1/jobs/1:cancel", "/mcp"])
async def test_a_body_that_is_too_large_gets_413_and_the_connection_stays_open(
    path: str, chunked: bool
) -> None:
    """The gateway reads the body to its end, and serves the next request."""
    async with (
        ContraryBackend.open(ALL) as backend,
        serving({"name": "b", "target": backend.target}, max_body_bytes=1024) as url,
        Connection.open(url) as connection,
    ):
        status, body = await connection.send(f"POST {path}", *[b"x" * 1000] * 10, chunked=chunked)
        assert (status, body["error"]["code"], body["error"]["status"]) == (
            413,
            413,
            "INVALID_ARGUMENT",
        )
        assert body["error"]["details"] == [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "BODY_TOO_LARGE",
                "domain": "lro-gateway",
                "metadata": {"limit": "1024", "setting": "server.max_body_bytes"},
            }
        ]
        assert backend.calls == []
        assert await connection.send("POST /v1/jobs/1:cancel") == (200, {})
        assert await connection.send("GET /v1/jobs/1") == (200, {"name": "jobs/1", "done": True})


@pytest.mark.parametrize("content", [b"{", b"[]", b"7", b"null", b'"x"', b"\xff", b"{}x"])
async def test_a_body_that_is_not_a_json_object_gets_400_and_the_connection_stays_open(
    content: bytes,
) -> None:
    """The gateway does not call the backend, and serves the next request."""
    async with (
        ContraryBackend.open(ALL) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        Connection.open(url) as connection,
    ):
        status, body = await connection.send("POST /v1/jobs/1:wait", content)
        assert (status, body["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert body["error"]["details"][0]["reason"] == "INVALID_JSON"
        assert backend.answered == []
        assert await connection.send("GET /v1/jobs/1") == (200, {"name": "jobs/1", "done": True})


async def test_mcp_answers_a_body_that_is_not_json_rpc_and_the_connection_stays_open() -> None:
    """The answer is 400 with a JSON-RPC error, and the gateway serves the next request."""
    async with (
        ContraryBackend.open(ALL) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        Connection.open(url) as connection,
    ):
        for content in (b"{", b"[]", b'{"jsonrpc": "1.0"}', b"\xff"):
            status, body = await connection.send("POST /mcp", content)
            assert (status, body["jsonrpc"]) == (400, "2.0")
            assert body["error"]["code"] in {-32700, -32600, -32602}
        assert await connection.send("GET /v1/jobs/1") == (200, {"name": "jobs/1", "done": True})


DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
IN_A_TOOL = (
    b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params":'
    b' {"name": "get_operation", "arguments": {"name": %b}}}'
)
IN_META = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": {"a": %b}}}'


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/jobs/1:wait", b"%b"),
        ("/v1/jobs/1:wait", b'{"timeout": %b}'),
        ("/mcp", b"%b"),
        ("/mcp", IN_A_TOOL),
        ("/mcp", IN_META),
    ],
)
async def test_json_of_100000_levels_gets_400_and_the_connection_stays_open(
    path: str, body: bytes
) -> None:
    """The JSON parser refuses it before anything follows its levels, and the next request works."""
    async with (
        ContraryBackend.open(ALL) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        Connection.open(url) as connection,
    ):
        status, answer = await connection.send(f"POST {path}", body % DEEP)
        assert (status, "depth limit exceeded" in answer["error"]["message"]) == (400, True)
        assert backend.answered == []
        assert await connection.send("GET /v1/jobs/1") == (200, {"name": "jobs/1", "done": True})

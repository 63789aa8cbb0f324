"""What bad input, and a bad backend, gets: the same words on every face."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import grpc
import grpc.aio
import httpx
import pytest
from google.longrunning import operations_pb2
from google.rpc import error_details_pb2

from tests.contrary import (
    Answer,
    ContraryBackend,
    Handler,
    acknowledging,
    answering,
    refusing,
)
from tests.gateways import FACES, Face, FaceName, RefusedError, opened, serving
from tests.shapes import message, pool

DONE = operations_pb2.Operation(name="jobs/1", done=True)
ALL: Mapping[str, Handler] = {
    "GetOperation": answering(DONE),
    "WaitOperation": answering(DONE),
    "ListOperations": answering(operations_pb2.ListOperationsResponse(operations=[DONE])),
    "CancelOperation": acknowledging(),
    "DeleteOperation": acknowledging(),
}
VERBS = ("get", "wait", "cancel", "delete")


async def hanging(_request: Any, _context: Any) -> Answer:
    """Never answer; the server ends this when the caller has gone."""
    await asyncio.Event().wait()
    return b""


@asynccontextmanager
async def behind(
    kind: FaceName, handlers: Mapping[str, Handler] = ALL, **settings: Any
) -> AsyncIterator[tuple[Face, ContraryBackend]]:
    """Open a face over one backend, `b`."""
    async with (
        ContraryBackend.open(handlers) as backend,
        opened(kind, {"name": "b", "target": backend.target, **settings}) as client,
    ):
        yield client, backend


async def refusal(call: Any) -> RefusedError:
    """Return how a call was refused."""
    with pytest.raises(RefusedError) as caught:
        await call
    return caught.value


def unused_address() -> str:
    """Return an address that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


MALFORMED = {
    "over-long": "jobs/" + "x" * 1024,
    "a leading slash": "/jobs/1",
    "a trailing slash": "jobs/1/",
    "a double slash": "jobs//1",
    "a parent": "jobs/../1",
    "a dot": "./jobs",
    "a NUL": "jobs/\0",
    "a line break": "jobs/1\n",
    "an escape": "jobs/\x1b[31m",
    "a line separator": "jobs/\u2028",
    "no name in full": "//b/",
}


@pytest.mark.parametrize("kind", FACES)
async def test_a_malformed_name_is_refused_without_asking_a_backend(kind: FaceName) -> None:
    """Every verb that takes a name answers INVALID_ARGUMENT that names the field."""
    async with behind(kind) as (client, backend):
        for described, name in MALFORMED.items():
            # What an HTTP client would tidy away before it is sent is sent encoded.
            sent = quote(name, safe="/").replace("..", "%2E%2E") if kind == "rest" else name
            sent = sent.replace("./", "%2E/") if kind == "rest" else sent
            for verb in VERBS:
                refused = await refusal(getattr(client, verb)(sent))
                told = (described, verb, refused.status, refused.reason, refused.fields)
                assert told == (described, verb, "INVALID_ARGUMENT", "INVALID_NAME", ["name"])
        assert backend.calls == []


@pytest.mark.parametrize("kind", FACES[1:])
async def test_an_empty_name_is_refused_without_asking_a_backend(kind: FaceName) -> None:
    """Leaving the name out is the same as an empty one."""
    async with behind(kind) as (client, backend):
        for verb in VERBS:
            refused = await refusal(getattr(client, verb)(""))
            assert (refused.status, refused.fields) == ("INVALID_ARGUMENT", ["name"])
        assert backend.calls == []


@pytest.mark.parametrize("path", ["/v1/", "/v1/:cancel", "/v1/:wait"])
async def test_a_path_without_a_name_is_refused_without_asking_a_backend(path: str) -> None:
    """Over REST an empty name is a path without one."""
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
    """What is listed is a name too."""
    async with behind(kind) as (client, backend):
        sent = "projects/%00" if kind == "rest" else "projects/\0"
        refused = await refusal(client.list(name=sent))
        assert (refused.status, refused.fields) == ("INVALID_ARGUMENT", ["name"])
        assert backend.calls == []


@pytest.mark.parametrize("kind", FACES)
async def test_a_name_that_no_pattern_matches_tells_the_choices(kind: FaceName) -> None:
    """INVALID_ARGUMENT lists the backends; none is asked."""
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
async def test_a_name_that_several_backends_may_have_tells_the_choices(kind: FaceName) -> None:
    """Backends without patterns may have any name: only the caller can tell which is meant."""
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
async def test_an_unknown_or_contradicted_backend_is_named(kind: FaceName) -> None:
    """`backend` must be one of those configured, and the one that a full name says."""
    async with (
        ContraryBackend.open(ALL) as backend,
        opened(
            kind,
            {"name": "one", "target": backend.target},
            {"name": "two", "target": backend.target},
        ) as client,
    ):
        told = [
            await refusal(client.get("jobs/1", backend="three")),
            await refusal(client.get("//three/jobs/1")),
            await refusal(client.get("//one/jobs/1", backend="two")),
            await refusal(client.list(backend="three")),
        ]
        assert [(r.status, r.reason, r.fields) for r in told] == [
            ("INVALID_ARGUMENT", "UNKNOWN_BACKEND", ["backend"]),
            ("INVALID_ARGUMENT", "UNKNOWN_BACKEND", ["name"]),
            ("INVALID_ARGUMENT", "BACKEND_MISMATCH", ["backend"]),
            ("INVALID_ARGUMENT", "UNKNOWN_BACKEND", ["backend"]),
        ]
        assert backend.calls == []


@pytest.mark.parametrize("kind", FACES)
async def test_an_unknown_field_is_named(kind: FaceName) -> None:
    """A misspelt argument, parameter or body field is never ignored."""
    async with behind(kind) as (client, backend):
        for verb in VERBS:
            refused = await refusal(getattr(client, verb)("jobs/1", nmae="x"))
            assert (refused.status, refused.fields) == ("INVALID_ARGUMENT", ["nmae"])
        refused = await refusal(client.list(page_sise="3"))
        assert (refused.status, refused.fields) == ("INVALID_ARGUMENT", ["page_sise"])
        assert backend.calls == []


@pytest.mark.parametrize("kind", FACES)
async def test_a_field_of_the_wrong_type_is_named(kind: FaceName) -> None:
    """Durations, numbers and booleans have to be such."""
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
            ("wait", {"timeout": 5}),
            ("wait", {"timeout": {"seconds": 5}}),
            ("list", {"filter": True}),
            ("list", {"pageSize": "5 "}),
            ("list", {"pageSize": [1]}),
            ("list", {"return_partial_success": "yes"}),
        ]
    async with behind(kind) as (client, backend):
        for verb, fields in wrong:
            arguments = (
                fields if verb == "list" or "name" in fields else {"name": "jobs/1", **fields}
            )
            refused = await refusal(getattr(client, verb)(**arguments))
            told = (fields, refused.status, refused.fields)
            assert told == (fields, "INVALID_ARGUMENT", list(fields))
        assert backend.calls == []


@pytest.mark.parametrize("kind", FACES)
async def test_page_sizes_of_any_size_are_coerced_but_a_negative_one_is_refused(
    kind: FaceName,
) -> None:
    """0 is the backend's default, what is too large becomes the largest (AIP-158)."""
    async with behind(kind, max_page_size=50) as (client, backend):
        for size in ("0", "7", "50", "51", "2147483647", "99999999999999999999"):
            await client.list(pageSize=size if kind == "rest" else int(size))
        refused = await refusal(client.list(pageSize="-1" if kind == "rest" else -1))
        assert (refused.status, refused.fields) == ("INVALID_ARGUMENT", ["pageSize"])
        assert [call.request.page_size for call in backend.calls] == [0, 7, 50, 50, 50, 50]


@pytest.mark.parametrize("kind", FACES)
async def test_a_tampered_or_foreign_page_token_is_refused(kind: FaceName) -> None:
    """A token is good for the list that it came from, and for no other."""
    page = operations_pb2.ListOperationsResponse(operations=[DONE], next_page_token="more")  # noqa: S106 - a backend's page token
    async with (
        behind(kind, {"ListOperations": answering(page)}) as (client, backend),
        behind(kind, {"ListOperations": answering(page)}) as (other, _),
    ):
        token = (await client.list(filter="done=true"))["nextPageToken"]
        foreign = (await other.list(filter="done=true"))["nextPageToken"]
        asked = backend.count("ListOperations")
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
            told = (fields, refused.status, refused.reason, refused.fields)
            assert told == (fields, "INVALID_ARGUMENT", "INVALID_PAGE_TOKEN", ["pageToken"])
        assert backend.count("ListOperations") == asked


@pytest.mark.parametrize("kind", FACES)
async def test_a_backend_that_is_down_is_unavailable_and_the_others_are_not(
    kind: FaceName,
) -> None:
    """The gateway says which one, where, and why, without gRPC's own debugging words."""
    nowhere = unused_address()
    async with (
        ContraryBackend.open(ALL) as backend,
        opened(
            kind,
            {"name": "down", "target": nowhere, "operations": ["down/*"], "deadline": "2s"},
            {"name": "up", "target": backend.target, "operations": ["jobs/*"]},
        ) as client,
    ):
        for verb in VERBS:
            refused = await refusal(getattr(client, verb)("down/1"))
            assert (refused.status, refused.reason) == ("UNAVAILABLE", "BACKEND_UNAVAILABLE")
            assert refused.details[0]["metadata"]["backend"] == "down"
            assert refused.details[0]["metadata"]["target"] == nowhere
            assert refused.message.startswith(f"backend 'down' at {nowhere} cannot be reached: ")
            assert "ipv4" not in refused.message
        assert await client.get("jobs/1") == {"name": "jobs/1", "done": True}


@pytest.mark.parametrize("kind", FACES)
async def test_a_hanging_backend_is_given_up_at_its_deadline(kind: FaceName) -> None:
    """DEADLINE_EXCEEDED within the backend's own deadline; another answers meanwhile."""
    async with (
        ContraryBackend.open(dict.fromkeys(ALL, hanging)) as slow,
        ContraryBackend.open(ALL) as quick,
        opened(
            kind,
            {"name": "slow", "target": slow.target, "operations": ["slow/*"], "deadline": "0.3s"},
            {"name": "quick", "target": quick.target, "operations": ["jobs/*"]},
        ) as client,
    ):
        loop = asyncio.get_running_loop()
        for verb in VERBS:
            started = loop.time()
            hung = asyncio.create_task(refusal(getattr(client, verb)("slow/1")))
            assert await client.get("jobs/1") == {"name": "jobs/1", "done": True}
            assert not hung.done()
            refused = await hung
            assert loop.time() - started < 2
            assert (refused.status, refused.reason) == (
                "DEADLINE_EXCEEDED",
                "BACKEND_DEADLINE_EXCEEDED",
            )


@pytest.mark.parametrize("kind", FACES)
async def test_a_refusal_is_passed_on_in_the_backends_words(kind: FaceName) -> None:
    """Code, message and details are the backend's; its own types are found like any payload's."""
    info = error_details_pb2.ErrorInfo(reason="SAYS_SO", domain="acme.test")
    job = message("Job", progress_percent=3)
    codes = {code.name: code for code in grpc.StatusCode if code is not grpc.StatusCode.OK}

    async def refuse(request: Any, context: Any) -> Answer:
        return await refusing(codes[request.name], "not now", info, job)(request, context)

    async with (
        ContraryBackend.open(
            {"CancelOperation": refuse}, reflection_versions=("v1",), pool=pool()
        ) as backend,
        opened(kind, {"name": "b", "target": backend.target}) as client,
    ):
        refusals = [await refusal(client.cancel(name)) for name in codes]
    details = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "SAYS_SO",
            "domain": "acme.test",
        },
        {"@type": "type.googleapis.com/shapes.v1.Job", "progressPercent": 3},
    ]
    assert [(refused.status, refused.message, refused.details) for refused in refusals] == [
        (name, "not now", details) for name in codes
    ]


@pytest.mark.parametrize("kind", FACES)
async def test_a_bare_refusal_is_passed_on_without_additions(kind: FaceName) -> None:
    """What a backend says is never repaired: no details where it sent none."""
    handlers = {"GetOperation": refusing(grpc.StatusCode.NOT_FOUND, "no such thing")}
    async with behind(kind, handlers) as (client, _):
        refused = await refusal(client.get("jobs/1"))
        assert (refused.status, refused.message, refused.details) == (
            "NOT_FOUND",
            "no such thing",
            [],
        )


@pytest.mark.parametrize("kind", FACES)
async def test_an_rpc_that_is_not_implemented_says_which_and_what_to_use(kind: FaceName) -> None:
    """Servers say UNIMPLEMENTED with an empty message, so the gateway says the rest."""
    get = "GET /v1/NAME" if kind == "rest" else "get_operation"
    instead = {
        "list": f"ask for operations by name with {get}",
        "cancel": f"it cannot be cancelled here; follow it with {get}",
        "delete": "let it expire; it does no harm",
    }
    for handlers in (
        {"GetOperation": answering(DONE)},
        {name: refusing(grpc.StatusCode.UNIMPLEMENTED) for name in ALL},
    ):
        async with behind(kind, handlers) as (client, _):
            for verb, words in instead.items():
                rpc = f"google.longrunning.Operations/{verb.capitalize()}Operation"
                rpc += "s" if verb == "list" else ""
                call = client.list() if verb == "list" else getattr(client, verb)("jobs/1")
                refused = await refusal(call)
                message = f"backend 'b' does not implement {rpc}"
                assert (refused.status, refused.reason) == ("UNIMPLEMENTED", "RPC_UNIMPLEMENTED")
                if kind == "rest":
                    assert refused.message == f"{message}; {words}"
                else:
                    assert refused.message == message
                    assert refused.step.endswith(f"UNIMPLEMENTED. Do not retry: {words}.")


@pytest.mark.parametrize("kind", FACES)
async def test_a_response_over_the_limit_tells_the_limit_and_its_setting(kind: FaceName) -> None:
    """RESOURCE_EXHAUSTED, and the next call is unharmed."""
    large = operations_pb2.Operation(name="x" * 5000)
    answers = [DONE, large]

    async def get(_request: Any, _context: Any) -> Answer:
        answer: Answer = answers.pop()
        return answer

    async with behind(kind, {"GetOperation": get}, max_message_bytes=2048) as (client, _):
        refused = await refusal(client.get("jobs/1"))
        assert (refused.status, refused.reason) == ("RESOURCE_EXHAUSTED", "RESPONSE_TOO_LARGE")
        assert "over the limit of 2048" in refused.message
        assert "max_message_bytes" in refused.message
        assert refused.details[0]["metadata"]["limit"] == "2048"
        assert refused.details[0]["metadata"]["setting"] == "max_message_bytes"
        assert await client.get("jobs/1") == {"name": "jobs/1", "done": True}


@pytest.mark.parametrize("kind", FACES)
async def test_a_request_that_the_backend_finds_too_large_is_refused_in_its_words(
    kind: FaceName,
) -> None:
    """`max_message_bytes` is about answers; how large a request may be, the backend decides."""
    words = "SERVER: Received message larger than max (5003 vs. 100)"
    refuse = refusing(grpc.StatusCode.RESOURCE_EXHAUSTED, words)
    async with behind(kind, {"ListOperations": refuse}, max_message_bytes=2048) as (
        client,
        backend,
    ):
        refused = await refusal(client.list(filter="x" * 5000))
        assert (refused.status, refused.message, refused.details) == (
            "RESOURCE_EXHAUSTED",
            words,
            [],
        )
        assert backend.count("ListOperations") == 1


@pytest.mark.parametrize("kind", FACES)
async def test_an_answer_that_does_not_parse_is_told_as_such(kind: FaceName) -> None:
    """INTERNAL, with the RPC's name, for bytes that are not its response."""
    for content in (b"\xff\xff\xff", b"\x0a\x05ab", b"\x0a\x01\xe9"):
        handlers: Mapping[str, Handler] = {name: answering(content) for name in ALL}
        async with behind(kind, handlers) as (client, _):
            refused = await refusal(client.get("jobs/1"))
            assert (refused.status, refused.reason) == ("INTERNAL", "MALFORMED_RESPONSE")
            assert "google.longrunning.Operations/GetOperation" in refused.message


class Connection:
    """One TCP connection that speaks HTTP/1.1, to see that it is the same one."""

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

    async def ask(self, head: str, *body: bytes, chunked: bool = False) -> tuple[int, Any]:
        """Send a request, return the status and the JSON that it was answered with."""
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
async def test_a_body_that_is_too_large_gets_413_and_the_connection_lives_on(
    path: str, chunked: bool
) -> None:
    """The body is read to its end, and the next request on the connection is served."""
    async with (
        ContraryBackend.open(ALL) as backend,
        serving({"name": "b", "target": backend.target}, max_body_bytes=1024) as url,
        Connection.open(url) as connection,
    ):
        status, body = await connection.ask(f"POST {path}", *[b"x" * 1000] * 10, chunked=chunked)
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
        assert await connection.ask("POST /v1/jobs/1:cancel") == (200, {})
        assert await connection.ask("GET /v1/jobs/1") == (200, {"name": "jobs/1", "done": True})


@pytest.mark.parametrize("content", [b"{", b"[]", b"7", b"null", b'"x"', b"\xff", b"{}x"])
async def test_a_body_that_is_not_a_json_object_gets_400_and_the_connection_lives_on(
    content: bytes,
) -> None:
    """Whatever its Content-Type says; no backend is asked."""
    async with (
        ContraryBackend.open(ALL) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        Connection.open(url) as connection,
    ):
        status, body = await connection.ask("POST /v1/jobs/1:wait", content)
        assert (status, body["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert body["error"]["details"][0]["reason"] == "INVALID_JSON"
        assert backend.answered == []
        assert await connection.ask("GET /v1/jobs/1") == (200, {"name": "jobs/1", "done": True})


async def test_mcp_answers_what_is_not_json_rpc_and_the_connection_lives_on() -> None:
    """400 with a JSON-RPC error, then the next request is served."""
    async with (
        ContraryBackend.open(ALL) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        Connection.open(url) as connection,
    ):
        for content in (b"{", b"[]", b'{"jsonrpc": "1.0"}', b"\xff"):
            status, body = await connection.ask("POST /mcp", content)
            assert (status, body["jsonrpc"]) == (400, "2.0")
            assert body["error"]["code"] in {-32700, -32600, -32602}
        assert await connection.ask("GET /v1/jobs/1") == (200, {"name": "jobs/1", "done": True})

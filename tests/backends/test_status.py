"""Failed calls: errors of backends are passed on, and the gateway makes the others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.rpc import error_details_pb2, status_pb2

from tests.contrary import (
    Answer,
    ContraryBackend,
    Handler,
    answering,
    knowing,
    refusing,
)
from tests.gateways import FACES, FaceName, behind, opened, refusal
from tests.ports import unused_address
from tests.shapes import message, pool

DONE = operations_pb2.Operation(name="jobs/1", done=True)
ALL = knowing(DONE)
VERBS = ("get", "wait", "cancel", "delete")


async def hanging(_request: Any, _context: Any) -> Answer:
    """Never answer; the server cancels the handler when its caller has left."""
    await asyncio.Event().wait()
    return b""


@pytest.mark.parametrize("kind", FACES)
async def test_a_backend_that_is_down_is_unavailable_and_the_others_are_not(
    kind: FaceName,
) -> None:
    """The error names the backend, its address and the reason, without gRPC's debug text."""
    nowhere = unused_address()
    async with (
        ContraryBackend.open(ALL) as backend,
        opened(
            kind,
            {"name": "down", "target": nowhere, "operations": ["down/*"]},
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
async def test_a_call_of_a_hanging_backend_fails_at_its_deadline(kind: FaceName) -> None:
    """The error is DEADLINE_EXCEEDED. Without this deadline, the call would take ten seconds."""
    left: list[float] = []

    async def noting(request: Any, context: Any) -> Answer:
        left.append(context.time_remaining())
        return await hanging(request, context)

    async with (
        ContraryBackend.open(dict.fromkeys(ALL, noting)) as slow,
        opened(kind, {"name": "slow", "target": slow.target, "deadline": "0.3s"}) as client,
    ):
        for verb in VERBS:
            before = len(left)
            # A busy machine may need longer than the deadline until the backend gets a call.
            while len(left) == before:
                refused = await refusal(getattr(client, verb)("slow/1"))
                assert (refused.status, refused.reason) == (
                    "DEADLINE_EXCEEDED",
                    "BACKEND_DEADLINE_EXCEEDED",
                )
    assert max(left) < 1


@pytest.mark.parametrize("kind", FACES)
async def test_another_backend_answers_while_one_hangs(kind: FaceName) -> None:
    """This holds for each verb."""
    called = asyncio.Semaphore(0)

    async def noting(request: Any, context: Any) -> Answer:
        called.release()
        return await hanging(request, context)

    async with (
        ContraryBackend.open(dict.fromkeys(ALL, noting)) as slow,
        ContraryBackend.open(ALL) as quick,
        opened(
            kind,
            {"name": "slow", "target": slow.target, "operations": ["slow/*"], "deadline": "100s"},
            {"name": "quick", "target": quick.target, "operations": ["jobs/*"]},
        ) as client,
        asyncio.timeout(60),
    ):
        for verb in VERBS:
            hung = asyncio.create_task(getattr(client, verb)(f"slow/{verb}"))
            await called.acquire()
            assert await client.get("jobs/1") == {"name": "jobs/1", "done": True}
            assert not hung.done()
            hung.cancel()
            await asyncio.gather(hung, return_exceptions=True)


@pytest.mark.parametrize("kind", FACES)
async def test_an_error_of_a_backend_is_passed_on_unchanged(kind: FaceName) -> None:
    """Code, text and details are the backend's. The types of its details are looked up."""
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
async def test_an_error_without_details_is_passed_on_without_details(kind: FaceName) -> None:
    """The gateway adds nothing to the error of a backend."""
    handlers = {"GetOperation": refusing(grpc.StatusCode.NOT_FOUND, "no such thing")}
    async with behind(kind, handlers) as (client, _):
        refused = await refusal(client.get("jobs/1"))
        assert (refused.status, refused.message, refused.details) == (
            "NOT_FOUND",
            "no such thing",
            [],
        )


@pytest.mark.parametrize("kind", FACES)
async def test_the_error_for_an_unimplemented_rpc_names_it_and_an_alternative(
    kind: FaceName,
) -> None:
    """Servers answer UNIMPLEMENTED with an empty text, so the gateway writes the text."""
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
            for verb, advice in instead.items():
                rpc = f"google.longrunning.Operations/{verb.capitalize()}Operation"
                rpc += "s" if verb == "list" else ""
                call = client.list() if verb == "list" else getattr(client, verb)("jobs/1")
                refused = await refusal(call)
                message = f"backend 'b' does not implement {rpc}"
                assert (refused.status, refused.reason) == ("UNIMPLEMENTED", "RPC_UNIMPLEMENTED")
                if kind == "rest":
                    assert refused.message == f"{message}; {advice}"
                else:
                    assert refused.message == message
                    assert refused.step.endswith(f"UNIMPLEMENTED. Do not retry: {advice}.")


@pytest.mark.parametrize("kind", FACES)
async def test_the_error_for_too_large_a_response_names_the_limit_and_its_setting(
    kind: FaceName,
) -> None:
    """The error is RESOURCE_EXHAUSTED, and the next call succeeds."""
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
async def test_a_backends_error_for_too_large_a_request_is_passed_on(
    kind: FaceName,
) -> None:
    """`max_message_bytes` limits answers only, and the backend limits requests."""
    text = "SERVER: Received message larger than max (5003 vs. 100)"
    refuse = refusing(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
    async with behind(kind, {"ListOperations": refuse}, max_message_bytes=2048) as (
        client,
        backend,
    ):
        refused = await refusal(client.list(filter="x" * 5000))
        assert (refused.status, refused.message, refused.details) == (
            "RESOURCE_EXHAUSTED",
            text,
            [],
        )
        assert backend.count("ListOperations") == 1


@pytest.mark.parametrize("kind", FACES)
async def test_an_answer_that_does_not_parse_is_an_internal_error(kind: FaceName) -> None:
    """The error names the RPC whose answer is not a message of its response type."""
    for content in (b"\xff\xff\xff", b"\x0a\x05ab", b"\x0a\x01\xe9"):
        handlers: Mapping[str, Handler] = {name: answering(content) for name in ALL}
        async with behind(kind, handlers) as (client, _):
            refused = await refusal(client.get("jobs/1"))
            assert (refused.status, refused.reason) == ("INTERNAL", "MALFORMED_RESPONSE")
            assert "google.longrunning.Operations/GetOperation" in refused.message


def refusing_with(content: bytes, code: grpc.StatusCode, text: str) -> Handler:
    """Return a handler that fails, and sends these bytes as its google.rpc.Status."""

    async def handler(_request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Answer:
        context.set_trailing_metadata((("grpc-status-details-bin", content),))
        await context.abort(code, text)

    return handler


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xff\xff", id="bytes that are no Status"),
        pytest.param(
            status_pb2.Status(code=5, message="another").SerializeToString(), id="another code"
        ),
    ],
)
async def test_a_rich_status_that_differs_from_the_status_line_is_ignored(content: bytes) -> None:
    """The code and the text of gRPC's status line are passed on instead."""
    handler = refusing_with(content, grpc.StatusCode.ABORTED, "try another order")
    async with behind("rest", {"GetOperation": handler}) as (client, _):
        refused = await refusal(client.get("jobs/1"))
    assert (refused.status, refused.message, refused.details) == (
        "ABORTED",
        "try another order",
        [],
    )


async def test_unavailable_from_a_reached_backend_is_passed_on_unchanged() -> None:
    """A backend answers UNAVAILABLE if a service that it needs is down."""
    handler = refusing(grpc.StatusCode.UNAVAILABLE, "the database is being moved")
    async with behind("rest", {"CancelOperation": handler}) as (client, _):
        refused = await refusal(client.cancel("jobs/1"))
    assert (refused.status, refused.message, refused.details) == (
        "UNAVAILABLE",
        "the database is being moved",
        [],
    )


async def test_an_error_with_details_is_passed_on_for_every_code() -> None:
    """Even UNIMPLEMENTED keeps the backend's text if the backend sends details."""
    info = error_details_pb2.ErrorInfo(reason="NO_DELETE", domain="acme.test")
    handler = refusing(grpc.StatusCode.UNIMPLEMENTED, "we keep everything", info)
    async with behind("rest", {"DeleteOperation": handler}) as (client, _):
        refused = await refusal(client.delete("jobs/1"))
    assert (refused.status, refused.message, refused.details) == (
        "UNIMPLEMENTED",
        "we keep everything",
        [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "NO_DELETE",
                "domain": "acme.test",
            }
        ],
    )


async def test_the_error_for_an_unimplemented_rpc_contains_the_backends_text() -> None:
    """UNIMPLEMENTED without details gets an ErrorInfo with the RPC and the backend's address."""
    handler = refusing(grpc.StatusCode.UNIMPLEMENTED, "not in this edition")
    async with behind("rest", {"DeleteOperation": handler}) as (client, backend):
        refused = await refusal(client.delete("jobs/1"))
    rpc = "google.longrunning.Operations/DeleteOperation"
    assert refused.message == (
        f"backend 'b' does not implement {rpc} (the service says: \"not in this edition\");"
        " let it expire; it does no harm"
    )
    assert refused.details == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "RPC_UNIMPLEMENTED",
            "domain": "lro-gateway",
            "metadata": {"rpc": rpc, "target": backend.target, "backend": "b"},
        }
    ]


@pytest.mark.parametrize("kind", FACES)
async def test_a_wait_that_is_answered_with_another_operation_reads_its_own(
    kind: FaceName,
) -> None:
    """Only WaitOperation of this backend is wrong, so the gateway uses GetOperation."""
    states = iter([False])

    async def get(request: Any, _context: Any) -> Answer:
        answer: Answer = operations_pb2.Operation(name=request.name, done=next(states, True))
        return answer

    other = answering(operations_pb2.Operation(name="jobs/2", done=True))
    async with behind(kind, {"GetOperation": get, "WaitOperation": other}) as (client, _):
        answer = await client.wait("jobs/1", timeout="20s")
    assert answer == {"name": "jobs/1", "done": True}

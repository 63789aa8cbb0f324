"""Starts without an answer: each face shows the request_id, and says what may have begun."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import mcp_types as types
import pytest
from google.longrunning import operations_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from mcp import Client

from tests import factory
from tests.contrary import Answer, ContraryBackend, Handler, answering, refusing
from tests.gateways import serving
from tests.ports import unused_address
from tests.resets import (
    Ending,
    ResettingServer,
    answering_http,
    closing,
    going_away,
    resetting,
)
from tests.service.test_starting import after, request_ids

RUNNING = operations_pb2.Operation(name="jobs/1")
BUILD = "factory.v1.Factory/BuildMachine"
OVERHAUL = "factory.v1.Factory/Overhaul"
UPSTREAM = "upstream connect error or disconnect/reset before headers. reset reason: overflow"


@dataclass
class Failed:
    """A failed start: its REST answer, and the result of its MCP tool."""

    rest: httpx.Response
    mcp: types.CallToolResult

    @property
    def texts(self) -> list[str]:
        """The text of each face that a person or a model reads."""
        texts = [each.text for each in self.mcp.content if isinstance(each, types.TextContent)]
        return [self.rest.json()["error"]["message"], texts[1]]

    @property
    def ids(self) -> list[str]:
        """The request_id that each face tells to a program."""
        meta = self.mcp.meta or {}
        found = [
            self.rest.headers.get("lro-gateway-request-id"),
            meta.get("lro-gateway/request_id"),
        ]
        return [each for each in found if each]


async def fail(
    url: str,
    tool: str = "build_machine",
    path: str = "/v1/machines:build",
    arguments: Mapping[str, Any] = factory.ORDER,
) -> Failed:
    """Start by REST and by MCP; both must fail."""
    async with (
        httpx.AsyncClient(base_url=url) as rest,
        Client(f"{url}/mcp", mode="2026-07-28") as mcp,
    ):
        response = await rest.post(path, json=arguments)
        result = await mcp.call_tool(tool, dict(arguments))
    assert response.is_error
    assert "retry-after" not in response.headers
    assert result.is_error
    return Failed(response, result)


@asynccontextmanager
async def backend_that(
    handler: Handler, pool: DescriptorPool | None = None, path: str = BUILD
) -> AsyncIterator[ContraryBackend]:
    """Serve a method with this handler."""
    async with ContraryBackend.open(
        {},
        methods={path: handler},
        reflection_versions=("v1",),
        pool=pool or factory.pool(),
    ) as backend:
        yield backend


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (grpc.StatusCode.UNAVAILABLE, UPSTREAM),
        (grpc.StatusCode.UNAVAILABLE, "no healthy upstream"),
        (grpc.StatusCode.UNAVAILABLE, ""),
        (grpc.StatusCode.INTERNAL, "502 Bad Gateway"),
        (grpc.StatusCode.UNKNOWN, "Stream removed"),
        (grpc.StatusCode.CANCELLED, "the server is stopping"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "upstream request timeout"),
        (grpc.StatusCode.DATA_LOSS, "lost"),
    ],
    ids=lambda value: value.name if isinstance(value, grpc.StatusCode) else None,
)
async def test_a_failed_start_that_may_have_begun_shows_the_request_id(
    code: grpc.StatusCode, text: str
) -> None:
    """The id that was sent is in the text, in a header and in `_meta`."""
    async with (
        backend_that(refusing(code, text)) as backend,
        serving({"name": "b", "target": backend.target}) as url,
    ):
        failed = await fail(url)
    sent = list(dict.fromkeys(call.request.request_id for call in backend.answered))
    assert failed.ids == sent
    assert failed.texts[0].startswith(text)
    for shown, request_id in zip(failed.texts, sent, strict=True):
        assert "The operation may have begun." in shown
        assert f"with requestId {request_id}, which starts no second operation." in shown
        assert "5 s" not in shown


@pytest.mark.parametrize(
    "code",
    [
        *(grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND),
        *(grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.PERMISSION_DENIED),
        *(grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.FAILED_PRECONDITION),
        *(grpc.StatusCode.ABORTED, grpc.StatusCode.OUT_OF_RANGE),
        *(grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAUTHENTICATED),
    ],
    ids=lambda code: code.name,
)
async def test_a_refusal_stays_as_the_backend_sent_it(code: grpc.StatusCode) -> None:
    """The backend says that nothing has begun."""
    async with (
        backend_that(refusing(code, "no")) as backend,
        serving({"name": "b", "target": backend.target}) as url,
    ):
        failed = await fail(url)
    assert backend.count("BuildMachine") == 2
    assert failed.ids == []
    assert "may have begun" not in "".join(failed.texts)
    assert "Request less" not in failed.texts[1]


async def test_the_details_of_a_backend_stay_as_they_were_sent() -> None:
    """The message and the details are unchanged. Headers and the second text have the advice."""
    quota = error_details_pb2.QuotaFailure()
    quota.violations.add(subject="disk")
    info = error_details_pb2.ErrorInfo(reason="FULL", domain="lro-gateway")
    handler = refusing(grpc.StatusCode.INTERNAL, "the disk is full", info, quota)
    async with (
        backend_that(handler) as backend,
        serving({"name": "b", "target": backend.target}) as url,
    ):
        failed = await fail(url)
    assert failed.rest.json()["error"] == {
        "code": 500,
        "message": "the disk is full",
        "status": "INTERNAL",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "FULL",
                "domain": "lro-gateway",
            },
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{"subject": "disk"}],
            },
        ],
    }
    assert failed.ids == [call.request.request_id for call in backend.answered]
    step = failed.rest.headers["lro-gateway-next-step"]
    assert step.startswith("The operation may have begun. Send the request again with requestId")
    assert "The operation may have begun." in failed.texts[1]


@pytest.mark.parametrize(
    "ending",
    [
        *(resetting(code) for code in (0, 2, 8, 11, 12)),
        answering_http(502, "bad gateway"),
        answering_http(500, "oops"),
        answering_http(200, "<html>"),
        going_away(),
        closing,
    ],
    ids=lambda ending: getattr(ending, "__qualname__", ""),
)
async def test_a_connection_that_breaks_after_the_start_shows_the_request_id(
    ending: Ending, tmp_path: Path
) -> None:
    """Such a reset has one of many codes, even PERMISSION_DENIED."""
    descriptors = tmp_path / "factory.binpb"
    await asyncio.to_thread(descriptors.write_bytes, factory.descriptor_set().SerializeToString())
    async with (
        ResettingServer.open(ending) as server,
        serving({"name": "b", "target": server.target, "descriptors": [str(descriptors)]}) as url,
    ):
        failed = await fail(url)
    assert server.calls >= 2
    assert len(failed.ids) == 2
    for text, request_id in zip(failed.texts, failed.ids, strict=True):
        assert "The operation may have begun." in text
        assert request_id in text


async def test_a_call_that_was_never_sent_has_begun_nothing(tmp_path: Path) -> None:
    """No server listens, so the caller may try again at once, with the same request_id."""
    descriptors = tmp_path / "factory.binpb"
    await asyncio.to_thread(descriptors.write_bytes, factory.descriptor_set().SerializeToString())
    target = unused_address()
    async with serving({"name": "b", "target": target, "descriptors": [str(descriptors)]}) as url:
        failed = await fail(url)
    for text, request_id in zip(failed.texts, failed.ids, strict=True):
        assert "The backend did not receive the call, so nothing has begun." in text
        assert f"again with requestId {request_id}." in text
    (info,) = failed.rest.json()["error"]["details"]
    assert info["metadata"]["request_id"] == failed.ids[0]


async def test_a_backends_own_lost_connection_is_not_taken_for_the_gateways() -> None:
    """A backend may pass on gRPC's text about a backend of its own, after it has begun."""
    text = "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.1:1: Refused"
    async with (
        backend_that(refusing(grpc.StatusCode.UNAVAILABLE, text)) as backend,
        serving({"name": "b", "target": backend.target}) as url,
    ):
        failed = await fail(url)
    assert all("The operation may have begun." in text for text in failed.texts)


async def test_a_start_without_a_request_id_is_looked_for_before_it_is_repeated() -> None:
    """The advice never is to try again at once."""
    async with (
        backend_that(refusing(grpc.StatusCode.UNAVAILABLE, UPSTREAM), path=OVERHAUL) as backend,
        serving({"name": "b", "target": backend.target}) as url,
    ):
        failed = await fail(url, "overhaul", f"/v1/{OVERHAUL}", {})
    assert backend.count("Overhaul") == 2
    assert failed.ids == []
    assert failed.texts[0] == (
        f"{UPSTREAM}. The operation may have begun. List the operations with GET /v1/operations"
        " first, and send the request again only if the operation is not there."
    )
    assert failed.texts[1].endswith(
        "The operation may have begun. Call list_operations first, and call this tool again only"
        " if the operation is not there."
    )


async def test_a_request_id_that_declares_no_format_is_shown_and_not_relied_on() -> None:
    """The field may have another meaning, so the caller looks for the operation first."""
    async with (
        backend_that(
            refusing(grpc.StatusCode.UNAVAILABLE, UPSTREAM), request_ids(), "strange.Strange/Plain"
        ) as backend,
        serving({"name": "b", "target": backend.target}) as url,
    ):
        failed = await fail(url, "plain", "/v1/strange.Strange/Plain", {})
    assert [call.request.request_id for call in backend.answered] == failed.ids
    for text, request_id in zip(failed.texts, failed.ids, strict=True):
        assert f"again with requestId {request_id} only if the operation is not there." in text


async def test_the_callers_own_request_id_is_shown_unless_it_is_not_printable() -> None:
    """An id with control characters must not reach a header."""
    async with (
        backend_that(refusing(grpc.StatusCode.INTERNAL, "lost")) as backend,
        serving({"name": "b", "target": backend.target}) as url,
    ):
        assert (await fail(url, arguments={**factory.ORDER, "requestId": "mine"})).ids == [
            "mine",
            "mine",
        ]
        for odd in ("a\r\nset-cookie: b", "schlüssel", "x" * 5000):
            failed = await fail(url, arguments={**factory.ORDER, "requestId": odd})
            assert failed.ids == []
            assert "may have begun" in failed.texts[0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"\xff", "MALFORMED_RESPONSE"),
        (operations_pb2.Operation(name="n" * 70_000), "RESPONSE_TOO_LARGE"),
    ],
)
async def test_an_answer_that_the_gateway_cannot_take_shows_the_request_id(
    answer: Answer, reason: str
) -> None:
    """The backend has begun. The advice is not to ask for less."""
    async with (
        backend_that(answering(answer)) as backend,
        serving({"name": "b", "target": backend.target, "max_message_bytes": 65536}) as url,
    ):
        failed = await fail(url)
    (info,) = failed.rest.json()["error"]["details"]
    assert (info["reason"], info["metadata"]["request_id"]) == (reason, failed.ids[0])
    assert all("may have begun" in text for text in failed.texts)
    assert not any("equest less" in text for text in failed.texts)
    is_too_large = reason == "RESPONSE_TOO_LARGE"
    repeats = "Do not repeat the call: its answer would be as large."
    assert all((repeats in text) is is_too_large for text in failed.texts)


async def test_a_refusal_of_a_repeat_leaves_the_first_call_open() -> None:
    """The first call may have begun, and the second one then found what the first one made."""
    unavailable = refusing(grpc.StatusCode.UNAVAILABLE, "reset")
    exists = refusing(grpc.StatusCode.ALREADY_EXISTS, "there is one")
    async with (
        backend_that(after(1, unavailable, exists)) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        response = await client.post("/v1/machines:build", json=factory.ORDER)
    assert response.status_code == 409
    sent = {call.request.request_id for call in backend.answered}
    assert sent == {response.headers["lro-gateway-request-id"]}
    assert "List the operations" in response.json()["error"]["message"]


async def test_a_plain_method_that_changes_something_may_have_taken_effect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It starts no operation, so there is none to look for. The log has a line of each call."""
    caplog.set_level("INFO", "lro_gateway.service.service")
    path = "strange.Strange/Change"
    async with (
        backend_that(refusing(grpc.StatusCode.INTERNAL, "lost"), request_ids(), path) as backend,
        serving({"name": "b", "target": backend.target, "methods": ["*"]}) as url,
    ):
        failed = await fail(url, "change", f"/v1/{path}", {})
    assert all(
        "The call may have taken effect. Read the current state first" in text
        for text in failed.texts
    )
    assert any(each.startswith(f"call of {path} on b: INTERNAL after ") for each in caplog.messages)


async def test_a_refused_start_leaves_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """The line has the method, the backend, the code and the duration."""
    caplog.set_level("INFO", "lro_gateway.service.service")
    async with (
        backend_that(refusing(grpc.StatusCode.ABORTED, "busy")) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        response = await client.post("/v1/machines:build", json=factory.ORDER)
    lines = [each.getMessage() for each in caplog.records if each.name.endswith("service.service")]
    assert response.status_code == 409
    assert len(lines) == 1
    assert re.fullmatch(r"start of \S+ on b: ABORTED after \d+\.\d{3} s", lines[0])


async def test_a_start_that_the_gateways_stop_cuts_off_shows_the_request_id(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has it too, for the case that the caller has left."""
    monkeypatch.setattr("lro_gateway.service.starting._SHUTDOWN_GRACE", 0.0)
    monkeypatch.setattr("lro_gateway.gateway.CALLS_GRACE", timedelta())
    called = asyncio.Event()

    async def hanging(_request: Any, _context: Any) -> Any:
        called.set()
        await asyncio.Event().wait()

    async with backend_that(hanging) as backend, asyncio.timeout(60):
        served = serving({"name": "b", "target": backend.target, "deadline": "600s"})
        url = await served.__aenter__()
        async with httpx.AsyncClient(base_url=url) as client:
            call = asyncio.create_task(client.post("/v1/machines:build", json=factory.ORDER))
            await called.wait()
            stopping = asyncio.create_task(served.__aexit__(None, None, None))
            response = await call
        await stopping
    request_id = response.headers["lro-gateway-request-id"]
    assert uuid.UUID(request_id).version == 4
    assert f"again with requestId {request_id}" in response.json()["error"]["message"]
    assert f"{BUILD} on b with request_id {request_id} ended without an answer" in caplog.text

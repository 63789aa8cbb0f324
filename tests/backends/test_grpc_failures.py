"""Failures that gRPC itself reports are the gateway's errors. A backend's status is its own."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import grpc
import pytest

from lro_gateway.backends.grpc_failures import Failure, has_passed
from lro_gateway.errors import DOMAIN, Code, StatusError
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.verb_requests import NameRequest
from tests.contrary import Answer, ContraryBackend, refusing
from tests.gateways import service_of
from tests.resets import (
    Ending,
    ResettingServer,
    answering_grpc,
    answering_http,
    closing,
    going_away,
    message,
    resetting,
    sending,
)

JOB = NameRequest("jobs/1")
TOO_LARGE = b"\0\x7f\xff\xff\xff"
"""The prefix of a message of 2 GiB."""


async def error_of(target: str, **settings: Any) -> StatusError:
    """Return the error of a read of an operation."""
    async with service_of(target, **{"deadline": "30s", **settings}) as service:
        with pytest.raises(StatusError) as caught:
            await service.get(ANONYMOUS, JOB)
    return caught.value


async def error_after(ending: Ending) -> StatusError:
    """Return the error of a read from a server that ends each call in this way."""
    async with ResettingServer.open(ending) as server:
        return await error_of(server.target)


BROKEN = {
    "no trailers": answering_http(200, "hi"),
    "no status": answering_grpc({"x": "y"}),
    "status that is a word": answering_grpc({"grpc-status": "abc"}),
    "empty status": answering_grpc({"grpc-status": ""}),
    "negative status": answering_grpc({"grpc-status": "-1"}),
    "unknown encoding": answering_grpc(
        {"grpc-status": "0"},
        headers={"grpc-encoding": "snappy"},
        data=message(b"x", compressed=True),
    ),
    "junk in gzip": answering_grpc(
        {"grpc-status": "0"}, headers={"grpc-encoding": "gzip"}, data=message(b"x", compressed=True)
    ),
    "junk instead of frames": sending(b"\xff" * 40),
    "reset": resetting(2),
    "reset as cancelled": resetting(8),
    "reset as too much": resetting(11),
    "reset as insecure": resetting(12),
    "reset after GOAWAY": going_away(),
}


@pytest.mark.parametrize("ending", BROKEN.values(), ids=BROKEN)
async def test_a_call_without_a_valid_status_is_broken(ending: Ending) -> None:
    """The error is the gateway's, names the backend, and quotes gRPC's reason."""
    error = await error_after(ending)
    assert error.info is not None
    assert (error.reason, error.info.domain) == ("CALL_BROKEN", DOMAIN)
    start, _, cause = error.message.partition("; gRPC reports ")
    assert start.startswith("the call of google.longrunning.Operations/GetOperation to backend 'b'")
    assert cause.strip('"') == error.info.metadata["cause"] != ""
    assert "Stream removed" not in cause


async def test_a_message_that_is_compressed_without_an_encoding_is_malformed() -> None:
    """The gateway gets its bytes as they are, and they are no Operation."""
    ending = answering_grpc({"grpc-status": "0"}, data=message(b"x", compressed=True))
    error = await error_after(ending)
    assert (error.code, error.reason) == (Code.INTERNAL, "MALFORMED_RESPONSE")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, Code.INTERNAL),
        (401, Code.UNAUTHENTICATED),
        (403, Code.PERMISSION_DENIED),
        (404, Code.UNIMPLEMENTED),
        (429, Code.UNAVAILABLE),
        (500, Code.UNKNOWN),
        (502, Code.UNAVAILABLE),
        (503, Code.UNAVAILABLE),
        (504, Code.UNAVAILABLE),
    ],
)
async def test_an_answer_in_http_is_told_with_its_status(status: int, code: Code) -> None:
    """A proxy or a server without gRPC has answered, so the text is not the backend's."""
    error = await error_after(answering_http(status, "<html>"))
    assert error.info is not None
    assert (error.code, error.reason) == (code, "HTTP_RESPONSE")
    assert f"with HTTP status {status} instead of a gRPC status; " in error.message
    assert error.info.metadata["http_status"] == str(status)


@pytest.mark.parametrize("ending", [closing, sending(b"\0\0\x08\x07\0\0\0\0\0" + b"\0" * 8)])
async def test_a_connection_that_ends_during_a_call_is_a_backend_out_of_reach(
    ending: Ending,
) -> None:
    """The server closes the connection, or sends GOAWAY before the call."""
    error = await error_after(ending)
    assert (error.code, error.reason) == (Code.UNAVAILABLE, "BACKEND_UNAVAILABLE")


async def test_a_message_over_the_limit_is_too_large() -> None:
    """The prefix of the message states its size."""
    error = await error_after(answering_grpc({"grpc-status": "0"}, data=TOO_LARGE))
    assert (error.code, error.reason) == (Code.RESOURCE_EXHAUSTED, "RESPONSE_TOO_LARGE")


async def test_a_stream_that_stays_open_is_late() -> None:
    """The headers have arrived, and then nothing until the deadline."""
    async with ResettingServer.open(answering_grpc({}, ends=False)) as server:
        error = await error_of(server.target, deadline="0.3s")
    assert (error.code, error.reason) == (Code.DEADLINE_EXCEEDED, "BACKEND_DEADLINE_EXCEEDED")


@pytest.mark.parametrize(
    "data", [b"", message(b"\xff\xff"), message(b"x" * 100)[:20], b"\x07\0\0\0\x01x"]
)
async def test_an_ok_without_a_readable_message_is_a_malformed_answer(data: bytes) -> None:
    """There is no message, or junk, or a part of one, or a prefix with unknown flags."""
    error = await error_after(answering_grpc({"grpc-status": "0"}, data=data))
    assert (error.code, error.reason) == (Code.INTERNAL, "MALFORMED_RESPONSE")


@pytest.mark.parametrize("status", ["17", "99999"])
async def test_a_number_that_is_no_code_is_unknown_and_the_text_is_the_backends(
    status: str,
) -> None:
    """The status has come in the trailers, so its text is the backend's word."""
    error = await error_after(answering_grpc({"grpc-status": status, "grpc-message": "why"}))
    assert (error.is_backends, error.code, error.message) == (True, Code.UNKNOWN, "why")


RELAYED = [
    (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; last error: UNKNOWN: x"),
    (grpc.StatusCode.UNAVAILABLE, "Socket closed"),
    (grpc.StatusCode.UNAVAILABLE, "recvmsg:Connection reset by peer"),
    (grpc.StatusCode.UNAVAILABLE, "errors resolving db.internal:443"),
    (grpc.StatusCode.UNAVAILABLE, "keepalive watchdog timeout"),
    (grpc.StatusCode.UNAVAILABLE, "connections to all backends failing; last error: GOAWAY"),
    (grpc.StatusCode.UNKNOWN, "Stream removed"),
    (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"),
    (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "CLIENT: Received message larger than max (5000 vs. 4000)",
    ),
]


@pytest.mark.parametrize(("code", "text"), RELAYED, ids=[text[:20] for _, text in RELAYED])
async def test_a_backend_that_passes_on_the_text_of_a_call_of_its_own_is_quoted(
    code: grpc.StatusCode, text: str
) -> None:
    """The gateway is connected, its deadline has not passed, and its limits are others."""
    async with ContraryBackend.open({"GetOperation": refusing(code, text)}) as backend:
        error = await error_of(backend.target)
    assert error.is_backends
    assert (error.code.name, error.message) == (code.name, text)
    assert not error.unsent


async def test_a_backend_that_answers_a_deadline_at_the_deadline_is_late() -> None:
    """Both ends see the deadline of the call, and either may be first."""

    async def hang(_request: Any, _context: Any) -> Answer:
        await asyncio.Event().wait()
        return b""

    async with ContraryBackend.open({"GetOperation": hang}) as backend:
        error = await error_of(backend.target, deadline="0.3s")
    assert (error.is_backends, error.reason) == (False, "BACKEND_DEADLINE_EXCEEDED")


def test_a_failure_without_a_text_is_not_grpcs() -> None:
    """Some servers send a code alone."""
    metadata = grpc.aio.Metadata()
    error = grpc.aio.AioRpcError(grpc.StatusCode.ABORTED, metadata, metadata, details=None)
    assert Failure.of(error) == Failure(grpc.StatusCode.ABORTED, "", is_grpcs=False)


def test_a_deadline_has_passed_when_its_time_is_over() -> None:
    """The clock of gRPC and that of the process may differ by some milliseconds."""
    now = time.monotonic()
    assert has_passed(timedelta(seconds=1), now - 0.999)
    assert not has_passed(timedelta(seconds=100), now)

"""What is noted of each exchange, also of one that ends with an exception."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lro_gateway.log_context import REQUEST_ID
from lro_gateway.serving.exchanges import Exchanges
from lro_gateway.serving.log_lines import TextFormatter
from lro_gateway.telemetry import metrics
from tests.telemetry.test_metrics import samples

_COUNT = "http_server_request_duration_seconds_count"


async def failing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Raise before the answer."""
    raise ZeroDivisionError


async def breaking(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Raise after the answer has begun."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ZeroDivisionError


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    """Return a client of an app behind the middleware."""
    transport = httpx.ASGITransport(Exchanges(app, logs_access=False))
    return httpx.AsyncClient(
        transport=transport, base_url="http://a", headers={"X-Request-Id": "r1"}
    )


def count_of(method: str, status: str) -> float:
    """Return how many requests the metrics count."""
    labels = frozenset({("http_request_method", method), ("http_response_status_code", status)})
    found: dict[Any, float] = samples(metrics.exposition(None).decode())
    return found.get((_COUNT, labels), 0)


async def test_an_exception_is_logged_and_answered_with_the_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The answer has Google's form, and tells nothing of the exception."""
    before = count_of("GET", "500")
    caplog.handler.setFormatter(TextFormatter())
    async with client_of(failing) as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "r1")
    error = answer.json()["error"]
    assert error["status"] == "INTERNAL"
    assert [each.get("requestId") for each in error["details"]] == [None, "r1"]
    assert "ZeroDivision" not in answer.text
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert " the answer to a request failed x-request-id=r1\n" in caplog.text
    assert count_of("GET", "500") == before + 1


async def test_an_exception_in_the_middle_of_an_answer_reaches_the_server() -> None:
    """The server then closes the connection, so that the client does not take it for complete."""
    async with client_of(breaking) as client:
        with pytest.raises(ZeroDivisionError):
            await client.get("/")
    assert REQUEST_ID.get() is None


async def test_methods_that_callers_invent_are_one_label() -> None:
    """Otherwise a caller could make any number of series."""
    before = count_of("_OTHER", "200")
    async with client_of(PlainTextResponse("")) as client:
        for method in ("BREW", "BRAISE"):
            await client.request(method, "/")
    assert count_of("_OTHER", "200") == before + 2

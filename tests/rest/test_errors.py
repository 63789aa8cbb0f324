"""Exceptions of an application's routes become Google's error body."""

from __future__ import annotations

from typing import Any, Literal

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from lro_gateway.rest.errors import HANDLERS

ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


class Address(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str
    kind: Literal["once", "always"] = "once"


class Subscription(BaseModel):
    addresses: list[Address]


app = FastAPI(exception_handlers=HANDLERS)


@app.post("/subscriptions")
async def create(subscription: Subscription, limit: int = 1) -> Subscription:
    """Accept a subscription; its body and its query can be invalid in several ways."""
    assert limit
    return subscription


@app.get("/teapot")
async def teapot() -> None:
    """Raise an HTTPException, as Starlette's own routes do."""
    raise HTTPException(418, "this is a teapot", {"x-kind": "teapot"})


async def send(method: str, path: str, content: str = "") -> httpx.Response:
    """Send a request to the application."""
    transport = httpx.ASGITransport(app)
    headers = {"content-type": "application/json"}
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.request(method, path, content=content, headers=headers)


def body(message: str, reason: str, violations: dict[str, str]) -> Any:
    """Return the body of an INVALID_ARGUMENT that names these fields."""
    return {
        "error": {
            "code": 400,
            "message": message,
            "status": "INVALID_ARGUMENT",
            "details": [
                {
                    "@type": ERROR_INFO,
                    "reason": reason,
                    "domain": "lro-gateway",
                    "metadata": {"field": next(iter(violations))},
                },
                {
                    "@type": BAD_REQUEST,
                    "fieldViolations": [
                        {"field": field, "description": problem}
                        if field
                        else {"description": problem}
                        for field, problem in violations.items()
                    ],
                },
            ],
        }
    }


@pytest.mark.parametrize(
    ("path", "content", "reason", "violations"),
    [
        ("", '{"addresses": [{}]}', "REQUIRED_FIELD", {"addresses.0.url": "a value is needed"}),
        (
            "",
            '{"addresses": [{"url": "u", "port": 1}]}',
            "UNKNOWN_FIELD",
            {"addresses.0.port": "there is no such field"},
        ),
        ("", "", "REQUIRED_FIELD", {"": "the request needs a body, which is a JSON object"}),
        ("", '{"addresses": ', "INVALID_JSON", {"": "the body is not JSON"}),
        (
            "?limit=many",
            '{"addresses": [{"url": "u", "kind": "never"}]}',
            "INVALID_FIELD",
            {
                "limit": "Input should be a valid integer, unable to parse string as an integer",
                "addresses.0.kind": "Input should be 'once' or 'always'",
            },
        ),
        (
            "",
            r'{"addresses": [{"url": "u", "\ud800": 1}]}',
            "INVALID_FIELD",
            {
                "addresses.0": "Input should be a valid string, unable to parse raw data as a"
                " unicode string"
            },
        ),
    ],
)
async def test_a_request_that_fastapi_refuses_gets_googles_error_body(
    path: str, content: str, reason: str, violations: dict[str, str]
) -> None:
    """The error is INVALID_ARGUMENT, and its BadRequest names every invalid field."""
    response = await send("POST", f"/subscriptions{path}", content)
    message = "; ".join(
        f"{field}: {problem}" if field else problem for field, problem in violations.items()
    )
    assert (response.status_code, response.json()) == (400, body(message, reason, violations))


async def test_an_http_exception_keeps_its_status_and_headers() -> None:
    """The body has Google's form and the message of the exception."""
    response = await send("GET", "/teapot")
    assert (response.status_code, response.headers["x-kind"]) == (418, "teapot")
    assert response.json() == {
        "error": {
            "code": 418,
            "message": "this is a teapot",
            "status": "INVALID_ARGUMENT",
            "details": [
                {"@type": ERROR_INFO, "reason": "BAD_REQUEST", "domain": "lro-gateway"},
            ],
        }
    }

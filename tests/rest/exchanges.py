"""The contents of REST responses, and the RPCs that a backend has received."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import httpx
from google.protobuf import any_pb2

from tests.contrary import ContraryBackend
from tests.shapes import message

METADATA = any_pb2.Any()
METADATA.Pack(message("Everything", big=1, color=2, job=message("Job", progress_percent=7)))
METADATA_JSON = {
    "@type": "type.googleapis.com/shapes.v1.Everything",
    "big": "1",
    "color": "BLUE",
    "job": {"progressPercent": 7},
}


def rpcs(backend: ContraryBackend) -> list[tuple[str, str]]:
    """Return the RPCs that the backend received, each with the name in its request."""
    return [
        (call.method, call.request.name)
        for call in backend.calls
        if not call.method.startswith("reflection")
    ]


def error_of(response: httpx.Response) -> Any:
    """Return the error in a response, after a check that its body has exactly Google's keys."""
    assert response.headers["content-type"].startswith("application/json")
    body = response.json()
    assert list(body) == ["error"]
    error = body["error"]
    assert set(error) <= {"code", "message", "status", "details"}
    assert error["code"] == response.status_code
    return error


async def raw(url: str, request: bytes) -> tuple[bytes, bytes]:
    """Send these bytes as an HTTP request; return the head and the body of the response."""
    reader, writer = await asyncio.open_connection(*urlsplit(url).netloc.split(":"))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body

"""HTTP/1.1 at its barest: requests as bytes, and answers found in a buffer.

The load generator shares two cores with what it measures, so it must cost little, and the same for
REST as for MCP: an HTTP library would take more time than some of the contenders.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from scripts.benchmark.jobs import Job

_VERSION: Final = "2026-07-28"
_META: Final = "io.modelcontextprotocol/"
_LAST_CHUNK: Final = b"0\r\n\r\n"


def rest_request(address: str, job: Job, subject: str) -> bytes:
    """Return the request by which a route does a job."""
    head = (
        f"{job.verb} {job.path(subject)} HTTP/1.1\r\nHost: {address}\r\n"
        "Accept: application/json\r\n"
    )
    if job.verb == "GET":
        return f"{head}\r\n".encode()
    return _with_body(head, job.arguments(subject))


def mcp_request(address: str, job: Job, subject: str) -> bytes:
    """Return the `tools/call` by which a tool does a job."""
    params = {"name": job.tool, "arguments": job.arguments(subject)}
    return mcp_message(address, "tools/call", params, f"Mcp-Name: {job.tool}\r\n")


def mcp_message(address: str, method: str, params: Mapping[str, Any], headers: str = "") -> bytes:
    """Return a request as an MCP client of 2026-07-28 sends it."""
    meta = {
        f"{_META}protocolVersion": _VERSION,
        f"{_META}clientInfo": {"name": "benchmark", "version": "1"},
        f"{_META}clientCapabilities": {},
    }
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: {address}\r\n"
        "Accept: application/json, text/event-stream\r\n"
        f"MCP-Protocol-Version: {_VERSION}\r\nMcp-Method: {method}\r\n{headers}"
    )
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    return _with_body(head, message)


def _with_body(head: str, content: Mapping[str, Any]) -> bytes:
    body = json.dumps(content, separators=(",", ":")).encode()
    type_and_length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return f"{head}{type_and_length}".encode() + body


REQUESTS: Final[Mapping[str, Callable[[str, Job, str], bytes]]] = {
    "rest": rest_request,
    "mcp": mcp_request,
}
"""By protocol, from an address, a job and its subject."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: its status and its body."""

    status: int
    body: bytes


def find_answer(received: bytes | bytearray) -> Answer | None:
    """Return the answer that the bytes hold, or None while it is incomplete."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(received[:end]).lower()
    status = int(head[9:12])
    start = end + 4
    _, found, rest = head.partition(b"\r\ncontent-length:")
    if found:
        length = int(rest.split(b"\r\n", 1)[0])
        complete = len(received) >= start + length
        return Answer(status, bytes(received[start : start + length])) if complete else None
    if not received.endswith(_LAST_CHUNK):
        return None
    return Answer(status, _last_event(_joined(bytes(received[start:]))))


def _joined(chunks: bytes) -> bytes:
    """Return the content of a chunked body."""
    content = b""
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        content += rest[:length]
        chunks = rest[length + 2 :] if length else b""
    return content


def _last_event(stream: bytes) -> bytes:
    """Return the data of the last event, which carries the result."""
    data = [line[5:].strip() for line in stream.splitlines() if line.startswith(b"data:")]
    return data[-1] if data else stream

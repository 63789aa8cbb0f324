"""What else than a gateway may answer: a page, or the JSON of another service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lro_gateway.demo.pace import Gate
from tests.commands.stage import Stage

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def another_service(status: str, media_type: str, body: str) -> AsyncIterator[Stage]:
    """Serve the same answer to each request."""
    content = body.encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {len(content)}"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"{head}\r\nconnection: close\r\n\r\n".encode() + content)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        no_client: Any = None
        yield Stage(Gate(), no_client, f"http://127.0.0.1:{port}", "")


@pytest.mark.parametrize(
    ("status", "media_type", "body"),
    [
        ("200 OK", "text/html", "<html>"),
        ("200 OK", "application/json", "{}"),
        ("200 OK", "application/json", '{"operations": 5, "summary": "up", "result": null}'),
        ("200 OK", "application/json", "[" * 100_000),
        ("200 OK", "text/event-stream", "event: operation\ndata: {bad\n\n"),
        ("200 OK", "text/event-stream", "event: operation\ndata: {}\n\n"),
        ("401 Unauthorized", "application/json", '{"error": "sign in"}'),
        ("302 Found", "text/html", ""),
    ],
)
async def test_what_is_no_gateway_is_told_and_is_no_failed_operation(
    status: str, media_type: str, body: str
) -> None:
    """The status 1 of a traceback would say that an operation has failed."""
    async with another_service(status, media_type, body) as stage:
        for command in (
            *(("operations", "list"), ("operations", "list", "--mine"), ("call", "Create", "{}")),
            *(("operations", "describe", "operations/1"), ("operations", "wait", "operations/1")),
            *(("approvals", "list"), ("webhooks", "list")),
        ):
            ended = await stage.run(*command)
            assert (ended.status, ended.stdout) == (4, ""), (command, ended)
            told = f"lro-gateway: {stage.url} answered {status}, but not as a gateway. Check"
            assert ended.stderr.startswith(told), (command, ended)

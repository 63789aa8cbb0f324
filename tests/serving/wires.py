"""Raw HTTP connections to the process of a gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.serving.test_workers import Gateway, running

HOST = b"Host: localhost\r\n"
LIVEZ = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
OPENAPI = b"GET /docs HTTP/1.1\r\n" + HOST + b"\r\n"
UNENDING_WAIT = b"POST /v1/jobs/1:wait HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n"


@asynccontextmanager
async def limited(
    directory: Path, target: str = "127.0.0.1:1", /, **limits: int | str
) -> AsyncIterator[Gateway]:
    """Run one process of a gateway with these limits."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in limits.items()]
    async with running(directory, target, "[limits]", *lines, workers=1) as gateway:
        yield gateway


@dataclass
class Wire:
    """A connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, gateway: Gateway, sent: bytes = b"") -> Wire:
        """Connect, and send bytes."""
        url = urlsplit(gateway.url)
        wire = cls(*await asyncio.open_connection(url.hostname, url.port))
        wire.writer.write(sent)
        return wire

    async def answer(self) -> tuple[int, Any]:
        """Read one answer: its HTTP status, and its JSON or text."""
        async with asyncio.timeout(60):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status = int(head.split()[1])
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
            body = await self.reader.readexactly(int(length or 0))
        is_json = b"application/json" in head
        return status, json.loads(body) if is_json and body else body

    async def refusal(self) -> tuple[int, str, dict[str, str]]:
        """Read an error: its HTTP status, and the reason and metadata of its ErrorInfo."""
        status, body = await self.answer()
        info = body["error"]["details"][0]
        assert body["error"]["code"] == status
        return status, info["reason"], info.get("metadata", {})

    async def end(self) -> bytes:
        """Read to the end of the connection, and close it."""
        try:
            async with asyncio.timeout(60):
                return await self.reader.read()
        finally:
            self.close()

    def close(self) -> None:
        """Leave without a word."""
        self.writer.transport.abort()


async def exchange(gateway: Gateway, sent: bytes) -> tuple[int, Any]:
    """Send bytes on a new connection, and read one answer."""
    wire = await Wire.open(gateway, sent)
    try:
        return await wire.answer()
    finally:
        wire.close()

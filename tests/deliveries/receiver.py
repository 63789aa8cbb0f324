"""A receiver of webhooks: a real HTTPS server that answers as a test says."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.certificates import Identity


@dataclass(frozen=True, slots=True)
class Received:
    """A request. Header names are in small letters."""

    path: str
    headers: dict[str, str]
    body: bytes


Behavior = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]
"""Answers a request, or does something else with its connection."""


def answering(status: int, body: bytes = b"", **headers: str) -> Behavior:
    """Answer with a status, a body and headers, whose names have `_` for `-`."""

    async def answer(_request: Received, writer: asyncio.StreamWriter) -> None:
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{more}\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    return answer


async def hanging(_request: Received, _writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def closing(_request: Received, writer: asyncio.StreamWriter) -> None:
    """Close the connection in the middle of an answer."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.close()


@dataclass
class Receiver:
    """A running receiver. `behavior` may change at any time."""

    port: int
    scheme: str
    behavior: Behavior
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        """The URL of the receiver, at 127.0.0.1."""
        return f"{self.scheme}://127.0.0.1:{self.port}/hook"

    async def after(self, number: int) -> list[Received]:
        """Return the requests once there are so many."""
        async with asyncio.timeout(60), self._arrived:
            await self._arrived.wait_for(lambda: len(self.received) >= number)
        return self.received

    async def told_of(self, name: str) -> None:
        """Return once a request is about an operation."""
        async with asyncio.timeout(60), self._arrived:
            await self._arrived.wait_for(
                lambda: any(name.encode() in each.body for each in self.received)
            )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read requests of one connection, and answer them."""
        self.connections += 1
        try:
            while line := await reader.readline():
                _, path, _ = line.decode().split(" ")
                headers = {}
                while (line := await reader.readline()).strip():
                    name, _, value = line.decode().partition(":")
                    headers[name.strip().lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                request = Received(path, headers, body)
                self.received.append(request)
                async with self._arrived:
                    self._arrived.notify_all()
                await self.behavior(request, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving(
    behavior: Behavior, identity: Identity | None = None
) -> AsyncIterator[Receiver]:
    """Run a receiver over HTTPS with this certificate, or over HTTP without one."""
    context = None
    if identity is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(identity.certificate, identity.key)
    receiver = Receiver(0, "https" if context else "http", behavior)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(receiver.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in [*tasks]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

"""A TCP proxy whose connections go silent, while new connections work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class SilentProxy:
    """A proxy on loopback; `connections` counts the accepted connections."""

    backend: str
    target: str = ""
    connections: int = 0
    _silent: list[asyncio.Event] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    @asynccontextmanager
    async def open(cls, backend: str) -> AsyncIterator[SilentProxy]:
        """Listen until the context ends; `backend` is the address of the server behind."""
        proxy = cls(backend)

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            proxy._tasks.add(asyncio.create_task(proxy._serve(reader, writer)))

        listener = await asyncio.start_server(accept, "127.0.0.1", 0)
        proxy.target = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        try:
            yield proxy
        finally:
            listener.close()
            for task in proxy._tasks:
                task.cancel()
            await asyncio.gather(*proxy._tasks, return_exceptions=True)

    def silence(self) -> None:
        """Pass on no more bytes of the connections that exist now, and keep them open."""
        for silent in self._silent:
            silent.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        silent = asyncio.Event()
        self._silent.append(silent)
        host, _, port = self.backend.rpartition(":")
        try:
            to_reader, to_writer = await asyncio.open_connection(host, int(port))
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pump(reader, to_writer, silent))
                    group.create_task(_pump(to_reader, writer, silent))
            finally:
                to_writer.close()
        finally:
            # The backend may have ended before the connection to it was open.
            writer.close()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silent: asyncio.Event
) -> None:
    with suppress(ConnectionError):
        while content := await reader.read(65536):
            if not silent.is_set():
                writer.write(content)
                await writer.drain()
    writer.close()

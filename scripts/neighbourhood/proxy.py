"""A TCP proxy in front of a backend, which can treat what passes through it badly."""

from __future__ import annotations

import asyncio
import os
import random
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import Final

_CHUNK: Final = 65536
_DELAY: Final = 0.3
"""Seconds by which a proxy delays each chunk."""
_SHARE: Final = 0.3
"""The share of chunks that a proxy truncates or corrupts."""
_JUNK: Final = 40
"""Bytes of junk. They come between frames of HTTP/2, so that no message is changed unnoticed."""


class Mode(Enum):
    """What a proxy does to its connections."""

    PASS = "passes"  # noqa: S105 - no password
    STALL = "stalls"
    DELAY = "delays"
    TRUNCATE = "truncates"
    CORRUPT = "corrupts"
    REFUSE = "refuses"


class Proxy:
    """A proxy on loopback to one target."""

    def __init__(self, target: str, chance: random.Random) -> None:
        self.address = ""
        self._target = target
        self._chance = chance
        self._mode = Mode.PASS
        self._changed = asyncio.Event()
        self._writers: set[StreamWriter] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Proxy]:
        """Listen until the context ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = "{}:{}".format(*server.sockets[0].getsockname())
        try:
            yield self
        finally:
            server.close()
            self.turn(Mode.REFUSE)

    def turn(self, mode: Mode) -> None:
        """Treat all connections in another way from now on. `REFUSE` also cuts them."""
        self._mode = mode
        self._changed.set()
        self._changed = asyncio.Event()
        if mode is Mode.REFUSE:
            for writer in self._writers:
                writer.transport.abort()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._mode is Mode.REFUSE:
            writer.transport.abort()
            return
        host, _, port = self._target.rpartition(":")
        try:
            target_reader, target_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, target_writer}
        self._writers |= pair
        try:
            with suppress(OSError):
                await asyncio.gather(
                    self._pump(reader, target_writer), self._pump(target_reader, writer)
                )
        finally:
            self._writers -= pair
            for each in pair:
                each.transport.abort()

    async def _pump(self, reader: StreamReader, writer: StreamWriter) -> None:
        while content := await reader.read(_CHUNK):
            writer.write(await self._treated(content))
            await writer.drain()
        raise ConnectionError("one side has closed the connection")

    async def _treated(self, content: bytes) -> bytes:
        while self._mode is Mode.STALL:
            await self._changed.wait()
        if self._mode is Mode.DELAY:
            await asyncio.sleep(_DELAY)
        elif self._mode is Mode.TRUNCATE and self._chance.random() < _SHARE:
            raise ConnectionError("the proxy cuts the connection")
        elif self._mode is Mode.CORRUPT and self._chance.random() < _SHARE:
            return os.urandom(_JUNK) + content
        return content

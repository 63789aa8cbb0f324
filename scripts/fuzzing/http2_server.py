"""A server on loopback that speaks HTTP/2 by hand, so that each of its frames can be wrong."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

_PREFACE: Final = 24
_HEADER: Final = 9
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_ACK: Final = 1
_END_STREAM: Final = 1
_END_HEADERS: Final = 4
_MAX_COMMANDS: Final = 32


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return an HTTP/2 frame (RFC 9113)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header(name: bytes, value: bytes) -> bytes:
    """Return a header in HPACK, as a literal that is not indexed (RFC 7541)."""
    return b"\x00" + _length(name) + name + _length(value) + value


def _length(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes([size])
    return b"\x7f" + (bytes([(size - 127) % 128 | 128, (size - 127) // 128]))


class _Input:
    """Reads bytes and short texts from the end of what was read before."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        """Return the next byte, or 0 at the end."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def text(self) -> bytes:
        """Return a text whose length the next byte gives."""
        size = self.byte()
        text = self._data[self._at : self._at + size]
        self._at += size
        return text

    def __bool__(self) -> bool:
        return self._at < len(self._data)


def answer(data: bytes, stream: int) -> Iterator[bytes]:
    """Yield the frames of an answer to a call on a stream. `data` chooses them.

    Each command is one byte, and the bytes that it needs. The last frame resets the stream, so that
    the call ends.
    """
    script = _Input(data)
    for _ in range(_MAX_COMMANDS):
        if not script:
            break
        yield _COMMANDS[script.byte() % len(_COMMANDS)](script, stream)
    yield frame(_RST_STREAM, 0, stream, struct.pack(">I", 8))


def _headers(_script: _Input, stream: int) -> bytes:
    block = b"\x88" + header(b"content-type", b"application/grpc")
    return frame(_HEADERS, _END_HEADERS, stream, block)


def _message(script: _Input, stream: int) -> bytes:
    content = script.text()
    return frame(_DATA, 0, stream, struct.pack(">BI", 0, len(content)) + content)


def _data(script: _Input, stream: int) -> bytes:
    return frame(_DATA, script.byte() & _END_STREAM, stream, script.text())


def _trailers(script: _Input, stream: int) -> bytes:
    block = header(b"grpc-status", b"%d" % script.byte())
    block += header(b"grpc-message", script.text())
    return frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, block)


def _details(script: _Input, stream: int) -> bytes:
    block = header(b"grpc-status", b"%d" % script.byte())
    details = base64.b64encode(script.text()).rstrip(b"=")
    block += header(b"grpc-status-details-bin", details)
    return frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, block)


def _any_frame(script: _Input, stream: int) -> bytes:
    return frame(script.byte(), script.byte(), stream, script.text())


def _any_header(script: _Input, stream: int) -> bytes:
    block = header(script.text(), script.text())
    return frame(_HEADERS, _END_HEADERS | script.byte() & _END_STREAM, stream, block)


def _reset(script: _Input, stream: int) -> bytes:
    return frame(_RST_STREAM, 0, stream, struct.pack(">I", script.byte()))


def _going_away(script: _Input, _stream: int) -> bytes:
    code = struct.pack(">II", script.byte(), script.byte())
    return frame(_GOAWAY, 0, 0, code + script.text())


_COMMANDS: Final[tuple[Callable[[_Input, int], bytes], ...]] = (
    *(_headers, _message, _data, _trailers, _details),
    *(_any_frame, _any_header, _reset, _going_away),
)


class Http2Server:
    """A running server. It answers each call by the bytes in `data`."""

    def __init__(self) -> None:
        self.data = b""
        self.target = ""
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen at a free port of loopback, and set `target`."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.target = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(_PREFACE)
            writer.write(frame(_SETTINGS, 0, 0))
            while True:
                await self._answer_frame(reader, writer)
        writer.close()

    async def _answer_frame(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        start = await reader.readexactly(_HEADER)
        kind, flags, stream = struct.unpack(">BBI", start[3:])
        payload = await reader.readexactly(int.from_bytes(start[:3], "big"))
        if kind in {_SETTINGS, _PING} and not flags & _ACK:
            writer.write(frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind == _HEADERS:
            for each in answer(self.data, stream):
                writer.write(each)
        await writer.drain()

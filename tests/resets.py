"""A raw HTTP/2 server, for the ways in which a proxy or a dying server ends a gRPC call."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

_PREFACE: Final = 24
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_ACK = _END_STREAM = 1
_END_HEADERS: Final = 4
_EMPTY_REQUEST: Final = 5
"""The size of a gRPC request without fields, such as the gateway's check of a backend's health."""

Ending = Callable[[int], bytes]
"""Returns the frames that end the stream with this number. The server closes after no frames."""


@dataclass
class ResettingServer:
    """A server that ends every call in the same way. `calls` counts the calls with arguments."""

    ending: Ending
    target: str = ""
    calls: int = 0
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def open(cls, ending: Ending) -> AsyncIterator[ResettingServer]:
        """Listen on loopback until the context ends."""
        server = cls(ending)
        listener = await asyncio.start_server(server._serve, "127.0.0.1", 0)
        server.target = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        try:
            yield server
        finally:
            listener.close()
            for writer in server._writers:
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        writer.write(_frame(_SETTINGS, 0, 0))
        try:
            await reader.readexactly(_PREFACE)
            while True:
                head = await reader.readexactly(9)
                kind, flags, stream = struct.unpack(">xxxBBI", head)
                payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
                if kind in {_SETTINGS, _PING} and not flags & _ACK:
                    writer.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
                if kind == _DATA and flags & _END_STREAM:
                    self.calls += len(payload) > _EMPTY_REQUEST
                    if not (frames := self.ending(stream)):
                        break
                    writer.write(frames)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The client has closed the connection.
        writer.close()


def resetting(code: int) -> Ending:
    """Reset the stream with an error code of HTTP/2."""
    return lambda stream: _frame(_RST_STREAM, 0, stream, struct.pack(">I", code))


def answering_http(status: int, text: str) -> Ending:
    """Answer with an HTTP status and a text, as a proxy does that does not know gRPC."""

    def ending(stream: int) -> bytes:
        headers = _headers({":status": str(status), "content-type": "text/plain"})
        return _frame(_HEADERS, _END_HEADERS, stream, headers) + _frame(
            _DATA, _END_STREAM, stream, text.encode()
        )

    return ending


def answering_grpc(
    trailers: Mapping[str, str],
    *,
    headers: Mapping[str, str] | None = None,
    data: bytes = b"",
    ends: bool = True,
) -> Ending:
    """Answer in gRPC with any headers, bytes and trailers, even if they are wrong.

    The stream stays open if it does not end (`ends`).
    """

    def ending(stream: int) -> bytes:
        first = {":status": "200", "content-type": "application/grpc", **(headers or {})}
        frames = _frame(_HEADERS, _END_HEADERS, stream, _headers(first))
        if data:
            frames += _frame(_DATA, 0, stream, data)
        if ends:
            flags = _END_HEADERS | _END_STREAM
            frames += _frame(_HEADERS, flags, stream, _headers(trailers))
        return frames

    return ending


def message(content: bytes, *, compressed: bool = False) -> bytes:
    """Return a message of gRPC with its prefix of five bytes."""
    return struct.pack(">BI", compressed, len(content)) + content


def sending(frames: bytes) -> Ending:
    """Send bytes that are no frames of HTTP/2."""
    return lambda _stream: frames


def going_away() -> Ending:
    """Send GOAWAY, in which the stream still counts as accepted, and then reset the stream."""

    def ending(stream: int) -> bytes:
        goaway = _frame(_GOAWAY, 0, 0, struct.pack(">II", stream, 2) + b"max_age")
        return goaway + resetting(2)(stream)

    return ending


def closing(_stream: int) -> bytes:
    """Close the connection without an answer."""
    return b""


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _headers(headers: Mapping[str, str]) -> bytes:
    """Encode headers as literals without indexing (RFC 7541)."""
    return b"".join(
        b"\0" + _text(name.encode()) + _text(value.encode("latin-1"))
        for name, value in headers.items()
    )


def _text(content: bytes) -> bytes:
    """Encode a text of up to 254 bytes, with its length in a prefix of 7 bits."""
    size = len(content)
    return (bytes([size]) if size < 127 else bytes([127, size - 127])) + content

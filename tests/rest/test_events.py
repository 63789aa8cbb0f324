"""A stream of events as a response: whoever leaves, and whenever, its source is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message

from lro_gateway.rest.events import EventStream


class Source:
    """A source that has begun, and the events that are made of it."""

    def __init__(self) -> None:
        self.is_closed = False
        self.states = self._states()
        self.events = self._events()

    async def _states(self) -> AsyncGenerator[int]:
        try:
            yield 0
            await asyncio.Event().wait()
        finally:
            self.is_closed = True

    async def _events(self) -> AsyncGenerator[bytes]:
        yield b"data: first\n\n"
        async for state in self.states:
            yield b"data: %d\n\n" % state


async def never() -> Message:
    """Receive nothing, as from a client that stays."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable: nothing sets the event")


@pytest.mark.parametrize("left_at", ["http.response.start", "http.response.body"])
async def test_a_stream_closes_its_source_when_the_client_leaves(left_at: str) -> None:
    """Before the first event as well as after it, and before the response returns."""
    source, left = Source(), asyncio.Event()
    await anext(source.states)
    stream = EventStream(source.events, source.states)

    async def send(message: Message) -> None:
        if message["type"] == left_at:
            left.set()
        if message["type"] == "http.response.body":
            # The client reads no further.
            await asyncio.Event().wait()

    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    async with asyncio.timeout(10):
        await stream({"type": "http", "method": "GET"}, receive, send)
    assert source.is_closed


async def test_head_of_a_stream_closes_its_source() -> None:
    """The headers are the whole answer."""
    source, sent = Source(), []
    await anext(source.states)
    stream = EventStream(source.events, source.states)

    async def send(message: Message) -> None:
        sent.append((message["type"], message.get("body")))

    await stream({"type": "http", "method": "HEAD"}, never, send)
    assert sent == [("http.response.start", None), ("http.response.body", b"")]
    assert source.is_closed


async def test_a_stream_that_is_cancelled_closes_its_source() -> None:
    """A server that stops cancels its requests."""
    source, begun = Source(), asyncio.Event()
    await anext(source.states)
    stream = EventStream(source.events, source.states)

    async def send(_message: Message) -> None:
        begun.set()

    streaming = asyncio.create_task(stream({"type": "http", "method": "GET"}, never, send))
    await begun.wait()
    streaming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await streaming
    assert source.is_closed

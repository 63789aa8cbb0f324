"""Parts of uvicorn's connection that take little memory while they do nothing.

uvicorn gives each connection a deque, and two events with a deque each. Measured: an empty deque
takes 0.8 KB, and a stream uses none of the three.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl


class LightEvent:
    """An event as asyncio's, for at most a few tasks."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self, *, is_set: bool = False) -> None:
        self._is_set = is_set
        self._waiting: tuple[asyncio.Future[None], ...] = ()

    def is_set(self) -> bool:
        """Return whether the event is set."""
        return self._is_set

    def set(self) -> None:
        """Set the event, and wake the tasks that wait for it."""
        self._is_set = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def clear(self) -> None:
        """Let tasks wait from now on."""
        self._is_set = False

    async def wait(self) -> bool:
        """Return True when the event has been set."""
        if not self._is_set:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting += (waiter,)
            try:
                await waiter
            finally:
                self._waiting = tuple(each for each in self._waiting if each is not waiter)
        return True


class LightFlow(FlowControl):
    """The flow of a connection, which is first neither paused for reads nor for writes."""

    __slots__ = ("_is_writable_event", "_transport", "read_paused", "write_paused")

    def __init__(self, transport: asyncio.Transport) -> None:
        # The base class makes an event of asyncio.
        self._transport = transport
        self.read_paused = self.write_paused = False
        self._is_writable_event: Any = LightEvent(is_set=True)


class LightPipeline(list[Any]):
    """The requests that wait for the answers before theirs, the next one at the end.

    A client may have a few, so a list serves as well as a deque.
    """

    def appendleft(self, request: Any) -> None:
        """Add a request behind all others."""
        self.insert(0, request)


class ClientEvent(LightEvent):
    """The event of a request: its client has sent more, or has left."""

    __slots__ = ("_flow", "_has_left", "_left")

    def __init__(self, flow: FlowControl) -> None:
        super().__init__()
        self._flow = flow
        self._has_left = False
        self._left: Callable[[], None] | None = None

    @property
    def keeps_body(self) -> bool:
        """Whether what the client sends is kept, because something may read it."""
        return self._left is None

    def when_left(self, left: Callable[[], None] | None) -> None:
        """Call this function once the client has left, or no function any more."""
        self._left = left
        if left is None:
            return
        # The system reports the end of a connection only while it is read.
        self._flow.resume_reading()
        if self._has_left:
            asyncio.get_running_loop().call_soon(left)

    def leave(self) -> None:
        """Tell that the client has left."""
        self._has_left = True
        if self._left is not None:
            self._left()
        self.set()

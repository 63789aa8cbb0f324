"""Parts of uvicorn's connection that take little memory while they do nothing.

uvicorn gives each connection a deque, and two events with a deque each. Measured: an empty deque
takes 0.8 KB, and a stream uses none of the three.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl


class LightEvent:
    """An event as asyncio's, for at most a few tasks."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self, *, is_set: bool = False) -> None:
        self._is_set = is_set
        self._waiting: list[asyncio.Future[None]] = []

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
            self._waiting.append(waiter)
            try:
                await waiter
            finally:
                self._waiting.remove(waiter)
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

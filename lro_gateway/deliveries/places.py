"""The places of messages that are under way: how many there are in all, and for each origin."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from cachetools import LRUCache

from lro_gateway.deliveries.egress import EgressError

_MAX_ANSWERING: Final = 8192
"""The number of origins of which it is known that they answer."""


@dataclass(slots=True)
class _Origin:
    """The number of messages that are under way to an origin, and those that wait."""

    running: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Places:
    """Gives each message a place, so that origins that hang delay no other one.

    There are `most` places, and for one origin `most_of_one`. An origin has only `of_silent` places
    until it has answered, and again after a message that got no answer in time. Otherwise a few
    dozen origins that hang could take all places.
    """

    def __init__(self, most: int, most_of_one: int, of_silent: int) -> None:
        self._all = asyncio.Semaphore(most)
        self._most_of_one = most_of_one
        self._of_silent = of_silent
        self._origins: dict[str, _Origin] = {}
        self._answering: LRUCache[str, None] = LRUCache(_MAX_ANSWERING)

    @asynccontextmanager
    async def of(self, url: str) -> AsyncIterator[None]:
        """Wait for a place for a message to a URL, and keep it until the context ends.

        An exception of the context tells whether the origin has answered in time.
        """
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        found = self._origins.setdefault(origin, _Origin())
        await self._enter(origin, found)
        try:
            async with self._all:
                yield
            self._answering[origin] = None
        except EgressError as error:
            if error.kind == "timeout":
                self._answering.pop(origin, None)
            raise
        finally:
            self._leave(origin, found)

    async def _enter(self, origin: str, found: _Origin) -> None:
        if self._has_room(origin, found):
            found.running += 1
            return
        turn = asyncio.get_running_loop().create_future()
        found.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in found.waiting:
                found.waiting.remove(turn)
            elif not turn.cancelled():
                self._leave(origin, found)
            raise

    def _leave(self, origin: str, found: _Origin) -> None:
        found.running -= 1
        while found.waiting and self._has_room(origin, found):
            turn = found.waiting.popleft()
            if not turn.done():
                found.running += 1
                turn.set_result(None)
        if not found.running and not found.waiting:
            del self._origins[origin]

    def _has_room(self, origin: str, found: _Origin) -> bool:
        is_silent = origin not in self._answering
        return found.running < (self._of_silent if is_silent else self._most_of_one)

"""A program: readers of server-sent events, each a connection, that tell when they saw a state."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from typing import Final, cast

import uvloop

from scripts.benchmark.answers import WrongAnswerError, state_of
from scripts.benchmark.jobs import GET, operation_name
from scripts.benchmark.lines import Message, answer_lines, say

_LIMIT: Final = 20.0
_AT_ONCE: Final = 100
_DATA: Final = re.compile(rb"^data: (.*)$", re.MULTILINE)


class Crowd:
    """All readers: how many saw each state, and when the last of them did."""

    def __init__(self) -> None:
        self.readers: list[Reader] = []
        self.last: dict[int, float] = {}
        self._seen: Counter[int] = Counter()
        self._progress = asyncio.Event()
        self._failure: Exception | None = None

    def saw(self, state: int) -> None:
        """Note that one more reader has come to a state."""
        self._seen[state] += 1
        self.last[state] = time.perf_counter()
        if self._seen[state] == len(self.readers):
            self._progress.set()

    def fail(self, failure: Exception) -> None:
        """End every wait with an error."""
        self._failure = failure
        self._progress.set()

    async def all_saw(self, state: int) -> None:
        """Return once every reader has come to a state."""
        async with asyncio.timeout(_LIMIT):
            while self._seen[state] < len(self.readers):
                self._progress.clear()
                await self._progress.wait()
                if self._failure is not None:
                    raise self._failure


class Reader(asyncio.Protocol):
    """One reader of one operation's watch."""

    def __init__(self, crowd: Crowd, address: str, name: str) -> None:
        self._crowd = crowd
        self._request = f"GET {GET.path(name)}:watch HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
        self._name = name
        self._received = b""
        self._leaves = False
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        # uvloop's transports write but are not declared to.
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take what came, and check and note every whole event."""
        events, _, self._received = (self._received + data).rpartition(b"\n\n")
        try:
            for content in _DATA.findall(events):
                self._crowd.saw(state_of(content, self._name))
        except WrongAnswerError as error:
            self._crowd.fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail unless the reader left by itself."""
        if not self._leaves:
            self._crowd.fail(exc or ConnectionResetError("the server closed a watch"))

    def vanish(self) -> None:
        """Leave without a word."""
        self._leaves = True
        if self._transport is not None:
            self._transport.abort()


async def _open(crowd: Crowd, order: Message) -> None:
    """Connect so many readers, a few at a time."""
    address = order["address"]
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    first, apart = order["first"], order["apart"]
    crowd.readers = [
        Reader(crowd, address, operation_name(first + (number if apart else 0)))
        for number in range(order["readers"])
    ]
    for begin in range(0, len(crowd.readers), _AT_ONCE):
        some = crowd.readers[begin : begin + _AT_ONCE]
        await asyncio.gather(
            *(loop.create_connection(lambda r=reader: r, host, int(port)) for reader in some)  # type: ignore[misc]  # a default argument has no type
        )
    await crowd.all_saw(order["state"])


async def main() -> None:
    """Open `readers` of a watch, `apart` or of one; wait until they saw a `state`; `vanish`."""
    say({"ready": True})
    crowd = Crowd()

    async def follow(order: Message) -> Message:
        nonlocal crowd
        if "readers" in order:
            crowd = Crowd()
            await _open(crowd, order)
        elif "state" in order:
            await crowd.all_saw(order["state"])
            return {"last": crowd.last[order["state"]]}
        else:
            for reader in crowd.readers:
                reader.vanish()
        return {}

    await answer_lines(follow)


if __name__ == "__main__":
    uvloop.run(main())

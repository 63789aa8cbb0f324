"""Measures watches over server-sent events: RPCs, delays of changes, and memory.

As a program, this runs the readers of watches, each on a connection of its own.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median, quantiles
from typing import Final, cast

import uvloop
from rich.table import Table

from scripts.benchmark.processes import (
    HAS_PROC,
    Message,
    Process,
    ProcessError,
    answer_lines,
    gateway_with,
    program,
)
from scripts.benchmark.report import Part, Target, at_most, spread, table
from scripts.benchmark.requests import GET, WrongAnswerError, host_and_port, operation_name

LAST_READER_TARGET_MS: Final = 250.0
VANISHED_TARGET_SECONDS: Final = 5.0
MEMORY_LEFT: Final = 0.1
"""The fraction of the memory of readers that the gateway may keep after they have vanished."""
_PAUSE: Final = 0.05
_LIMIT: Final = 20.0
_AT_ONCE: Final = 100
_FANNED_OUT: Final = 10_000
"""A number above the numbers of all other operations.

The operation of `fan_out` has this number plus the number of its readers.
"""
_DATA: Final = re.compile(rb"^data: (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FanOut:
    """The figures of one operation that changes while `readers` read its watch.

    `delays_ms` has one delay for each change: the milliseconds from the backend's answer with the
    new state until the last reader has it. `rpcs` counts all calls of the backend since the first
    reader.
    """

    readers: int
    rpcs: int
    delays_ms: tuple[float, ...]

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of the delays."""
        return quantiles(self.delays_ms, n=100, method="inclusive")[98]


@dataclass(frozen=True, slots=True)
class Vanishing:
    """The figures of readers that close all connections at once; each reads its own operation.

    The readers connect and vanish twice, and the second time is measured, because allocators keep
    the memory of the first time. All megabytes are of resident memory. `taken_mb` is the growth by
    the first readers. The other figures are the memory before, with and after the second readers.
    `seconds` is the time until all calls of the backend had ended and the memory was released. It
    is None if that took longer than the target.
    """

    readers: int
    seconds: float | None
    taken_mb: float
    before_mb: float
    with_mb: float
    after_mb: float


@dataclass(frozen=True, slots=True)
class Course:
    """A backend whose operations change, a gateway, and the program of the readers."""

    backend: Process
    gateway: Process
    readers: Process

    @staticmethod
    @asynccontextmanager
    async def open() -> AsyncIterator[Course]:
        """Run the processes until the context ends."""
        async with program("backend", "wait") as backend, program("watching") as readers:
            # With these limits the gateway polls the operations of all readers at once, and waits
            # for each of them by a call of its own.
            limit = {"polls_per_second": 10_000, "max_concurrent_calls": 10_000}
            async with gateway_with({"name": "backend", "target": backend.address, **limit}) as one:
                yield Course(backend, one, readers)

    async def fan_out(self, readers: int, changes: int) -> FanOut:
        """Change an operation `changes` times, each time after all readers have the last change."""
        calls = (await self.backend.ask())["calls"]
        # The operation is new, because an operation that was just read costs one RPC less.
        await self._connect([_FANNED_OUT + readers] * readers)
        delays = []
        for _ in range(changes):
            state = (await self.backend.ask(change=True))["state"]
            seen = await self.readers.ask(state=state)
            delays.append((seen["last"] - (await self.backend.ask())["answered"]) * 1000)
        await self._all_wait(1)
        rpcs = (await self.backend.ask())["calls"] - calls
        await self._vanish()
        return FanOut(readers, rpcs, tuple(delays))

    async def vanishing(self, readers: int) -> Vanishing:
        """Connect readers and let them vanish, twice. Needs `HAS_PROC`."""
        resident = self.gateway.resident_mb
        at_first = resident()
        await self._connect(range(readers))
        taken = resident() - at_first
        await self._vanish()
        before = resident()
        await self._connect(range(readers))
        with_them = resident()
        seconds = await self._vanish(before + taken * MEMORY_LEFT)
        return Vanishing(readers, seconds, taken, before, with_them, resident())

    async def _connect(self, numbers: Sequence[int]) -> None:
        """Connect a reader for each number of an operation; return when all are watched."""
        state = (await self.backend.ask())["state"]
        await self.readers.ask(numbers=[*numbers], state=state, address=self.gateway.address)
        await self._all_wait(len(set(numbers)))

    async def _all_wait(self, watches: int) -> None:
        """Return when the backend has a running call of WaitOperation for each watch."""
        if await self._seconds_until(lambda waiting: waiting >= watches, _LIMIT) is None:
            raise ProcessError(
                f"the backend did not get a WaitOperation for each of {watches} watches"
            )

    async def _vanish(self, most_mb: float = math.inf) -> float | None:
        """Close the connections of all readers at once.

        Return the seconds until all watches have ended and the memory is at most `most_mb`, or None
        if that takes longer than the target.
        """
        await self.readers.ask()
        return await self._seconds_until(
            lambda waiting: (
                waiting == 0 and (most_mb == math.inf or self.gateway.resident_mb() <= most_mb)
            ),
            VANISHED_TARGET_SECONDS,
        )

    async def _seconds_until(self, reached: Callable[[int], bool], limit: float) -> float | None:
        begin = time.perf_counter()
        while (seconds := time.perf_counter() - begin) <= limit:
            if reached((await self.backend.ask())["waiting"]):
                return seconds
            await asyncio.sleep(_PAUSE)
        return None


async def measure_watching(readers: int, changes: int) -> Part:
    """Measure readers that vanish, then changes for one reader and for `readers` readers."""
    async with Course.open() as course:
        vanishing = await course.vanishing(readers) if HAS_PROC else None
        one, many = [await course.fan_out(number, changes) for number in (1, readers)]
    document = {
        "one": asdict(one),
        "many": asdict(many),
        "vanishing": asdict(vanishing) if vanishing else None,
        "rpc_ratio": many.rpcs / one.rpcs,
        "p99_ms": many.p99_ms,
    }
    targets = _targets(one, many, vanishing)
    return Part({"watching": document}, [_table(one, many)], targets)


def _table(*fan_outs: FanOut) -> Table:
    headings = ("readers", "changes", "RPCs", "to the last, p50 ms", "p99 ms")
    shown = table("Changes to SSE readers, by WaitOperation", headings)
    for each in fan_outs:
        p50, p99 = f"{median(each.delays_ms):.2f}", f"{each.p99_ms:.2f}"
        shown.add_row(f"{each.readers:,}", f"{len(each.delays_ms)}", f"{each.rpcs}", p50, p99)
    return shown


def _targets(one: FanOut, many: FanOut, vanishing: Vanishing | None) -> list[Target]:
    readers, ratio = f"{many.readers:,} SSE readers", many.rpcs / one.rpcs
    rpcs = f"{readers} of one / 1 reader, RPCs at the backend"
    p99, delays = many.p99_ms, many.delays_ms
    delay = f"change to the last of {readers}, p99 of {len(delays)}"
    found = [
        Target(rpcs, "= 1.00", f"{ratio:.2f}", f"{one.rpcs} and {many.rpcs}", ratio == 1.0),
        at_most(delay, LAST_READER_TARGET_MS, "ms", p99, spread(delays), ".0f"),
    ]
    if vanishing:
        name = f"{readers} vanish: watches gone, MB back"
        limit = f"<= {VANISHED_TARGET_SECONDS:g} s"
        measured = "never" if vanishing.seconds is None else f"{vanishing.seconds:.2f} s"
        memory = f"{vanishing.before_mb:.0f} to {vanishing.after_mb:.0f} MB"
        found.append(Target(name, limit, measured, memory, vanishing.seconds is not None))
    return found


class Crowd:
    """The readers: the number that has got each state, and the time when the last one got it."""

    def __init__(self, size: int) -> None:
        self.last: dict[int, float] = {}
        self.transports: list[asyncio.Transport] = []
        self.vanished = False
        self._size = size
        self._seen: Counter[int] = Counter()
        self._progress = asyncio.Event()
        self._failure: Exception | None = None

    def saw(self, state: int) -> None:
        """Note that one more reader has got this state."""
        self._seen[state] += 1
        self.last[state] = time.perf_counter()
        if self._seen[state] == self._size:
            self._progress.set()

    def fail(self, failure: Exception) -> None:
        """Let every `all_saw` raise this error."""
        self._failure = failure
        self._progress.set()

    async def all_saw(self, state: int) -> None:
        """Return once every reader has got this state."""
        async with asyncio.timeout(_LIMIT):
            while self._seen[state] < self._size:
                self._progress.clear()
                await self._progress.wait()
                if self._failure is not None:
                    raise self._failure

    def vanish(self) -> None:
        """Close all connections at once."""
        self.vanished = True
        for transport in self.transports:
            transport.abort()


class Reader(asyncio.Protocol):
    """One reader of the watch of one operation."""

    def __init__(self, crowd: Crowd, address: str, name: str) -> None:
        self._crowd = crowd
        self._request = f"GET {GET.path(name)}:watch HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
        self._name = name
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request for the watch."""
        # uvloop's transports have a method `write`, but their type does not declare it.
        cast("asyncio.WriteTransport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        """Check and note the state that every complete event carries."""
        events, _, self._received = (self._received + data).rpartition(b"\n\n")
        for content in _DATA.findall(events):
            operation = json.loads(content)
            if operation.get("name") != self._name or operation.get("done"):
                self._crowd.fail(WrongAnswerError(content.decode()))
            else:
                self._crowd.saw(int(operation["metadata"]["pagesCopied"]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail unless the benchmark itself closed the connections."""
        if not self._crowd.vanished:
            self._crowd.fail(exc or ConnectionResetError("the server closed a watch"))


async def _connect(numbers: list[int], address: str, state: int) -> Crowd:
    """Connect a reader for each number, a few at a time. Return when all have got the state."""
    loop, crowd, target = asyncio.get_running_loop(), Crowd(len(numbers)), host_and_port(address)
    readers = [partial(Reader, crowd, address, operation_name(number)) for number in numbers]
    for begin in range(0, len(readers), _AT_ONCE):
        some = (loop.create_connection(each, *target) for each in readers[begin : begin + _AT_ONCE])
        crowd.transports += [transport for transport, _ in await asyncio.gather(*some)]
    await crowd.all_saw(state)
    return crowd


async def main() -> None:
    """Follow orders: connect readers for `numbers`, wait for a `state`, or close connections."""
    crowd = Crowd(0)

    async def follow(order: Message) -> Message:
        nonlocal crowd
        if "numbers" in order:
            crowd = await _connect(**order)
        elif "state" in order:
            await crowd.all_saw(order["state"])
            return {"last": crowd.last[order["state"]]}
        else:
            crowd.vanish()
        return {}

    await answer_lines(follow)


if __name__ == "__main__":
    uvloop.run(main())

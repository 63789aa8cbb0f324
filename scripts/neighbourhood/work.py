"""The work of a run with webhooks: operations that end when they are told, and their receiver."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.longrunning import operations_pb2

from tests import factory
from tests.contrary import Answer, ContraryBackend

BUILD: Final = "factory.v1.Factory/BuildMachine"
PATH: Final = "lines/1/operations/"
_LIMIT: Final = 30.0
"""Seconds that a call of WaitOperation lasts at most."""


@dataclass
class Work:
    """The operations of a backend, each with the time of its end on the monotonic clock.

    `polled` is told of each call that reads an operation: of the door through which it came, and
    of the name. BuildMachine starts an operation that lasts as many seconds as its title says.
    """

    polled: Callable[[int, str], None] = lambda _door, _name: None
    ends: dict[str, float] = field(default_factory=dict)
    marks: Mapping[str, str] = field(default_factory=dict)
    """Titles of machines, which are the metadata of the operations."""
    waits: bool = False
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, ends: Mapping[str, float]) -> None:
        """Set when operations end, also for the calls that wait for it."""
        self.ends |= ends
        self._told.set()
        self._told = asyncio.Event()

    @asynccontextmanager
    async def open(self, door: int) -> AsyncIterator[str]:
        """Serve the operations at an address of its own, and yield the address."""

        async def get(request: Any, context: Any) -> Answer:
            return await self._state(door, request.name, context)

        async def wait(request: Any, context: Any) -> Answer:
            limit = time.monotonic() + (request.timeout.ToTimedelta().total_seconds() or _LIMIT)
            while (now := time.monotonic()) < (end := min(limit, self.ends.get(request.name, 0.0))):
                with suppress(TimeoutError):
                    async with asyncio.timeout(end - now):
                        await self._told.wait()
            return await self._state(door, request.name, context)

        operations = {"GetOperation": get, **({"WaitOperation": wait} if self.waits else {})}
        async with ContraryBackend.open(
            *(operations,),
            methods={BUILD: self._build},
            reflection_versions=("v1",),
            pool=factory.pool(),
        ) as backend:
            # The calls of a long run would fill the memory.
            backend.calls = _Nothing()
            yield backend.target

    async def _state(self, door: int, name: str, context: Any) -> Answer:
        if name not in self.ends:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such operation")
        self.polled(door, name)
        operation: Any = operations_pb2.Operation(
            name=name, done=time.monotonic() >= self.ends[name]
        )
        if name in self.marks:
            operation.metadata.Pack(factory.message("Machine", title=self.marks[name]))
        answer: Answer = operation
        return answer

    async def _build(self, request: Any, _context: Any) -> Answer:
        name = f"{PATH}{request.request_id or len(self.ends)}"
        self.ends.setdefault(name, time.monotonic() + float(request.machine.title))
        answer: Answer = operations_pb2.Operation(name=name)
        return answer


class _Nothing(list[Any]):
    """A list that keeps nothing."""

    def append(self, _item: Any, /) -> None:
        """Forget an item."""


@dataclass
class Receiver:
    """A receiver of webhooks that counts how often each path has got each event.

    `first` are the times of the first arrivals at a path. A path that begins with one of `failing`
    answers with status 503, and one that begins with one of `hanging` does not answer.
    """

    urls: list[str] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    ended: dict[str, str] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    failing: tuple[str, ...] = ()
    hanging: tuple[str, ...] = ()
    pause: float = 0.0
    """Seconds before each answer."""

    @property
    def url(self) -> str:
        """The first URL."""
        return self.urls[0]

    @property
    def duplicates(self) -> int:
        """The number of deliveries that came again."""
        return sum(count - 1 for count in self.counts.values())

    @asynccontextmanager
    async def open(self, endpoints: int = 1) -> AsyncIterator[Receiver]:
        """Listen at so many ports until the context ends."""
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        servers = [
            await asyncio.start_server(accept, "127.0.0.1", 0, backlog=2048)
            for _ in range(endpoints)
        ]
        ports = [each.sockets[0].getsockname()[1] for each in servers]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        try:
            yield self
        finally:
            for server in servers:
                server.close()
            for task in [*tasks]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                path, length = line.split(b" ")[1].decode(), 0
                while (header := await reader.readline()).strip():
                    name, _, value = header.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                status = await self._receive(path, json.loads(await reader.readexactly(length)))
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n".encode())
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _receive(self, path: str, event: dict[str, Any]) -> int:
        operation = event["data"]["operation"]
        self.counts[path, event["eventId"]] += 1
        self.first.setdefault(f"{path} {event['name']} {operation}", time.monotonic())
        await asyncio.sleep(self.pause)
        if path.startswith(self.hanging or ("-",)):
            await asyncio.Event().wait()
        if path.startswith(self.failing or ("-",)):
            return 503
        if event["name"] == "operation.done":
            self.ended[f"{path} {operation}"] = event["eventId"]
        return 200

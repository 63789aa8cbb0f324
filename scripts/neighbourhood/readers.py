"""Readers of operations that another replica polls, while that one is killed or stopped.

A reader notices no more than a pause: another replica polls soon, and no reader gets an error.
"""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg

from scripts.neighbourhood.findings import Findings
from scripts.neighbourhood.invariants import check_log
from scripts.neighbourhood.replicas import TAKEOVER, Replica, config, new_key
from scripts.neighbourhood.work import PATH, Work
from tests.postgresql import postgresql

_LONG: Final = 3600.0
_LIMIT: Final = 60.0
"""Seconds for which a step of a run waits before the run notes what is missing."""
_SETTLE: Final = 15.0
"""Seconds after which readers of a replica that goes on must know what the others know."""
_WINDOW: Final = 5.0
"""Seconds for which the polls of an operation are counted. One replica polls it every 2 s."""
_TICK: Final = 0.05
_UNBOUNDED: Final = httpx.Limits(max_connections=None)


@dataclass
class _Reader:
    """A watch over server-sent events: the marks of the states that it has got, with their times.

    `problem` is what has ended it before the operation was done.
    """

    url: str
    name: str
    marks: dict[str, float] = field(default_factory=dict)
    done: float = 0.0
    problem: str = ""

    async def read(self, client: httpx.AsyncClient) -> None:
        """Read until the operation is done, or the stream ends."""
        try:
            async with client.stream("GET", f"{self.url}/v1/{self.name}:watch") as answer:
                async for line in answer.aiter_lines():
                    self._take(line)
        except httpx.TransportError as error:
            self.problem = f"{type(error).__name__}: {error}"
        if not self.done:
            self.problem = self.problem or "the stream has ended"

    def _take(self, line: str) -> None:
        if line.startswith("event: status"):
            self.problem = "the stream has failed"
        if line.startswith("data:"):
            operation, now = json.loads(line.removeprefix("data:")), time.monotonic()
            self.marks.setdefault(operation.get("metadata", {}).get("title", ""), now)
            if operation.get("done"):
                self.done = now

    def knows(self, mark: str) -> bool:
        """Return whether this reader has got a mark, or gets nothing more."""
        return mark in self.marks or bool(self.problem)


Read = Callable[[Replica, list[str]], list[_Reader]]
"""Begins to read operations at a replica."""


@dataclass
class _Group:
    """Operations that one replica polls, with their readers at it and at the one that stays."""

    leader: Replica
    kind: str
    signal: signal.Signals
    names: list[str]
    own: list[_Reader] = field(default_factory=list)
    others: list[_Reader] = field(default_factory=list)
    gone: float = 0.0


class _Run:
    """A run: three replicas, which have one store and operations of one backend."""

    def __init__(self, work: Work, store: psycopg.Connection[Any], findings: Findings) -> None:
        self._work = work
        self._store = store
        self._findings = findings
        self._doors: defaultdict[str, set[int]] = defaultdict(set)
        self.names = [*work.ends]
        work.polled = lambda door, name: self._doors[name].add(door)

    async def until(self, holds: Callable[[], bool], limit: float, problem: str) -> None:
        """Wait until something holds, and note the problem if it does not hold in time."""
        try:
            async with asyncio.timeout(limit):
                while not holds():  # noqa: ASYNC110 - other processes change it
                    await asyncio.sleep(_TICK)
        except TimeoutError:
            self._findings.violate(problem, f"not within {limit:g} s")

    def leads(self, group: _Group) -> bool:
        """Return whether the leader of a group polls all of its operations for all replicas."""
        query = "SELECT count(*) FROM leads WHERE replica = %s"
        row = self._store.execute(query, (group.leader.id,)).fetchone()
        return row is not None and row[0] == len(group.names)

    def mark(self, mark: str) -> None:
        """Let each operation have another state."""
        self._work.marks = dict.fromkeys(self._work.ends, mark)

    async def all_know(self, readers: list[_Reader], mark: str, limit: float) -> None:
        """Mark the operations, and wait until all readers have seen it."""
        self.mark(mark)
        missing = "each reader learns each state"
        await self.until(lambda: all(each.knows(mark) for each in readers), limit, missing)

    async def lose(self, groups: list[_Group]) -> None:
        """Kill or stop the leaders, and see when the readers of the third replica go on."""
        for each in groups:
            each.gone = time.monotonic()
            each.leader.send(each.signal)
        await self.all_know([each for group in groups for each in group.others], "2", _LIMIT)
        for group in groups:
            what = f"polls that another replica takes over after {group.kind}"
            for reader in group.others:
                seconds = reader.marks.get("2", group.gone + _LIMIT) - group.gone
                self._findings.time(f"{what} (goal <= {TAKEOVER:g} s)", seconds)
                if seconds > TAKEOVER:
                    text = f"{reader.name}: {seconds:.1f} s"
                    self._findings.violate(f"{what} go on in time", text)

    async def check_polls(self) -> None:
        """Check that soon one replica polls each operation, and no other."""
        give_up = time.monotonic() + _SETTLE + _WINDOW
        while True:
            self._doors.clear()
            await asyncio.sleep(_WINDOW)
            wrong = [each for each in self.names if len(self._doors[each]) != 1]
            if not wrong:
                return
            if time.monotonic() > give_up:
                for each in wrong:
                    text = f"{each}: {len(self._doors[each])} replicas"
                    self._findings.violate("one replica polls for all", text)
                return

    async def end(self, readers: list[_Reader]) -> None:
        """End the operations, and check that each reader hears of it without an error before."""
        began = time.monotonic()
        self._work.end(dict.fromkeys(self._work.ends, began))
        missing = "the end reaches each reader"
        await self.until(
            lambda: all(each.done or each.problem for each in readers), _SETTLE, missing
        )
        for each in readers:
            if each.problem:
                self._findings.violate("no reader gets an error", f"{each.name}: {each.problem}")
            if each.done:
                self._findings.time("ends that reach a reader", each.done - began)


async def take_over_polls(number: int, findings: Findings) -> None:
    """Kill a replica that polls some of so many operations, and stop one that polls others.

    A third replica reads all of them, and polls the rest. The one that was stopped goes on later.
    """
    work = Work()
    work.ends = dict.fromkeys((f"{PATH}{at}" for at in range(number)), time.monotonic() + _LONG)
    with tempfile.TemporaryDirectory(prefix="lro-gateway-readers-") as directory:
        async with _running(Path(directory), work) as (replicas, store), _reading() as read:
            await _take_over(_Run(work, store, findings), replicas, read)
        for each in replicas:
            check_log(each.log.read_text(errors="replace"), findings)


async def _take_over(run: _Run, replicas: list[Replica], read: Read) -> None:
    killed, stopped, stays = replicas
    names = run.names
    # The third replica polls too, and must take over all the same.
    groups = [_Group(killed, "kill -9", signal.SIGKILL, names[::3])]
    groups += [_Group(stopped, "SIGSTOP", signal.SIGSTOP, names[1::3])]
    calm = _Group(stays, "", signal.SIGCONT, names[2::3])
    for group in (*groups, calm):
        group.own = read(group.leader, group.names)
        await run.until(partial(run.leads, group), _LIMIT, "a replica polls what it reads")
    for group in groups:
        group.others = read(stays, group.names)
    others = [each for group in groups for each in group.others]
    await run.all_know([*groups[0].own, *groups[1].own, *others], "1", _SETTLE)
    await run.lose(groups)
    stopped.send(signal.SIGCONT)
    remaining = [*groups[1].own, *others, *calm.own]
    await run.all_know(remaining, "3", _SETTLE)
    await run.check_polls()
    await run.end(remaining)


@asynccontextmanager
async def _reading() -> AsyncIterator[Read]:
    """Yield what begins to read operations at a replica. All reading ends with the context."""
    tasks: list[asyncio.Task[None]] = []
    async with httpx.AsyncClient(timeout=None, limits=_UNBOUNDED) as client:  # noqa: S113 - streams

        def read(replica: Replica, names: list[str]) -> list[_Reader]:
            readers = [_Reader(replica.url, each) for each in names]
            tasks.extend(asyncio.create_task(each.read(client)) for each in readers)
            return readers

        try:
            yield read
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _running(
    directory: Path, work: Work
) -> AsyncIterator[tuple[list[Replica], psycopg.Connection[Any]]]:
    """Run three replicas with doors of their own to the work."""
    key = new_key(directory)
    async with AsyncExitStack() as stack:
        server = stack.enter_context(postgresql(is_durable=True))
        dsn = server.create_database()
        replicas: list[Replica] = []
        for door in range(3):
            target = await stack.enter_async_context(work.open(door))
            replica = Replica(door, directory, config(dsn, target, key))
            stack.push_async_callback(replica.end, signal.SIGKILL)
            await replica.start()
            with psycopg.connect(dsn, autocommit=True) as store:
                rows = store.execute("SELECT id FROM replicas").fetchall()
            (replica.id,) = {each for (each,) in rows} - {each.id for each in replicas}
            replicas.append(replica)
        yield replicas, stack.enter_context(psycopg.connect(dsn, autocommit=True))

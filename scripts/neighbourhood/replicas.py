"""Replicas of a gateway on one PostgreSQL that are killed, stopped and ended while they deliver.

No event is lost, another replica soon follows what a dead one followed, and none follows what
another one has taken over.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg

from scripts.neighbourhood.findings import Findings
from scripts.neighbourhood.invariants import check_log
from scripts.neighbourhood.work import PATH, Receiver, Work
from tests.postgresql import PostgreSql, postgresql

TAKEOVER: Final = 15.0
"""Seconds after which another replica must follow what a dead one followed."""
HANDOVER: Final = 3.0
"""Seconds after which another replica must follow what one followed that got SIGTERM."""
LEASE: Final = 8.0
"""Seconds for which a replica may follow what another one has taken over."""
_SAMPLE: Final = 0.2
_AGAIN: Final = 1.0
"""Seconds until a call that failed is made again."""
_START: Final = 60.0
_SETTLE: Final = 60.0
_TIMEOUT: Final = 20.0
_LISTENING: Final = re.compile(r"REST (http://[0-9.:]+)/v1")
_EVENTS: Final = ["operation.started", "operation.done"]
COMMAND: Final = str(Path(sys.executable).with_name("lro-gateway"))
"""The gateway of this tree."""


@dataclass
class Replica:
    """One replica: its process, its log, and the id that it has in the store."""

    number: int
    directory: Path
    config: str
    program: str = COMMAND
    process: asyncio.subprocess.Process | None = None
    id: str = ""
    url: str = ""
    runs: bool = False
    resumed: float = 0.0
    """When the process went on after its last stop."""

    @property
    def log(self) -> Path:
        """The file of its log."""
        return self.directory / f"{self.number}.log"

    async def start(self) -> None:
        """Start a process, and return once it listens."""
        file = self.directory / f"{self.number}.toml"
        await asyncio.to_thread(file.write_text, self.config)
        begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as stderr:
            self.process = await asyncio.create_subprocess_exec(
                *(self.program, "serve", "--config", str(file)),
                stderr=stderr,
                start_new_session=True,
            )
        async with asyncio.timeout(_START):
            while (found := _LISTENING.search(self.log.read_text()[begin:])) is None:
                if self.process.returncode is not None:
                    raise OSError(f"a replica ended: {self.log.read_text()[-2000:]}")
                await asyncio.sleep(0.05)
        self.url = found[1]

    @property
    def status(self) -> int | None:
        """The exit status of the process, or None while it runs."""
        return self.process.returncode if self.process is not None else None

    @property
    def is_alive(self) -> bool:
        """Whether the process has started, and has not ended."""
        return self.process is not None and self.process.returncode is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        if self.process is not None and self.is_alive:
            self.process.send_signal(number)

    async def end(self, number: signal.Signals) -> float:
        """End the process by a signal, and return how many seconds that took."""
        self.runs = False
        began = time.monotonic()
        self.send(number)
        if self.process is not None:
            await self.process.wait()
        return time.monotonic() - began


@dataclass
class Loss:
    """What a replica followed when it was killed, stopped or ended."""

    id: str
    when: float
    kind: str
    limit: float
    waiting: set[str]


@dataclass
class Followers:
    """Who follows which operation: by the store, and by the calls that the backend gets."""

    findings: Findings
    replicas: Sequence[Replica] = ()
    owners: dict[str, str] = field(default_factory=dict)
    lost: dict[tuple[str, str], float] = field(default_factory=dict)
    """When a replica has ceased to be the owner of an operation, by operation and replica."""
    losses: list[Loss] = field(default_factory=list)
    suspected: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    """When a replica has called for an operation that it had lost, and how long it had."""
    twice: float = 0.0

    def polled(self, door: int, name: str) -> None:
        """Note a call of a replica that reads an operation."""
        replica, now = self.replicas[door], time.monotonic()
        for loss in self.losses:
            if name in loss.waiting and replica.id != loss.id:
                loss.waiting.discard(name)
                self.findings.time(f"takeovers after {loss.kind}", now - loss.when)
                if now - loss.when > loss.limit:
                    text = f"{name}: {now - loss.when:.1f} s"
                    self.findings.violate(f"a takeover after {loss.kind} is in time", text)
        since = self.lost.get((name, replica.id))
        if since is not None and self.owners.get(name) != replica.id:
            # It may just have taken the operation over again, which the next sample tells.
            self.suspected[name, replica.id] = (now, now - max(since, replica.resumed))

    def _judge(self, began: float, found: Mapping[str, str]) -> None:
        """Judge the calls before a sample: who made them must own the operation now."""
        for (name, replica), (when, excess) in [*self.suspected.items()]:
            if when < began:
                del self.suspected[name, replica]
                if name in found and found[name] != replica:
                    self.twice = max(self.twice, excess)
                    if excess > LEASE:
                        self.findings.violate("no tracker runs twice", f"{name}: {excess:.1f} s")

    def sampled(self, began: float, rows: Sequence[tuple[str, str]]) -> None:
        """Note who owns which operation, by a sample that began at a time."""
        now, found = time.monotonic(), dict(rows)
        self._judge(began, found)
        for name, owner in found.items():
            before = self.owners.get(name)
            if before is not None and before != owner:
                self.lost[name, before] = now
            self.lost.pop((name, owner), None)
        for loss in self.losses:
            # What has ended needs no follower, and was told.
            loss.waiting &= found.keys()
        self.owners = found

    def lose(self, replica: Replica, kind: str, limit: float) -> Loss:
        """Note that a replica is gone, and what it followed."""
        held = {name for name, owner in self.owners.items() if owner == replica.id}
        loss = Loss(replica.id, time.monotonic(), kind, limit, held)
        self.losses.append(loss)
        return loss


class Storm:
    """A run: the replicas, the operations that they follow, and what happens to both."""

    def __init__(
        self,
        server: PostgreSql,
        dsn: str,
        replicas: Sequence[Replica],
        work: Work,
        receiver: Receiver,
        followers: Followers,
        chance: random.Random,
    ) -> None:
        self._server = server
        self._dsn = dsn
        self._store = psycopg.connect(dsn, autocommit=True)
        # A client for each call would keep this process, and so the backend, from answering.
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, verify=False)  # noqa: S501 - no TLS
        self._replicas = replicas
        self._work = work
        self._receiver = receiver
        self._followers = followers
        self.findings = followers.findings
        self._chance = chance
        self._starting = asyncio.Lock()
        self._ids: set[str] = set()
        self._flying: set[str] = set()
        self.wanted: set[str] = set()
        """Which operation must end at which path of the receiver."""

    async def start(self, replica: Replica) -> None:
        """Start a replica, and learn its id."""
        async with self._starting:
            replica.id = ""
            await replica.start()
            # A replica is in the store before it listens.
            (replica.id,) = new = {each for (each,) in await self._rows(_REPLICAS)} - self._ids
            self._ids |= new
            replica.runs = True

    async def sample(self) -> None:
        """Learn again and again who follows what."""
        while True:
            await self._followers_now()
            await asyncio.sleep(_SAMPLE)

    async def schema(self) -> str:
        """Return the version of the schema."""
        rows = await self._rows("SELECT version_num FROM alembic_version")
        return str(rows[0][0])

    async def answers(self, replica: Replica) -> None:
        """Check that a replica runs, and answers a call that needs the store."""
        try:
            answer = await self._client.get(f"{replica.url}/v1/webhooks")
            problem = "" if answer.is_success else answer.text[:300]
        except httpx.TransportError as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            self.findings.violate("a replica goes on beside another version", problem)

    async def _rows(self, query: str) -> list[Any]:
        while True:
            try:
                return await asyncio.to_thread(lambda: self._store.execute(query).fetchall())
            except psycopg.OperationalError:
                # The database is away.
                await asyncio.sleep(_SAMPLE)
            with suppress(psycopg.OperationalError):
                self._store = await asyncio.to_thread(
                    partial(psycopg.connect, self._dsn, autocommit=True)
                )

    @property
    def owners(self) -> Mapping[str, str]:
        """The replicas that own the running operations, by the last sample."""
        return self._followers.owners

    async def away(self, how: signal.Signals, seconds: float, dies: Replica | None) -> None:
        """Kill the database or stop it for so many seconds. Meanwhile a replica may be killed."""
        if how is signal.SIGSTOP:
            self._server.freeze()
        else:
            self._server.stop(how)
        await asyncio.sleep(seconds / 2)
        if dies is not None:
            await dies.end(signal.SIGKILL)
        await asyncio.sleep(seconds / 2)
        if how is signal.SIGSTOP:
            self._server.thaw()
        else:
            await asyncio.to_thread(self._server.start)

    async def close(self) -> None:
        """Close the connections of the run."""
        self._store.close()
        await self._client.aclose()

    async def hook_all(self) -> None:
        """Make a webhook of everything that is started."""
        body = {"url": f"{self._receiver.url}/all", "method": "*/BuildMachine", "events": _EVENTS}
        await self._post("/v1/webhooks", body)

    async def add(self, number: int, seconds: float) -> None:
        """Start an operation, or make a webhook of one that runs, and have it acknowledged."""
        if number % 2:
            name, attempt = f"{PATH}{number}", 0
            self._work.ends[name] = time.monotonic() + seconds
            while True:
                path = f"/{number}-{attempt}"
                body = {"url": f"{self._receiver.url}{path}", "events": _EVENTS}
                if await self._post(f"/v1/{name}:notify", body, once=True) is not None:
                    self.wanted.add(f"{path} {name}")
                    return
                attempt += 1
        headers = {"idempotency-key": f"key-{number}"}
        body = {"title": f"{seconds:.1f}"}
        answer = await self._post("/v1/lines/1/machines", body, headers)
        self.wanted.add(f"/all {answer['name']}")

    async def _post(self, path: str, body: Any, headers: Any = None, *, once: bool = False) -> Any:
        """Call replicas until one answers, or one replica once; return its answer."""
        while True:
            running = [each for each in self._replicas if each.runs]
            if running:
                url = f"{self._chance.choice(running).url}{path}"
                with suppress(httpx.TransportError):
                    answer = await self._client.post(url, json=body, headers=headers)
                    if answer.is_success:
                        return answer.json()
                    if answer.status_code < 500 and answer.status_code not in {409, 429}:
                        self.findings.violate("a call is answered", answer.text[:300])
                self.findings.counts["calls that were made again"] += 1
                if once:
                    return None
            await asyncio.sleep(_AGAIN)

    async def disturb(self, until: float) -> None:
        """Kill, stop or end one replica after the other until a time."""
        kinds = (self._kill, self._pause, self._kill, self._pause, self._terminate)
        turns = cycle(kinds)
        async with asyncio.TaskGroup() as group:
            while time.monotonic() < until:
                running = [each for each in self._replicas if each.runs]
                if len(running) > 1:
                    # Meanwhile the next one may be disturbed, but never the last one that runs.
                    replica = self._chance.choice(running)
                    replica.runs = False
                    group.create_task(next(turns)(replica))
                await asyncio.sleep(self._chance.uniform(0.5, 3))

    async def kill(self, replica: Replica) -> None:
        """Kill a replica, and note what it followed and sent."""
        await replica.end(signal.SIGKILL)
        await self._note(replica, "kill -9", TAKEOVER)
        self._flying |= {event for (event,) in await self._rows(_FLYING)}

    async def _kill(self, replica: Replica) -> None:
        await self.kill(replica)
        await asyncio.sleep(self._chance.uniform(0, 12))
        await self.start(replica)

    async def _pause(self, replica: Replica) -> None:
        replica.send(signal.SIGSTOP)
        seconds = self._chance.choice([self._chance.uniform(1, 6), self._chance.uniform(9, 14)])
        loss = await self._note(replica, "SIGSTOP", TAKEOVER)
        await asyncio.sleep(seconds)
        replica.resumed = time.monotonic()
        replica.send(signal.SIGCONT)
        replica.runs = True
        # From now on the replica may go on with what nobody has taken over.
        loss.id = ""

    async def terminate(self, replica: Replica) -> None:
        """End a replica by SIGTERM, and note what it followed."""
        await self._followers_now()
        self.findings.counts["by SIGTERM"] += 1
        self._followers.lose(replica, "SIGTERM", HANDOVER)
        self.findings.time("ends by SIGTERM", await replica.end(signal.SIGTERM))

    async def _terminate(self, replica: Replica) -> None:
        await self.terminate(replica)
        await self.start(replica)

    async def _note(self, replica: Replica, kind: str, limit: float) -> Loss:
        when = time.monotonic()
        await self._followers_now()
        loss = self._followers.lose(replica, kind, limit)
        loss.when = when
        self.findings.counts[f"by {kind}"] += 1
        return loss

    async def _followers_now(self) -> None:
        began = time.monotonic()
        self._followers.sampled(began, await self._rows(_OWNERS))

    async def check(self, *, is_calm: bool = False) -> None:
        """Wait until all is told, and note what is not.

        If the run `is_calm`, no replica was paused, so only what was in flight may come again.
        """
        began = time.monotonic()
        # An operation whose start was repeated would go on for longer.
        self._work.ends = dict.fromkeys(self._work.ends, began)
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE):
                while self._untold() or await self._rows(_LEFT):  # noqa: ASYNC110 - other processes write the rows
                    await asyncio.sleep(2 * _SAMPLE)
        findings = self.findings
        findings.time("recoveries", time.monotonic() - began)
        told = {event for _, event in self._receiver.counts}
        events = {event for (event,) in await self._rows("SELECT event FROM deliveries")}
        lost = [*self._untold(), *sorted(events - told)]
        for each in lost:
            findings.violate("no event is lost", each)
        for each in await self._rows(_LEFT):
            findings.violate("nothing is left", f"{each}")
        for each in await self._rows(_NUMBERS):
            findings.violate("no event is twice in the log", f"{each}")
        again = {event for (_, event), count in self._receiver.counts.items() if count > 1}
        for each in sorted(again - self._flying) if is_calm else ():
            findings.violate("only what was in flight at a kill comes again", each)
        for loss in self._followers.losses:
            if loss.waiting:
                text = f"{len(loss.waiting)} operations after {loss.kind}"
                findings.violate("everything is taken over", text)
        findings.counts["operations"] = len(self.wanted)
        findings.counts["deliveries"] = len(self._receiver.counts)
        findings.counts["lost events (goal 0)"] = len(lost)
        findings.counts["duplicates"] = self._receiver.duplicates

    def _untold(self) -> list[str]:
        return sorted(self.wanted - self._receiver.ended.keys())


_REPLICAS: Final = "SELECT id FROM replicas"
_OWNERS: Final = "SELECT name, replica FROM trackers WHERE finished IS NULL"
_LEFT: Final = f"SELECT event, replica FROM deliveries WHERE state = 'pending' UNION ALL {_OWNERS}"  # noqa: S608 - of constants
_FLYING: Final = "SELECT event FROM deliveries WHERE state = 'pending'"
_NUMBERS: Final = (
    "SELECT name, max(number), count(*) FROM events GROUP BY name HAVING max(number) <> count(*)"
)


async def disturb(
    number: int, operations: int, seconds: float, chance: random.Random, findings: Findings
) -> None:
    """Run so many replicas with so many operations, and disturb them for so many seconds."""
    with tempfile.TemporaryDirectory(prefix="lro-gateway-replicas-") as directory:
        programs = [COMMAND] * number
        async with running(Path(directory), programs, findings, chance) as (storm, all_):
            for each in all_:
                await storm.start(each)
            await storm.hook_all()
            began = time.monotonic()
            adding = asyncio.create_task(add_all(storm, operations, seconds, chance))
            await storm.disturb(began + seconds)
            await adding
            await storm.check()
        for each in all_:
            check_log(each.log.read_text(errors="replace"), findings)


async def add_all(storm: Storm, operations: int, seconds: float, chance: random.Random) -> None:
    """Start all operations within half of the time, and let them end within the other one."""
    async with asyncio.TaskGroup() as group:
        for number in range(operations):
            lasts = chance.uniform(0.1 * seconds, 0.6 * seconds)
            group.create_task(storm.add(number, lasts))
            await asyncio.sleep(seconds / 2 / operations)


@asynccontextmanager
async def running(
    directory: Path, programs: Sequence[str], findings: Findings, chance: random.Random
) -> AsyncIterator[tuple[Storm, Sequence[Replica]]]:
    """Yield replicas of these programs, which are not started yet. They end with the context."""
    followers = Followers(findings)
    work = Work(followers.polled)
    key = new_key(directory)
    async with AsyncExitStack() as stack:
        server = stack.enter_context(postgresql(is_durable=True))
        dsn = server.create_database()
        receiver = await stack.enter_async_context(Receiver().open())
        all_ = []
        for door, program in enumerate(programs):
            target = await stack.enter_async_context(work.open(door))
            all_.append(Replica(door, directory, config(dsn, target, key), program))
        followers.replicas = all_
        storm = Storm(server, dsn, all_, work, receiver, followers, chance)
        stack.push_async_callback(storm.close)
        try:
            sampling = asyncio.create_task(storm.sample())
            try:
                yield storm, all_
                for each in all_:
                    if each.is_alive:
                        findings.time("ends by SIGTERM", await each.end(signal.SIGTERM))
            finally:
                sampling.cancel()
        finally:
            for each in all_:
                await each.end(signal.SIGKILL)
    twice = followers.twice
    findings.longest[f"a tracker beside another one (goal <= {LEASE:g} s)"] = twice
    findings.counts[f"a tracker beside another one (goal <= {LEASE:g} s)"] = int(twice > 0)


def new_key(directory: Path) -> Path:
    """Write a key of a gateway into a file that only this user can read."""
    key = directory / "key"
    key.write_text(base64.b64encode(secrets.token_bytes(32)).decode())
    key.chmod(0o600)
    return key


def config(store: str, target: str, key: Path, **backend: Any) -> str:
    """Return a configuration whose webhooks may go to this machine."""
    tables: dict[str, dict[str, Any]] = {
        "[server]": {"port": 0, "keys": [f"file:{key}"], "sync_grace": "100ms"},
        "[store]": {"url": store},
        "[deliveries]": {
            "allow_http": True,
            "allow_anonymous": True,
            "allowed_addresses": ["127.0.0.1"],
            "max_webhooks_per_principal": 1_000_000,
        },
        "[[backends]]": {
            "name": "b",
            "target": target,
            "poll_intervals": ["1s", "2s", "2s"],
            "polls_per_second": 1000,
            **backend,
        },
    }
    return "".join(
        f"{name}\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for name, table in tables.items()
    )

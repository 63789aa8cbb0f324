"""Kills gateways at any point of starts with idempotency keys, and checks what is left.

No start is lost that was acknowledged, and none begins twice. What is unknown says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import sqlalchemy as sa

from lro_gateway.records.connecting import connect_to_postgresql
from lro_gateway.records.location import Location
from scripts.neighbourhood.mortal import POINTS
from tests.counting import Counting
from tests.postgresql import postgresql

_T = TypeVar("_T")

_STARTS: Final = (("POST", "/v1/lines/1/machines"), ("PATCH", "/v1/lines/1/machines/2"))
"""A method whose repeats the backend recognizes by its request_id, and one without that."""
_LONGEST: Final = 0.15
"""Seconds after which a kill at a random time comes at the latest. A start takes less."""
_TIMEOUT: Final = 120.0


@asynccontextmanager
async def forking() -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the process that forks the gateways, until the context ends, and its last gateway."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.neighbourhood.mortal"),
        stdin=pipe,
        stdout=pipe,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        # It would wait for a gateway that lives on after a failure.
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@dataclass
class Kills:
    """The starts of a run. `acknowledged` has the names that callers have got, by key."""

    backend: Counting
    location: Location
    process: asyncio.subprocess.Process
    chance: random.Random
    keys: list[str] = field(default_factory=list)
    acknowledged: dict[str, str] = field(default_factory=dict)

    async def kill(self, point: str | None) -> None:
        """Kill a gateway at a point of a start, or at a random time, while it makes two starts."""
        pid, url = await self._gateway(point)
        starts = [self._new_key(method) for method in range(len(_STARTS))]
        async with httpx.AsyncClient(base_url=url, timeout=_TIMEOUT) as client:
            calls = [asyncio.create_task(self._acknowledge(client, each)) for each in starts]
            if point is None:
                await asyncio.sleep(self.chance.uniform(0, _LONGEST))
                os.kill(pid, signal.SIGKILL)
            await asyncio.gather(*calls)
        await self._ended()

    async def check(self) -> Counter[str]:
        """Repeat each start with its key, and return the numbers of the outcomes.

        Raises `AssertionError` if a start is lost, has begun twice, or has another outcome.
        """
        if self.location.file is None:
            await asyncio.to_thread(_pass_time, self.location)
        pid, url = await self._gateway(None)
        outcomes: Counter[str] = Counter()
        async with httpx.AsyncClient(base_url=url, timeout=_TIMEOUT) as client:
            for key in self.keys:
                outcomes[await self._outcome(client, key)] += 1
            mine = await client.get("/v1/operations:mine", params={"state": "starting"})
        os.kill(pid, signal.SIGKILL)
        await self._ended()
        _require(mine.json()["operations"] == [])
        twice = [key for key, count in self.backend.begun.items() if count > 1]
        _require(not twice, f"begun twice: {twice}")
        return outcomes

    async def _outcome(self, client: httpx.AsyncClient, key: str) -> str:
        answer = await self._start(client, key)
        begun, body = self.backend.begun[key], answer.json()
        if answer.is_success:
            _require(begun == 1, f"{key} has begun {begun} times")
            _require(self.acknowledged.get(key, body["name"]) == body["name"])
            is_repeat = "idempotency-replayed" in answer.headers
            return "known" if is_repeat else "begun by the repeat"
        reason = body["error"]["details"][0]["reason"]
        _require(reason == "START_OUTCOME_UNKNOWN", answer.text)
        _require(key not in self.acknowledged, f"{key} was acknowledged, and is unknown")
        _require(key.startswith("1-"), f"{key} has a request_id, and is unknown")
        return f"unknown, {'begun' if begun else 'not begun'}"

    async def _acknowledge(self, client: httpx.AsyncClient, key: str) -> None:
        with suppress(httpx.TransportError):
            answer = await self._start(client, key)
            _require(answer.is_success, answer.text)
            self.acknowledged[key] = answer.json()["name"]

    async def _start(self, client: httpx.AsyncClient, key: str) -> httpx.Response:
        method, path = _STARTS[int(key[0])]
        headers = {"idempotency-key": key}
        return await client.request(method, path, json={"title": key}, headers=headers)

    def _new_key(self, method: int) -> str:
        key = f"{method}-{len(self.keys)}"
        self.keys.append(key)
        return key

    async def _gateway(self, point: str | None) -> tuple[int, str]:
        """Start a gateway; return its process id and its URL."""
        url = f"sqlite:///{self.location.file}" if self.location.file else self.location.dsn
        config = {
            "server": {"port": 0, "sync_grace": "0s"},
            "store": {"url": url},
            "backends": [{"name": "b", "target": self.backend.target}],
        }
        order = json.dumps({"config": config, "point": point})
        _there(self.process.stdin).write(order.encode() + b"\n")
        started: dict[str, Any] = json.loads(await self._line())
        return started["pid"], started["url"]

    async def _ended(self) -> None:
        _require(await self._line() == b"ended\n")

    async def _line(self) -> bytes:
        async with asyncio.timeout(_TIMEOUT):
            return await _there(self.process.stdout).readline()


async def storm(number: int, chance: random.Random) -> str:
    """Kill so many gateways, half of them on each database, and return a report."""
    with (
        tempfile.TemporaryDirectory(prefix="lro-gateway-kills-") as directory,
        postgresql(is_durable=True) as server,
    ):
        file = Location(Path(directory) / "store.sqlite3")
        shared = Location.parse(server.create_database())
        return "\n".join([await _storm(each, number // 2, chance) for each in (file, shared)])


async def _storm(location: Location, number: int, chance: random.Random) -> str:
    async with Counting().open() as backend, forking() as process:
        kills = Kills(backend, location, process, chance)
        for at in range(number):
            await kills.kill(chance.choice(POINTS) if at % 2 else None)
        outcomes = await kills.check()
    kind = "SQLite" if location.file is not None else "PostgreSQL"
    report = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    return (
        f"{kind}: {number} kills, {len(kills.keys)} starts, {len(kills.acknowledged)} acknowledged;"
        f" by their repeats: {report}"
    )


def _pass_time(location: Location) -> None:
    """Let the time pass in which another process might still end its calls."""
    connect = connect_to_postgresql(location.dsn)
    engine = sa.create_engine("postgresql+psycopg://", creator=connect)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE operations SET answer_by = answer_by - interval '1h'"))
    engine.dispose()


def _there(stream: _T | None) -> _T:
    if stream is None:
        raise AssertionError("the process has pipes")
    return stream


def _require(holds: bool, problem: str = "the process that forks gateways has failed") -> None:
    if not holds:
        raise AssertionError(problem)

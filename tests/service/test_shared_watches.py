"""Watches that replicas share: one of them polls for all."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import grpc
import psycopg
import pytest
from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty
from mcp import Client

from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.operations.names import BackendName
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import ANONYMOUS
from lro_gateway.records.location import Location
from lro_gateway.service.verb_requests import NameRequest
from lro_gateway.service.watch import Sighting
from lro_gateway.serving.http import serve_http
from tests.access.guarded import rest
from tests.contrary import Answer, ContraryBackend, refusing
from tests.postgresql import PostgreSql
from tests.shapes import message, pool
from tests.steps import Steps

NAME = "jobs/1"
TOO_LARGE = "x" * 6000


@dataclass
class Replica:
    """A gateway, and the backend that it alone has, so that its polls can be counted."""

    gateway: Gateway
    backend: ContraryBackend
    steps: Steps

    def watch(self) -> AsyncGenerator[Sighting]:
        """Watch the operation."""
        return self.gateway.service.watch(ANONYMOUS, NameRequest(NAME))

    @property
    def reads(self) -> int:
        """How often the gateway has read the operation."""
        return self.backend.count("GetOperation")


@dataclass
class Replicas:
    """Opens replicas over one database."""

    url: str
    stack: AsyncExitStack

    async def open(self, interval: str = "0.05s", **handlers: Any) -> Replica:
        """Open a replica."""
        return await self.stack.enter_async_context(_opened(self.url, interval, handlers))

    async def execute(self, statement: LiteralString, *values: Any) -> Any:
        """Return the first column of the first row, if there is one."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            done = await connection.execute(statement, values)
            row = await done.fetchone() if done.description else None
            return row[0] if row else None


@pytest.fixture
async def replicas(server: PostgreSql, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Replicas]:
    """Return what opens replicas over one database. A busy machine makes none of them impatient."""
    monkeypatch.setattr("lro_gateway.service.shared_watches._PATIENCE", 300.0)
    async with AsyncExitStack() as stack:
        yield Replicas(server.create_database(), stack)


@asynccontextmanager
async def _opened(url: str, interval: str, handlers: dict[str, Any]) -> AsyncIterator[Replica]:
    steps = Steps()
    async with ContraryBackend.open(
        {"GetOperation": steps, "ListOperations": steps.list, **handlers},
        reflection_versions=("v1",),
        pool=pool(),
    ) as backend:
        settings = {
            "name": "b",
            "target": backend.target,
            "freshness": "0s",
            "poll_intervals": [interval] * 3,
        }
        config = GatewayConfig.model_validate(
            {"server": {"port": 0}, "store": {"url": Location.parse(url)}, "backends": [settings]}
        )
        async with Gateway.open(config) as gateway:
            yield Replica(gateway, backend, steps)


def percent_of(sighting: Sighting) -> float | None:
    """Return the progress of a state, and 100 for the end."""
    return 100 if sighting.operation.done else sighting.percent


async def until(sightings: AsyncGenerator[Sighting], percent: int) -> Sighting:
    """Return the first state with this progress."""
    async with asyncio.timeout(60):
        async for sighting in sightings:
            if percent_of(sighting) == percent:
                return sighting
    raise AssertionError(percent)


async def leading(replica: Replica) -> AsyncGenerator[Sighting]:
    """Return a watch of a replica that polls for all. It has seen 10%."""
    sightings = replica.watch()
    await until(sightings, 0)
    replica.steps.percent = 10
    await until(sightings, 10)
    return sightings


async def test_what_one_replica_learns_reaches_readers_of_another(replicas: Replicas) -> None:
    """Over SSE and in an MCP wait. The other one reads once for each reader, and never polls."""
    one, other = await replicas.open(), await replicas.open()
    waits = asyncio.Event()

    async def read(request: Any, context: Any) -> Answer:
        if other.reads == 2:
            waits.set()
        return await Steps()(request, context)

    other.steps.instead = read
    async with (
        serve_http(other.gateway) as server,
        aclosing(await leading(one)) as sightings,
        rest(server.url) as http,
        Client(f"{server.url}/mcp") as client,
        http.stream("GET", f"/v1/{NAME}:watch") as watch,
    ):
        lines = watch.aiter_lines()
        await data(lines, '"progressPercent"')
        wait = asyncio.create_task(client.call_tool("wait_operation", {"name": NAME}))
        await waits.wait()
        one.steps.percent = 20
        await until(sightings, 20)
        await data(lines, '"progressPercent":20')
        one.steps.percent = 100
        assert ((await wait).structured_content or {})["done"] is True
        await data(lines, '"done":true')
    assert other.reads == 2
    assert one.reads > 3


async def state(replica: Replica) -> Operation:
    """Return the state that a replica reads."""
    return await replica.gateway.service.get(ANONYMOUS, NameRequest(NAME))


async def data(lines: AsyncIterator[str], text: str) -> None:
    """Read events until the data of one contains a text."""
    async with asyncio.timeout(60):
        async for line in lines:
            if line.startswith("data:") and text in line.replace(" ", ""):
                return
    raise AssertionError(text)


async def test_an_end_that_a_read_has_met_reaches_a_watch_of_another_replica(
    replicas: Replicas,
) -> None:
    """Although the watch polls once in an hour."""
    one, other = await replicas.open("3600s"), await replicas.open("3600s")
    sightings = one.watch()
    async with aclosing(sightings):
        await until(sightings, 0)
        async with asyncio.timeout(60):
            while not await replicas.execute("SELECT count(*) FROM leads"):
                pass
        for each in (one, other):
            each.steps.percent = 100
        read = await other.gateway.service.get(ANONYMOUS, NameRequest(NAME))
        assert read.done
        assert (await until(sightings, 100)).operation.done


async def test_a_replica_that_stops_reading_hands_over(replicas: Replicas) -> None:
    """The reader of the other one goes on, and its replica polls."""
    one, other = await replicas.open(), await replicas.open()
    sightings = await leading(one)
    async with aclosing(other.watch()) as followed:
        one.steps.percent = 20
        await until(followed, 20)
        await sightings.aclose()
        other.steps.percent = 30
        await until(followed, 30)
        assert other.reads > 1


async def test_a_replica_takes_over_from_one_that_is_dead(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was dead and comes back hears from the other one."""
    monkeypatch.setattr("lro_gateway.service.shared_watches._ROUND", 0.02)
    one, other = await replicas.open(), await replicas.open()
    async with aclosing(await leading(one)) as sightings, aclosing(other.watch()) as followed:
        one.steps.percent = 20
        await until(followed, 20)
        assert other.reads == 1
        other.steps.percent = 30
        dead = await replicas.execute("SELECT replica FROM leads")
        while other.reads == 1:
            await replicas.execute("DELETE FROM replicas WHERE id = %s", dead)
        await until(followed, 30)
        one.steps.percent = 25
        await until(sightings, 30)


async def test_a_state_that_is_too_large_to_tell_is_read(replicas: Replicas) -> None:
    """Once for each change."""
    read: list[int] = []

    async def large(request: Any, _context: Any) -> Answer:
        operation: Any = operations_pb2.Operation(name=request.name, done=one.steps.percent == 100)
        operation.metadata.Pack(message("progress.v1.Percent", progress_percent=one.steps.percent))
        operation.metadata.value += b"\xfa\x7f\xf0\x2e" + TOO_LARGE.encode()
        answer: Answer = operation
        return answer

    one, other = await replicas.open(), await replicas.open()

    async def read_at_the_other(request: Any, context: Any) -> Answer:
        read.append(one.steps.percent)
        return await large(request, context)

    one.steps.instead, other.steps.instead = large, read_at_the_other
    async with aclosing(await leading(one)), aclosing(other.watch()) as followed:
        await until(followed, 10)
        for percent in (20, 30, 40, 100):
            one.steps.percent = percent
            await until(followed, percent)
    # The reader reads, and then the state of the leader is read when the replica begins to follow.
    assert [each for each in read if each > 20] == [30, 40, 100]


async def test_during_an_outage_each_replica_asks_its_backend(replicas: Replicas) -> None:
    """The reader learns of it, and of its end although nothing has changed."""
    one, other = await replicas.open(), await replicas.open()
    async with aclosing(await leading(one)), aclosing(other.watch()) as followed:
        one.steps.percent = 20
        await until(followed, 20)
        away = refusing(grpc.StatusCode.UNAVAILABLE, "away")
        one.steps.instead = other.steps.instead = away
        async for sighting in followed:
            if sighting.outage is not None:
                break
        one.steps.instead = None
        async for sighting in followed:
            if sighting.outage is None:
                break
        assert percent_of(sighting) == 20


async def test_a_cancellation_at_one_replica_hurries_the_other(replicas: Replicas) -> None:
    """The one that polls would otherwise look again in ten minutes."""

    async def cancel(_request: Any, _context: Any) -> Answer:
        one.steps.percent = 100
        return Empty()

    one, other = await replicas.open("600s"), await replicas.open("600s", CancelOperation=cancel)
    other.steps.percent = 5
    async with aclosing(one.watch()) as sightings, aclosing(other.watch()) as followed:
        await anext(sightings)
        while await replicas.execute("SELECT replica FROM leads") is None:
            pass
        await until(followed, 5)
        # This is the state that the first one tells.
        assert (await anext(followed)).operation.proto == (await state(one)).proto
        await other.gateway.service.cancel(ANONYMOUS, NameRequest(NAME))
        await until(followed, 100)
        await until(sightings, 100)


async def test_a_replica_leads_although_a_dead_one_did(replicas: Replicas) -> None:
    """Its row does not matter, also while a replica that runs leads another operation."""
    one = await replicas.open()
    key = hashlib.sha256(b"b\0jobs/1").hexdigest()
    await replicas.execute("INSERT INTO leads VALUES (%s, 'gone')", key)
    await replicas.execute("INSERT INTO leads SELECT 'another', id FROM replicas")
    async with aclosing(await leading(one)):
        leader = await replicas.execute("SELECT replica FROM leads WHERE key = %s", key)
        assert leader == await replicas.execute("SELECT id FROM replicas")


async def test_watches_of_backends_that_tell_callers_apart_are_not_shared(
    replicas: Replicas,
) -> None:
    """What one caller sees is not for another one."""
    one = await replicas.open()
    watches = one.gateway.service.watches
    backend = one.gateway.service.backends["b"]
    sharing = watches._polls._sharing  # noqa: SLF001 - it has no other face
    assert sharing is not None
    assert sharing.part(backend, BackendName(NAME), lambda **_: None) is not None
    credentials = type("Credentials", (), {"tell_callers_apart": True})()
    endpoint = type("Endpoint", (), {"credentials": credentials})()
    apart = type("Apart", (), {"tells_callers_apart": True, "endpoint": endpoint})()
    assert sharing.part(apart, BackendName(NAME), lambda **_: None) is None

"""What one replica has learned of a new operation, the readers of another one get too."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from lro_gateway.records.location import Location
from tests import factory
from tests.access.guarded import HEADER
from tests.mcp.wire import RpcError
from tests.postgresql import PostgreSql, postgresql
from tests.service.test_archiving import ARCHIVED, KEY, META, Stage, reason, staged
from tests.stub import Stub

ALICE = {HEADER: "alice"}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_KEY", KEY)


@dataclass
class Replicas:
    """Two replicas with one database, before one backend. The first has started an operation."""

    one: Stage
    other: Stage
    stub: Stub
    task: str
    name: str

    async def end(self) -> Any:
        """Let the other replica see the end, which the backend then forgets; return the end."""
        async with asyncio.timeout(60):
            while not (end := (await self.other.get(self.name)).json())["done"]:
                pass
            while "archiveTime" not in (await self.other.mine())[0]:
                pass
        self.stub.operations.clear()
        return end


@asynccontextmanager
async def opened(server: PostgreSql) -> AsyncIterator[Replicas]:
    """Open two replicas, and start an operation, which is done at its second read."""
    location = Location.parse(server.create_database())
    stub = Stub(factory.pool(), reads=1)
    async with (
        stub.open(factory.SERVICE) as backend,
        staged(location, backend.target) as one,
        staged(location, backend.target) as other,
    ):
        task = await one.tool("build_machine", **factory.ORDER)
        (name,) = stub.operations
        yield Replicas(one, other, stub, task["taskId"], name)


@pytest.fixture
async def replicas(server: PostgreSql) -> AsyncIterator[Replicas]:
    """Return two replicas."""
    async with opened(server) as found:
        yield found


async def test_an_end_that_another_replica_has_archived_is_answered_over_every_face(
    replicas: Replicas,
) -> None:
    """The replica of the start has seen it running a moment ago, and the backend has forgotten."""
    one, name = replicas.one, replicas.name
    end = await replicas.end()
    got = await one.get(name)
    assert got.json() == end
    time = got.headers[ARCHIVED]
    waited = await one.http.post(f"/v1/{name}:wait", headers=ALICE)
    events = await one.http.get(f"/v1/{name}:watch", headers=ALICE)
    tools = [await one.tool(f"{each}_operation", name=name) for each in ("get", "wait")]
    task = await one.mcp("tasks/get", headers=ALICE, taskId=replicas.task)
    cancelled = await one.tool("cancel_operation", name=name)
    assert waited.json() == end
    assert waited.headers[ARCHIVED] == events.headers[ARCHIVED] == time
    for each in (*tools, task["result"]):
        assert each["structuredContent"] == end
        assert each["_meta"][META] == {"archiveTime": time}
    assert "was not cancelled, because it is done" in cancelled["content"][1]["text"]


@pytest.mark.usefixtures("_nothing_is_recent")
@pytest.mark.parametrize("verb", ["", ":wait", ":watch"])
async def test_an_end_that_another_replica_has_just_read_is_not_lost(
    server: PostgreSql, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """The backend forgets the operation with that read, before the end is in the archive."""
    monkeypatch.setattr("lro_gateway.service.archiving._LATE", 60.0)
    async with opened(server) as replicas:
        one, name = replicas.one, replicas.name
        async with asyncio.timeout(60):
            while not (end := (await replicas.other.get(name)).json())["done"]:
                pass
        replicas.stub.operations.clear()
        method = "POST" if verb == ":wait" else "GET"
        answer = await one.http.request(method, f"/v1/{name}{verb}", headers=ALICE)
        assert ARCHIVED in answer.headers
        if verb != ":watch":
            assert answer.json() == end
        assert [each["state"] for each in await one.mine()] == ["succeeded"]


@pytest.mark.parametrize("verb", ["get", "wait", "watch", "task", "cancel", "delete"])
async def test_what_another_replica_has_deleted_is_gone(replicas: Replicas, verb: str) -> None:
    """The replica of the start does not take it for an operation that is not found yet."""
    one, name = replicas.one, replicas.name
    assert (await replicas.other.http.delete(f"/v1/{name}", headers=ALICE)).is_success
    assert not replicas.stub.operations
    if verb == "task":
        with pytest.raises(RpcError, match="Unknown task"):
            await one.mcp("tasks/get", headers=ALICE, taskId=replicas.task)
        return
    methods = {"get": "GET", "watch": "GET", "delete": "DELETE"}
    suffix = "" if verb in {"get", "delete"} else f":{verb}"
    answer = await one.http.request(methods.get(verb, "POST"), f"/v1/{name}{suffix}", headers=ALICE)
    assert reason(answer) == ""


async def test_what_another_replica_has_just_started_runs_although_it_is_not_found(
    replicas: Replicas,
) -> None:
    """It is not lost, and the journal does not take it for lost."""
    known = dict(replicas.stub.operations)
    replicas.stub.operations.clear()
    answers = [await each.get(replicas.name) for each in (replicas.other, replicas.one)]
    assert [each.json()["done"] for each in answers] == [False, False]
    await replicas.other.tool("get_operation", name=replicas.name)
    assert [each["state"] for each in await replicas.other.mine()] == ["running"]
    replicas.stub.operations |= known
    await replicas.end()


async def test_without_the_database_an_operation_that_is_not_found_yet_still_runs() -> None:
    """Reads go on, because they wait for what others have learned only for a moment."""
    with postgresql() as server:
        async with opened(server) as replicas:
            replicas.stub.operations.clear()
            server.stop(signal.SIGQUIT)
            assert (await replicas.one.get(replicas.name)).json()["done"] is False
            server.start()

"""Polls after the backend has forgotten an operation, over every face and on both databases."""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import httpx
import pytest
from google.longrunning import operations_pb2

from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.operations.names import GatewayName
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import ANONYMOUS
from lro_gateway.records.database import Database
from lro_gateway.records.entries import EntryState, Knowledge, Start, now
from lro_gateway.records.journal import SqlJournal
from lro_gateway.records.location import Location
from lro_gateway.records.schema import ARCHIVE
from lro_gateway.service.verb_requests import NameRequest
from lro_gateway.serving.http import serve_http
from tests import factory
from tests.access.guarded import HEADER, ByHeader, Recording
from tests.contrary import Answer, ContraryBackend, refusing
from tests.mcp.wire import EXTENSION, Wire
from tests.stub import Stub

pytestmark = pytest.mark.usefixtures("_nothing_is_recent", "_key")

METHOD: Final = factory.method("BuildMachine").path
ARCHIVED: Final = "lro-gateway-archived"
META: Final = "lro-gateway/archived"
MINE: Final = "/v1/operations:mine"
KEY: Final = base64.b64encode(os.urandom(32)).decode()
"""Both gateways of a test have this key, so that the second one knows the tasks of the first."""


@pytest.fixture
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_KEY", KEY)


@dataclass
class Stage:
    """A gateway with a store, in front of a backend that forgets."""

    http: httpx.AsyncClient
    mcp: Wire
    policy: Recording = field(default_factory=Recording)

    async def start(self, subject: str = "alice", title: str = "Press", **headers: str) -> Any:
        sent = {HEADER: subject, **headers}
        body = {"parent": "lines/1", "machine": {"title": title}}
        answer = await self.http.post(f"/v1/{METHOD}", json=body, headers=sent)
        assert answer.is_success, answer.text
        return answer.json()

    async def get(self, name: str, subject: str = "alice", **headers: str) -> httpx.Response:
        return await self.http.get(f"/v1/{name}", headers={HEADER: subject, **headers})

    async def cancel(self, name: str) -> httpx.Response:
        return await self.http.post(f"/v1/{name}:cancel", headers={HEADER: "alice"})

    async def mine(self, subject: str = "alice") -> list[Any]:
        answer = await self.http.get(MINE, headers={HEADER: subject})
        found: list[Any] = answer.json()["operations"]
        return found

    async def tool(self, tool: str, /, **arguments: Any) -> Any:
        return await self.mcp(
            "tools/call", headers={HEADER: "alice"}, name=tool, arguments=arguments
        )


def reason(answer: httpx.Response) -> str:
    """Return the reason of the gateway's error, or an empty text for a backend's error."""
    assert answer.status_code == 404, answer.text
    details = answer.json()["error"].get("details", [{}])
    return str(details[0].get("reason", ""))


@asynccontextmanager
async def staged(
    location: Location,
    target: str,
    store: Mapping[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Stage]:
    """Open a stage."""
    policy = Recording()
    backend = {"name": "factory", "target": target, "freshness": "0s", **settings}
    config = GatewayConfig.model_validate(
        {
            "server": {"port": 0, "sync_grace": "0s", "keys": ["env:ARCHIVE_KEY"]},
            "store": {"url": location, **(store or {})},
            "backends": [backend],
        }
    )
    opened = Gateway.open(config, authenticator=ByHeader(), policy=policy)
    async with (
        opened as gateway,
        serve_http(gateway) as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        mcp = Wire(client, f"{server.url}/mcp", capabilities={"extensions": {EXTENSION: {}}})
        yield Stage(client, mcp, policy)


async def test_a_forgotten_operation_is_answered_over_every_face(location: Location) -> None:
    """The answer is the backend's own, and it says when the gateway has copied it."""
    stub = Stub(factory.pool(), reads=1)
    async with stub.open(factory.SERVICE) as backend:
        async with staged(location, backend.target) as stage:
            task = await stage.tool("build_machine", **factory.ORDER)
            done = await stage.mcp("tasks/get", headers={HEADER: "alice"}, taskId=task["taskId"])
            name = done["result"]["structuredContent"]["name"]
            before = await stage.get(name)
            assert ARCHIVED not in before.headers
            # The list has what was just read, also the copy.
            (listed,) = await stage.mine()
        stub.operations.clear()
        async with staged(location, backend.target) as stage:
            answer = await stage.get(name)
            time = answer.headers[ARCHIVED]
            waited = await stage.http.post(f"/v1/{name}:wait", headers={HEADER: "alice"})
            events = await stage.http.get(f"/v1/{name}:watch", headers={HEADER: "alice"})
            summed = await stage.http.get(f"/v1/{name}?summary=true", headers={HEADER: "alice"})
            numbers = await stage.http.get(
                f"/v1/{name}?$alt=json;enum-encoding=int", headers={HEADER: "alice"}
            )
            tools = [await stage.tool(f"{each}_operation", name=name) for each in ("get", "wait")]
            cancelled = await stage.tool("cancel_operation", name=name)
            ended = await stage.mcp("tasks/get", headers={HEADER: "alice"}, taskId=task["taskId"])
            resource = await stage.mcp(
                "resources/read", headers={HEADER: "alice"}, uri=f"operation://factory/{name}"
            )
            (entry,) = await stage.mine()
    assert answer.json() == waited.json() == before.json()
    assert numbers.json()["response"]["name"] == "lines/1"
    assert waited.headers[ARCHIVED] == events.headers[ARCHIVED] == time
    assert events.text.startswith(f": archived {time}\n\nevent: operation\n")
    assert listed["archiveTime"] == entry["archiveTime"] == time
    assert summed.json()["summary"]["archiveTime"] == time
    for each in (*tools, ended["result"]):
        assert each["structuredContent"] == before.json()
        assert each["_meta"][META] == {"archiveTime": time}
        assert each["content"][1]["text"].endswith(f"This is the gateway's copy of {time}.")
    assert ended["_meta"][META] == {"archiveTime": time}
    assert "was not cancelled, because it is done" in cancelled["content"][1]["text"]
    (content,) = resource["contents"]
    assert json.loads(content["text"]) == before.json()
    assert content["_meta"][META] == {"archiveTime": time}


async def test_an_unreachable_backend_does_not_hide_what_has_ended(location: Location) -> None:
    """The gateway then has no descriptors, and its copy shows the fields all the same."""
    stub = Stub(factory.pool())
    async with stub.open(factory.SERVICE) as backend, staged(location, backend.target) as stage:
        started = await stage.start()
        stub.reads = 5
        running = await stage.start()
    async with staged(location, "127.0.0.1:1") as stage:
        answer = await stage.get(started["name"])
        assert answer.json() == started
        assert answer.json()["response"]["name"] == "lines/1"
        assert ARCHIVED in answer.headers
        assert (await stage.get(running["name"])).status_code == 503


async def test_an_operation_that_has_expired_says_how_to_start_again(location: Location) -> None:
    """This is for callers that may see it. For others it is refused as before."""
    stub = Stub(factory.pool())
    async with stub.open(factory.SERVICE) as backend:
        async with staged(location, backend.target) as stage:
            name = (await stage.start())["name"]
        stub.operations.clear()
        await _age(location)
        async with staged(location, backend.target) as stage:
            gone = await stage.get(name)
            told = await stage.tool("get_operation", name=name)
            stage.policy.refuses = lambda caller, _action: caller.subject == "bob"
            refused = await stage.get(name, "bob")
            (entry,) = await stage.mine()
            unknown = await stage.get("lines/1/operations/77")
    assert reason(gone) == "OPERATION_EXPIRED"
    assert f"start it again with {METHOD}" in gone.json()["error"]["message"]
    assert re.search(r" succeeded at [\d-]+T[\d:]+Z and ", gone.json()["error"]["message"])
    assert "call the tool of the method" in told["content"][1]["text"]
    assert refused.status_code == 403
    assert (entry["state"], "archiveTime" in entry) == ("succeeded", False)
    assert reason(unknown) == ""


async def _age(location: Location) -> None:
    database = Database(location)
    long_ago = ARCHIVE.update().values(archived=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    await database.write(lambda connection: connection.execute(long_ago).close())
    await database.close()


async def test_the_end_of_an_operation_that_nobody_read_is_unknown(location: Location) -> None:
    """The gateway follows no operation without a reader. It says what to do, and lists it so."""
    stub = Stub(factory.pool(), reads=9)
    async with stub.open(factory.SERVICE) as backend:
        async with staged(location, backend.target) as stage:
            name = (await stage.start())["name"]
            stub.operations.clear()
            gone = await stage.get(name)
        async with staged(location, backend.target) as stage:
            (entry,) = await stage.mine()
    assert reason(gone) == "OPERATION_LOST"
    assert entry["state"] == "unknown"


@pytest.mark.parametrize("forgets", [False, True], ids=["the backend has it", "it has not"])
async def test_a_deleted_operation_is_in_the_archive_no_longer(
    location: Location, *, forgets: bool
) -> None:
    """The gateway deletes its copy although the backend has no record to delete."""
    stub = Stub(factory.pool())
    async with stub.open(factory.SERVICE) as backend, staged(location, backend.target) as stage:
        name = (await stage.start())["name"]
        if forgets:
            stub.operations.clear()
        deleted = await stage.http.delete(f"/v1/{name}", headers={HEADER: "alice"})
        assert deleted.is_success, deleted.text
        assert reason(await stage.get(name)) == ""
        assert await stage.mine() == []
        again = await stage.http.delete(f"/v1/{name}", headers={HEADER: "alice"})
        assert again.status_code == 404


async def test_a_cancellation_of_what_has_ended_has_no_effect(location: Location) -> None:
    """A poll finds the operation, so a cancellation must not say that there is none."""
    stub = Stub(factory.pool(), reads=1)
    async with stub.open(factory.SERVICE) as backend:
        async with staged(location, backend.target) as stage:
            task = await stage.tool("build_machine", **factory.ORDER)
            done = await stage.mcp("tasks/get", headers={HEADER: "alice"}, taskId=task["taskId"])
            name = done["result"]["structuredContent"]["name"]
            stub.reads = 9
            running = (await stage.start())["name"]
            stub.operations.clear()
            over_rest = await stage.cancel(name)
            await stage.mcp("tasks/cancel", headers={HEADER: "alice"}, taskId=task["taskId"])
        async with staged(location, backend.target) as stage:
            lost = await stage.cancel(running)
            unknown = await stage.cancel("lines/1/operations/77")
    async with staged(location, "127.0.0.1:1") as stage:
        out_of_reach = await stage.cancel(name)
    for each in (over_rest, out_of_reach):
        assert (each.status_code, each.json()) == (200, {})
    assert [reason(each) for each in (lost, unknown)] == ["OPERATION_LOST", ""]


async def test_an_operation_of_which_only_the_journal_knows_can_be_deleted(
    location: Location,
) -> None:
    """Otherwise its caller could never remove it from the list of what it has started."""
    stub = Stub(factory.pool(), reads=9)
    async with stub.open(factory.SERVICE) as backend, staged(location, backend.target) as stage:
        name = (await stage.start())["name"]
        stub.operations.clear()
        assert reason(await stage.get(name)) == "OPERATION_LOST"
        deleted = await stage.http.delete(f"/v1/{name}", headers={HEADER: "alice"})
        assert (deleted.status_code, deleted.json()) == (200, {})
        assert reason(await stage.get(name)) == ""
        assert await stage.mine() == []


async def test_what_the_backend_may_hide_from_a_caller_is_not_deleted(location: Location) -> None:
    """With other headers the backend may have the operation."""
    stub = Stub(factory.pool())
    async with (
        stub.open(factory.SERVICE) as backend,
        staged(location, backend.target, pass_headers=["x-region"]) as stage,
    ):
        name = (await stage.start(**{"x-region": "eu"}))["name"]
        stub.operations.clear()
        refused = await stage.http.delete(f"/v1/{name}", headers={HEADER: "alice"})
        assert refused.status_code == 404
        assert (await stage.get(name, **{"x-region": "eu"})).is_success


async def test_a_large_result_is_left_out_and_the_answer_says_so(location: Location) -> None:
    """The rest remains: the name, the metadata, and that it has succeeded."""
    stub = Stub(factory.pool(), answers={METHOD: _large})
    async with (
        stub.open(factory.SERVICE) as backend,
        staged(location, backend.target, {"archive_max_bytes": 1024}) as stage,
    ):
        started = await stage.start()
        answer = await stage.get(started["name"])
        told = await stage.tool("get_operation", name=started["name"])
    assert answer.json() == {key: started[key] for key in ("name", "metadata", "done")}
    assert "the result is missing: it had" in answer.headers["lro-gateway-warning"]
    text = told["content"][1]["text"]
    assert text.startswith("Done: it succeeded. This is the gateway's copy")
    assert "too large to keep" in text
    assert told["_meta"][META]["omittedBytes"] > 3000


async def test_a_large_error_is_kept_without_its_details(location: Location) -> None:
    """Nobody is told that a result is missing."""
    stub = Stub(factory.pool(), answers={METHOD: _failed})
    async with (
        stub.open(factory.SERVICE) as backend,
        staged(location, backend.target, {"archive_max_bytes": 1024}) as stage,
    ):
        started = await stage.start()
        answer = await stage.get(started["name"])
        told = await stage.tool("get_operation", name=started["name"])
    assert answer.json()["error"] == {"code": 8, "message": "no quota"}
    warning = answer.headers["lro-gateway-warning"]
    assert re.fullmatch(r"the error is not complete: 30\d\d bytes of it were too .*", warning)
    text = told["content"][1]["text"]
    assert "bytes of its error were too large to keep" in text
    assert "result is missing" not in text


async def _failed(_request: Any, _context: Any) -> Answer:
    operation: Any = operations_pb2.Operation(name="lines/1/operations/1", done=True)
    operation.error.code, operation.error.message = 8, "no quota"
    operation.error.details.add().Pack(factory.message("Machine", title="x" * 3000))
    answer: Answer = operation
    return answer


async def _large(_request: Any, _context: Any) -> Answer:
    operation: Any = operations_pb2.Operation(name="lines/1/operations/1", done=True)
    operation.metadata.Pack(factory.message("BuildMetadata"))
    operation.response.Pack(factory.message("Machine", title="x" * 3000))
    answer: Answer = operation
    return answer


async def test_a_copy_is_only_for_the_view_that_the_backend_gave_it_to(location: Location) -> None:
    """With other headers the backend might refuse the caller, so its answer stays as it is."""
    stub = Stub(factory.pool())
    async with (
        stub.open(factory.SERVICE) as backend,
        staged(location, backend.target, pass_headers=["x-region"]) as stage,
    ):
        name = (await stage.start(**{"x-region": "eu"}))["name"]
        stub.operations.clear()
        same = await stage.get(name, **{"x-region": "eu"})
        other = await stage.get(name, **{"x-region": "us"})
        none = await stage.get(name)
        assert (same.status_code, reason(other)) == (200, "")
        assert reason(none) == ""
        await _age(location)
        assert reason(await stage.get(name, **{"x-region": "eu"})) == ""


async def test_without_retention_nothing_is_kept(location: Location) -> None:
    """The backend's own NOT_FOUND reaches the caller."""
    stub = Stub(factory.pool())
    async with (
        stub.open(factory.SERVICE) as backend,
        staged(location, backend.target, {"archive_retention": "0s"}) as stage,
    ):
        name = (await stage.start())["name"]
        stub.operations.clear()
        assert reason(await stage.get(name)) == ""


@pytest.mark.parametrize("recent", [0.0, 30.0])
async def test_a_watch_gets_the_end_that_only_another_replica_has_read(
    location: Location, monkeypatch: pytest.MonkeyPatch, recent: float
) -> None:
    """The backend has forgotten the operation before the next poll, even if it is a new one."""
    monkeypatch.setattr("lro_gateway.backends.recent.RECENT", recent)
    journals: list[SqlJournal] = []
    name = GatewayName("jobs/1")

    async def get(request: Any, context: Any) -> Answer:
        for journal in journals:
            journal.observe(Operation("b", name, _job(done=True), factory.types()))
            await journal.flush()
            await refusing(grpc.StatusCode.NOT_FOUND, "it is gone")(request, context)
        return _job(done=False)

    async with ContraryBackend.open({"GetOperation": get}) as backend:
        settings = {"name": "b", "target": backend.target, "poll_intervals": ["0.02s"] * 3}
        config = GatewayConfig.model_validate(
            {"store": {"url": location}, "backends": [{**settings, "descriptors": []}]}
        )
        async with Gateway.open(config) as gateway:
            journal = gateway.service.archiving.journal
            assert isinstance(journal, SqlJournal)
            start = Start(ANONYMOUS, "b", "jobs.v1.Jobs/RunJob", "0" * 64, now())
            await journal.begin(start)
            await journal.settle(start, Knowledge(name, EntryState.RUNNING, None, now()))
            sightings = gateway.service.watch(ANONYMOUS, NameRequest(name))
            async with aclosing(sightings):
                assert not (await anext(sightings)).operation.done
                journals.append(journal)
                end = (await anext(sightings)).operation
    assert end.done
    assert end.archived is not None


def _job(*, done: bool) -> Answer:
    job: Answer = operations_pb2.Operation(name="jobs/1", done=done)
    return job

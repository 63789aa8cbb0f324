"""What a caller has started, through both faces, and what the journal has of interrupted starts."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.longrunning import operations_pb2
from mcp import Client

from lro_gateway.access.authentication import Scope
from lro_gateway.config.models import GatewayConfig
from lro_gateway.demo.pace import Gate, Pace, unpaced
from lro_gateway.demo.server import DemoServer
from lro_gateway.gateway import Gateway
from lro_gateway.principal import Principal
from lro_gateway.records.entries import EntryState, Knowledge, Start, now
from lro_gateway.records.location import Location
from lro_gateway.records.opening import open_store
from lro_gateway.service.journaling import digest_of
from lro_gateway.serving.http import serve_http
from tests import factory
from tests.access.guarded import HEADER, ByHeader, Recording
from tests.contrary import Answer, ContraryBackend
from tests.gateways import serving
from tests.processes import served

PATH = "/v1/operations:mine"


@dataclass
class Stage:
    """A demo backend, and a gateway in front of it that has a store and identifies callers."""

    client: httpx.AsyncClient
    demo: DemoServer
    policy: Recording

    async def start(self, subject: str, database: str, **fields: Any) -> Any:
        body = {"databaseId": database, **fields}
        answer = await self.client.post("/v1/databases", json=body, headers={HEADER: subject})
        return answer.json()

    async def mine(self, subject: str, **query: Any) -> Any:
        answer = await self.client.get(PATH, params=query, headers={HEADER: subject})
        body = answer.json()
        assert answer.is_success, body
        return body

    async def databases(self, subject: str, **query: Any) -> list[str]:
        found = (await self.mine(subject, **query))["operations"]
        return [each["name"].split("/")[1] for each in found]


@asynccontextmanager
async def staged(
    location: Location, directory: Path, gate: Pace = unpaced, **settings: Any
) -> AsyncIterator[Stage]:
    """Open a stage."""
    policy = Recording()
    async with DemoServer.open(directory, pace=gate) as demo:
        backend = {"name": "demo", "target": demo.target, "freshness": "0s", **settings}
        config = GatewayConfig.model_validate(
            {"server": {"port": 0}, "store": {"url": location}, "backends": [backend]}
        )
        opened = Gateway.open(config, authenticator=ByHeader(), policy=policy)
        async with (
            opened as gateway,
            serve_http(gateway) as server,
            httpx.AsyncClient(base_url=server.url) as client,
        ):
            yield Stage(client, demo, policy)


async def test_each_caller_finds_what_it_started(location: Location, tmp_path: Path) -> None:
    """Nobody else does, and a refused start is no operation."""
    async with staged(location, tmp_path / "demo") as stage:
        for subject, database in [("alice", "a"), ("alice", "b"), ("bob", "c"), ("bob", "a")]:
            await stage.start(subject, database)
        assert await stage.databases("alice") == ["b", "a"]
        assert await stage.databases("bob") == ["c"]
        (entry,) = (await stage.mine("bob"))["operations"]
        # On a busy machine, the operation may outlast the grace of its start.
        await stage.client.post(f"{entry['path']}:wait", headers={HEADER: "bob"})
        (entry,) = (await stage.mine("bob"))["operations"]
        assert entry["state"] == "succeeded"
        assert entry["method"] == "lro_gateway.demo.v1.DatabaseAdmin/CreateDatabase"
        assert "age" not in entry
        assert "request" not in entry
        read = await stage.client.get(entry["path"], headers={HEADER: "bob"})
        assert read.json()["name"] == entry["name"]


async def test_a_restart_forgets_nothing_and_a_dead_backend_hides_nothing(
    location: Location, tmp_path: Path
) -> None:
    """While the backend is down, the answer tells how old it is. A new session sees the end."""
    gate = Gate()
    async with staged(location, tmp_path / "demo", gate) as stage, gate:
        await stage.start("alice", "a")
        (entry,) = (await stage.mine("alice", state="running"))["operations"]
        assert entry["age"] == "0s"
    down = {"name": "demo", "target": "127.0.0.1:1"}
    config = GatewayConfig.model_validate(
        {"server": {"port": 0}, "store": {"url": location}, "backends": [down]}
    )
    opened = Gateway.open(config, authenticator=ByHeader())
    async with (
        opened as gateway,
        serve_http(gateway) as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        answer = await client.get(PATH, headers={HEADER: "alice"})
        (old,) = answer.json()["operations"]
        assert (old["name"], old["state"]) == (entry["name"], "running")


async def test_a_new_backend_renames_operations_and_shows_them_to_nobody_else(
    location: Location, tmp_path: Path
) -> None:
    """With a second backend, a name begins with `//backend/`, and the store has the name before."""
    tokens = tmp_path / "tokens.toml"
    tokens.write_text("")

    @asynccontextmanager
    async def opened(*backends: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
        config = GatewayConfig.model_validate(
            {
                "server": {"port": 0},
                "store": {"url": location},
                "auth": {"tokens": str(tokens)},
                "backends": backends,
            }
        )
        async with (
            Gateway.open(config, authenticator=ByHeader()) as gateway,
            serve_http(gateway) as server,
            httpx.AsyncClient(base_url=server.url) as client,
        ):
            yield client

    async def reads(client: httpx.AsyncClient, subject: str, name: str) -> int:
        query, headers = {"name": name}, {HEADER: subject}
        return (await client.get("/v1/-", params=query, headers=headers)).status_code

    other = {"name": "other", "target": "127.0.0.1:1"}
    async with DemoServer.open(tmp_path / "demo") as demo:
        own = {"name": "demo", "target": demo.target, "visibility": "owner"}
        async with opened(own) as client:
            body = {"databaseId": "a"}
            started = await client.post("/v1/databases", json=body, headers={HEADER: "alice"})
            before = started.json()["name"]
        async with opened(own, other) as client:
            (entry,) = (await client.get(PATH, headers={HEADER: "alice"})).json()["operations"]
            assert entry["name"] == f"//demo/{before}"
            found = [await reads(client, who, entry["name"]) for who in ("alice", "eve")]
            assert found == [200, 404]
        async with opened(own) as client:
            found = [await reads(client, who, before) for who in ("alice", "eve")]
            assert found == [200, 404]


async def test_pages_and_selections_cross_the_faces(location: Location, tmp_path: Path) -> None:
    """A token belongs to its selection and its caller. The method and the text are parts."""
    patterns = ["*/CreateDatabase"]
    async with staged(location, tmp_path / "demo", journal_requests=patterns) as stage:
        for database in "abc":
            await stage.start("alice", f"{database}-base", rowCount=7)
        assert await stage.databases("alice", text="B-BASE", method="createdata") == ["b-base"]
        first = await stage.mine("alice", pageSize=2)
        token = first["nextPageToken"]
        assert await stage.databases("alice", pageSize=2, pageToken=token) == ["a-base"]
        assert first["operations"][0]["request"]["rowCount"] == 7
        for subject, query in [("bob", {}), ("alice", {"text": "b"})]:
            answer = await stage.client.get(
                PATH, params={"pageToken": token, **query}, headers={HEADER: subject}
            )
            assert answer.json()["error"]["details"][0]["reason"] == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"state": "done"}, "state"),
        ({"since": "yesterday"}, "since"),
        ({"until": "2026-01-02T03:04:05"}, "until"),
        ({"since": "0001-01-01T00:00:00+23:59"}, "since"),
        ({"until": "9999-12-31T23:59:59-23:59"}, "until"),
        ({"pageSize": "-1"}, "pageSize"),
        ({"pageSize": "ten"}, "pageSize"),
        ({"pageSize": "--5"}, "pageSize"),
        ({"tenant": "maybe"}, "tenant"),
        ({"owner": "bob"}, "owner"),
    ],
)
async def test_a_wrong_argument_is_named(query: dict[str, str], field: str, tmp_path: Path) -> None:
    """The error names the field, as all errors do."""
    async with staged(Location(tmp_path / "store.sqlite3"), tmp_path / "demo") as stage:
        answer = await stage.client.get(PATH, params=query, headers={HEADER: "alice"})
    assert answer.status_code == 400
    assert answer.json()["error"]["details"][-1]["fieldViolations"][0]["field"] == field


async def test_what_the_policy_hides_is_left_out(location: Location, tmp_path: Path) -> None:
    """A caller may lose its access after it has started something."""
    async with staged(location, tmp_path / "demo") as stage:
        await stage.start("alice", "a")
        stage.policy.refuses = lambda _caller, _action: True
        assert await stage.databases("alice") == []


class _OfTenant(ByHeader):
    async def of_request(self, scope: Scope) -> Principal:
        return replace(await super().of_request(scope), tenant="acme")


async def test_a_backend_that_knows_its_callers_decides_what_a_tenant_sees(tmp_path: Path) -> None:
    """Bob started three operations. Alice sees the one that the backend shows her.

    What it hides from her is still Bob's, and it is not recorded as lost.
    """

    async def get(request: operations_pb2.GetOperationRequest, context: Any) -> Answer:
        shown = dict(context.invocation_metadata()).get(HEADER)
        if request.name != "jobs/shared" and shown != "bob":
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such job")
        found: Answer = operations_pb2.Operation(name=request.name)
        return found

    store = Location(tmp_path / "store.sqlite3")
    async with open_store(store) as opened:
        for number, name in enumerate((None, "jobs/shared", "jobs/secret")):
            bob, at = Principal("bob", "test", "acme"), now() + timedelta(minutes=1)
            started = Start(bob, "b", "acme.v1.Jobs/RunJob", "0" * 64, at, id=f"{number:032x}")
            await opened.journal.begin(started)
            if name is not None:
                running = Knowledge(name, EntryState.RUNNING, None, now())
                await opened.journal.settle(started, running)
    async with ContraryBackend.open({"GetOperation": get}) as backend:
        settings = {"name": "b", "target": backend.target, "pass_headers": [HEADER]}
        config = GatewayConfig.model_validate(
            {"server": {"port": 0}, "store": {"url": store}, "backends": [settings]}
        )
        async with (
            Gateway.open(config, authenticator=_OfTenant()) as gateway,
            serve_http(gateway) as server,
            httpx.AsyncClient(base_url=server.url) as client,
        ):
            listed = {
                subject: (
                    await client.get(PATH, params={"tenant": True}, headers={HEADER: subject})
                ).json()["operations"]
                for subject in ("alice", "bob")
            }
    names = {who: [each.get("name") for each in found] for who, found in listed.items()}
    assert names == {"alice": ["jobs/shared"], "bob": ["jobs/secret", "jobs/shared", None]}
    assert [each["state"] for each in listed["bob"]] == ["running", "running", "unknown"]


async def test_a_deleted_operation_is_gone(location: Location, tmp_path: Path) -> None:
    """Its owner deleted it, and the list no longer has it."""
    async with staged(location, tmp_path / "demo") as stage:
        name = (await stage.start("alice", "a"))["name"]
        deleted = await stage.client.delete(f"/v1/{name}", headers={HEADER: "alice"})
        assert deleted.is_success
    async with staged(location, tmp_path / "demo") as stage:
        assert await stage.databases("alice") == []


async def test_what_a_caller_has_seen_to_end_is_listed_by_its_state(
    location: Location, tmp_path: Path
) -> None:
    """At once, although the states that reads see are written once a second."""
    gate = Gate()
    async with staged(location, tmp_path / "demo", gate) as stage:
        async with gate:
            name = (await stage.start("alice", "a"))["name"]
            assert await stage.databases("alice", state="running") == ["a"]
        path, sent = f"/v1/{name}:wait", {HEADER: "alice"}
        ended = await stage.client.post(path, headers=sent, timeout=60)
        assert ended.json()["done"]
        assert await stage.databases("alice", state="succeeded") == ["a"]
        assert await stage.databases("alice", state="running") == []


async def test_a_model_lists_what_it_started(tmp_path: Path) -> None:
    """On loopback without identities everybody is one owner."""
    location = Location(tmp_path / "store.sqlite3")
    async with DemoServer.open(tmp_path / "demo") as demo:
        backend = {"name": "demo", "target": demo.target}
        async with serving(backend, store=location) as url, Client(f"{url}/mcp") as client:
            await client.call_tool("create_database", {"databaseId": "a"})
            listed = await client.call_tool("list_my_operations", {"pageSize": 5})
            tools = [tool.name for tool in (await client.list_tools()).tools]
        async with serving(backend) as url, Client(f"{url}/mcp") as client:
            without = [tool.name for tool in (await client.list_tools()).tools]
            told = await client.call_tool("list_my_operations", {})
        async with serving(backend) as url, httpx.AsyncClient() as http:
            refused = await http.get(f"{url}{PATH}")
    assert listed.structured_content is not None
    (entry,) = listed.structured_content["operations"]
    assert entry["name"].startswith("databases/a/operations/")
    assert set(tools) - set(without) == {"list_my_operations"}
    assert refused.json()["error"]["details"][0]["reason"] == "NO_STORE"
    assert told.is_error
    assert "this gateway runs without a store" in str(told.content[0])


async def test_a_start_that_a_kill_interrupts_is_unknown_and_no_other_is(tmp_path: Path) -> None:
    """The process is killed while the backend has the call. The next one says what it knows."""
    called = asyncio.Event()

    async def delete(request: Any, _context: Any) -> Answer:
        if request.name == "machines/slow":
            called.set()
            await asyncio.Event().wait()
        done: Answer = operations_pb2.Operation(name="operations/1", done=True)
        return done

    method = factory.method("DeleteMachine").path
    store = {"url": f"sqlite:///{tmp_path}/store.sqlite3"}
    async with ContraryBackend.open(
        {}, methods={method: delete}, reflection_versions=("v1",), pool=factory.pool()
    ) as backend:
        config = {"name": "b", "target": backend.target}
        async with (
            served(tmp_path, config, tables={"store": store}) as first,
            httpx.AsyncClient(base_url=first.url, timeout=60) as client,
        ):
            answered = await client.post(f"/v1/{method}", json={"name": "machines/quick"})
            assert answered.is_success, answered.text
            call = asyncio.create_task(client.post(f"/v1/{method}", json={"name": "machines/slow"}))
            await called.wait()
            first.process.send_signal(signal.SIGKILL)
            with pytest.raises(httpx.HTTPError):
                await call
        async with (
            served(tmp_path, config, tables={"store": store}) as second,
            httpx.AsyncClient(base_url=second.url) as client,
        ):
            entries = (await client.get(PATH)).json()["operations"]
    assert [(each["state"], each.get("name")) for each in entries] == [
        ("unknown", None),
        ("succeeded", "operations/1"),
    ]
    assert "may have begun" in json.dumps(entries[0]["error"])


def test_a_digest_is_of_what_the_caller_requested() -> None:
    """An id that the gateway put into the request differs from call to call."""
    method = factory.method("BuildMachine")
    made = {id_: factory.message("BuildMachineRequest", parent="p", request_id=id_) for id_ in "12"}
    of_gateway = {digest_of(method, request, id_) for id_, request in made.items()}
    of_caller = {digest_of(method, request, None) for request in made.values()}
    assert (len(of_gateway), len(of_caller)) == (1, 2)

"""Idempotency keys of calls that need an approval: a repeat gets the call that waits already."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import empty_pb2

from lro_gateway.principal import Principal
from lro_gateway.records.location import Location
from tests import factory
from tests.access.policed import claims, mcp, rest
from tests.contrary import refusing
from tests.mcp.wire import wire
from tests.postgresql import PostgreSql
from tests.service.approved import (
    AGENT,
    ANA,
    BUILD,
    DONE,
    EVE,
    GET,
    Office,
    backend_of,
    office,
    reason_of,
)

REPLAYED = "idempotency-replayed"


async def ask(
    place: Office, key: str = "k", who: Principal = AGENT, title: str = "Press"
) -> httpx.Response:
    """Ask for a machine with a key."""
    order = {**factory.ORDER, "machine": {"title": title}}
    return await place.call(who, "POST", BUILD, order, key=key)


def seen(answer: httpx.Response) -> tuple[str, bool]:
    """Return the name in an answer, and whether the answer says that it is a repeat."""
    assert answer.is_success, answer.text
    return answer.json()["name"], answer.headers.get(REPLAYED) == "true"


async def pending(place: Office) -> list[str]:
    """Return the names of the calls that wait."""
    found = (await place.call(ANA, "GET", "/v1/approvals", state="pending")).json()
    return [each["name"] for each in found["approvals"]]


async def test_a_repeat_gets_the_same_approval_and_then_its_operation(location: Location) -> None:
    """Before the decision and after the start, also after restarts."""
    async with backend_of() as backend:
        async with office(location, backend) as place:
            name, is_repeat = seen(await ask(place))
            assert (name.startswith("approvals/"), is_repeat) == (True, False)
            assert seen(await ask(place)) == (name, True)
        async with office(location, backend) as place:
            assert seen(await ask(place)) == (name, True)
            assert await pending(place) == [name]
            await place.decide(ANA, name)
            again = await ask(place)
            assert seen(again) == ("jobs/1", True)
            assert again.json()["done"] is True
            assert "lro-gateway-request-id" not in again.headers
        async with office(location, backend) as place:
            assert seen(await ask(place)) == ("jobs/1", True)
            assert (await pending(place), backend.count("BuildMachine")) == ([], 1)


async def test_fifty_first_calls_over_two_replicas_make_one_approval(server: PostgreSql) -> None:
    """All of them get it, and one of them says that it was the first."""
    location = Location.parse(server.create_database())
    async with (
        backend_of() as backend,
        office(location, backend) as one,
        office(location, backend) as other,
    ):
        answers = await asyncio.gather(*(ask((one, other)[each % 2]) for each in range(50)))
        names, repeats = zip(*map(seen, answers), strict=True)
        assert (len({*names}), sum(repeats)) == (1, 49)
        assert await pending(other) == [names[0]]
        await other.decide(ANA, names[0])
        assert seen(await ask(one)) == ("jobs/1", True)
        assert backend.count("BuildMachine") == 1


async def test_fifty_first_calls_at_once_make_one_approval(tmp_path: Path) -> None:
    """Of one process, on SQLite."""
    async with backend_of() as backend, office(tmp_path, backend) as place:
        answers = await asyncio.gather(*(ask(place) for _ in range(50)))
        assert len({seen(each)[0] for each in answers}) == 1
        assert len(await pending(place)) == 1


@pytest.mark.parametrize(
    ("verb", "state", "code"), [("refuse", "REFUSED", 7), ("cancel", "CANCELLED", 1)]
)
async def test_a_repeat_of_a_call_that_was_not_made_learns_why(
    location: Location, verb: str, state: str, code: int
) -> None:
    """It asks for nothing new. A new key does."""
    async with backend_of() as backend:
        async with office(location, backend) as place:
            name, _ = seen(await ask(place))
            await place.call(ANA if verb == "refuse" else AGENT, "POST", f"/v1/{name}:{verb}")
        async with office(location, backend) as place:
            again = await ask(place)
            assert seen(again) == (name, True)
            ended = again.json()
            assert (ended["metadata"]["state"], ended["error"]["code"]) == (state, code)
            assert await pending(place) == []
            assert seen(await ask(place, "new"))[0] != name


async def test_a_repeat_of_an_expired_call_learns_that_it_has_expired(location: Location) -> None:
    """The key is kept for its own time, although nobody can approve the call any more."""
    async with (
        backend_of() as backend,
        office(location, backend, approval_expires="1ms") as place,
    ):
        name, _ = seen(await ask(place))
        again = await ask(place)
        assert seen(again) == (name, True)
        assert again.json()["metadata"]["state"] == "EXPIRED"


@pytest.mark.parametrize(
    ("code", "state"),
    [(grpc.StatusCode.INTERNAL, "UNKNOWN"), (grpc.StatusCode.ALREADY_EXISTS, "FAILED")],
)
async def test_a_repeat_of_a_call_that_the_backend_did_not_start_is_not_sent_again(
    location: Location, code: grpc.StatusCode, state: str
) -> None:
    """Nobody knows what an unanswered call has begun, and another approval must be asked for."""
    async with backend_of(BuildMachine=refusing(code, "no")) as backend:
        async with office(location, backend) as place:
            name, _ = seen(await ask(place))
            await place.decide(ANA, name)
        async with office(location, backend) as place:
            again = await ask(place)
            assert seen(again) == (name, True)
            assert (again.json()["done"], again.json()["metadata"]["state"]) == (True, state)
        assert backend.count("BuildMachine") == 1


async def test_a_key_stands_for_one_request_and_one_caller(location: Location) -> None:
    """The refusal names the call that waits, of which another caller learns nothing."""
    async with backend_of() as backend, office(location, backend) as place:
        name, _ = seen(await ask(place))
        other = await ask(place, title="Lathe")
        assert (other.status_code, reason_of(other)) == (422, "IDEMPOTENCY_KEY_REUSED")
        assert f"stands for another request: {name};" in other.text
        assert seen(await ask(place, who=EVE, title="Lathe"))[0] != name
        assert len(await pending(place)) == 2


async def test_a_call_without_a_place_leaves_its_key_free(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeat of a call that waits needs no place of its own."""
    monkeypatch.setattr("lro_gateway.service.approvals._MOST", 1)
    async with backend_of() as backend, office(location, backend) as place:
        name, _ = seen(await ask(place, "a"))
        assert reason_of(await ask(place, "b")) == "TOO_MANY_APPROVALS"
        assert seen(await ask(place, "a")) == (name, True)
        await place.decide(ANA, name, "refuse")
        assert seen(await ask(place, "b"))[1] is False


async def test_a_key_whose_operation_was_deleted_starts_no_other(location: Location) -> None:
    """Neither the backend nor the gateway has the operation any longer."""
    records = {"jobs/1"}

    async def get(request: Any, context: Any) -> Any:
        if request.name not in records:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such job")
        return DONE

    async def delete(request: Any, _context: Any) -> Any:
        records.remove(request.name)
        return empty_pb2.Empty()

    async with (
        backend_of(GetOperation=get, DeleteOperation=delete) as backend,
        office(location, backend) as place,
    ):
        name, _ = seen(await ask(place))
        await place.decide(ANA, name)
        assert (await place.call(AGENT, "DELETE", "/v1/jobs/1")).is_success
        gone = await ask(place)
        assert (gone.status_code, reason_of(gone)) == (400, "IDEMPOTENT_OPERATION_GONE")
        assert backend.count("BuildMachine") == 1


async def test_an_approval_is_asked_for_once_if_the_method_begins_or_ceases_to_need_one(
    location: Location,
) -> None:
    """A key stands for what the first call has begun, whatever the configuration says later."""

    async def get(request: Any, context: Any) -> Any:
        if request.name != "jobs/1":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such job")
        return DONE

    async with backend_of(GetOperation=get) as backend:
        async with office(location, backend, approval=["*/Other"]) as place:
            assert seen(await ask(place, "started")) == ("jobs/1", False)
        async with office(location, backend) as place:
            assert seen(await ask(place, "started")) == ("jobs/1", True)
            assert await pending(place) == []
            name, _ = seen(await ask(place, "waits"))
        async with office(location, backend, approval=["*/Other"]) as place:
            assert seen(await ask(place, "waits")) == (name, True)
        async with office(location, backend, approval=[]) as place:
            assert seen(await ask(place, "waits")) == (name, True)
        assert backend.count("BuildMachine") == 1


async def test_a_plain_method_that_waits_takes_a_key(tmp_path: Path) -> None:
    """A repeat gets the response of the first call."""
    async with (
        backend_of() as backend,
        office(tmp_path, backend, approval=["*/GetMachine"]) as place,
    ):
        first, second = [await place.call(AGENT, "GET", GET, key="k") for _ in range(2)]
        name, _ = seen(first)
        assert (seen(second), second.status_code) == ((name, True), 202)
        await place.decide(ANA, name)
        third = await place.call(AGENT, "GET", GET, key="k")
        assert (seen(third), third.status_code) == ((name, True), 202)
        assert third.json()["response"]["title"] == "Press"
        document = (await place.call(AGENT, "GET", "/openapi.json")).json()
        (route,) = [
            each["get"]
            for path, each in document["paths"].items()
            if path.startswith("/v1/lines/") and "get" in each
        ]
        assert {"$ref": "#/components/parameters/idempotencyKey"} in route["parameters"]
        assert backend.count("GetMachine") == 1


async def test_what_the_caller_must_bring_starts_with_the_repeat(tmp_path: Path) -> None:
    """The repeat reads the call that was approved, with the headers that its start needs."""
    async with (
        backend_of() as backend,
        office(tmp_path, backend, pass_headers=["x-region"]) as place,
        rest(place.url, AGENT) as client,
    ):
        client.headers.update({"x-region": "north", "idempotency-key": "k"})
        name, _ = seen(await client.post(BUILD, json=dict(factory.ORDER)))
        await place.decide(ANA, name)
        assert backend.count("BuildMachine") == 0
        for _ in range(2):
            assert seen(await client.post(BUILD, json=dict(factory.ORDER))) == ("jobs/1", True)
        (call,) = [each for each in backend.calls if each.method == "BuildMachine"]
        assert call.metadata["x-region"] == "north"


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_a_model_that_repeats_its_call_gets_the_same_approval(
    tmp_path: Path, mode: str
) -> None:
    """It reads that the call is a repeat, and how to wait. A key over REST is the same key."""
    async with backend_of() as backend, office(tmp_path, backend) as place:
        order: Any = {**factory.ORDER, "machine": {"title": "Press"}}
        meta: Any = {"idempotency_key": "k"}
        async with mcp(place.url, AGENT, mode) as client:
            first, second = [
                await client.call_tool("build_machine", order, meta=meta) for _ in range(2)
            ]
            names = [each.structured_content["name"] for each in (first, second)]
            assert names == [seen(await ask(place))[0]] * 2
            texts = " ".join(each.text for each in second.content if each.type == "text")
            assert texts.count("This call repeats an earlier one") == 1
            assert names[0] in texts
            await place.decide(ANA, names[0])
            third = await client.call_tool("build_machine", order, meta=meta)
            assert third.structured_content["name"] == "jobs/1"
        assert backend.count("BuildMachine") == 1


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
async def test_a_repeat_is_a_task_of_the_same_approval(tmp_path: Path, version: str) -> None:
    """Both tasks wait for the same decision, and then are tasks of the same operation."""
    params: Any = {"task": {"ttl": 60_000}} if version == "2025-11-25" else {}
    call = {"name": "build_machine", "arguments": dict(factory.ORDER)}
    async with (
        backend_of() as backend,
        office(tmp_path, backend) as place,
        wire(f"{place.url}/mcp", version) as client,
    ):
        client.http.headers.update(claims(AGENT))
        meta = {"idempotency_key": "k"}
        made = [await client("tools/call", **call, **params, _meta=meta) for _ in range(2)]
        ids = [(each.get("task") or each)["taskId"] for each in made]
        states = [(await client("tasks/get", taskId=each))["status"] for each in ids]
        assert states == ["input_required"] * 2
        (name,) = await pending(place)
        await place.decide(ANA, name)
        states = [(await client("tasks/get", taskId=each))["status"] for each in ids]
        assert states == ["completed"] * 2
        assert backend.count("BuildMachine") == 1

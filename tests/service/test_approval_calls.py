"""Starts of calls after their approval: how often, with which rights, and how they may fail."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc

from lro_gateway.records.approval import ApprovalState
from lro_gateway.records.location import Location
from lro_gateway.records.opening import open_store
from lro_gateway.service.approvals import Approvals
from lro_gateway.service.approving import ApprovingService
from tests import factory
from tests.access.policed import rest
from tests.ports import unused_address
from tests.postgresql import PostgreSql
from tests.service.approved import (
    AGENT,
    ANA,
    BEN,
    BUILD,
    GET,
    RULES,
    RUNNING,
    Office,
    backend_of,
    left_by_a_kill,
    office,
)


def approvals_of(place: Office) -> Approvals:
    """Return the approvals of a gateway."""
    service = place.gateway.service
    assert isinstance(service, ApprovingService)
    return service.approvals


async def test_two_replicas_that_approve_at_once_start_once(server: PostgreSql) -> None:
    """One of the approvals is too late. Whoever waits at the other replica learns of it."""
    location = Location.parse(server.create_database())
    async with (
        backend_of() as backend,
        office(location, backend) as one,
        office(location, backend) as other,
    ):
        name = (await one.ask())["name"]
        waiting = asyncio.create_task(
            other.call(AGENT, "POST", f"/v1/{name}:wait", {"timeout": "30s"})
        )
        both = await asyncio.gather(one.decide(ANA, name), other.decide(BEN, name))
        assert sorted(isinstance(each, str) for each in both) == [False, True]
        assert (await waiting).json()["name"] == "jobs/1"
        assert backend.count("BuildMachine") == 1


async def test_ten_approvals_at_once_start_once(tmp_path: Path) -> None:
    """Of one process, on SQLite."""
    async with backend_of() as backend, office(tmp_path, backend) as place:
        name = (await place.ask())["name"]
        decided = await asyncio.gather(*(place.decide(ANA, name) for _ in range(10)))
        assert decided.count("APPROVAL_DECIDED") == 9
        assert backend.count("BuildMachine") == 1


async def test_the_policy_is_asked_again_before_the_start(tmp_path: Path) -> None:
    """The caller that asked may not start it any more, so the approval is of no use."""
    async with backend_of() as backend:
        async with office(tmp_path, backend) as place:
            name = (await place.ask())["name"]
        rules = [RULES[0], {"deny": ["start"], "tenants": ["data"]}, *RULES[1:]]
        async with office(tmp_path, backend, rules=rules) as place:
            decided = await place.decide(ANA, name)
            assert decided["metadata"]["state"] == "FAILED"
            ended = await place.get(AGENT, name)
        assert ended["error"]["code"] in {5, 7}
        assert ended["error"]["details"][0]["reason"] in {"UNKNOWN_METHOD", "POLICY_DENIED"}
        assert backend.count("BuildMachine") == 0


async def test_a_plain_method_waits_too(tmp_path: Path) -> None:
    """Its response is the response of the handle."""
    async with (
        backend_of() as backend,
        office(tmp_path, backend, approval=["*/GetMachine"]) as place,
    ):
        asked = await place.call(AGENT, "GET", GET)
        assert asked.status_code == 202
        name = asked.json()["name"]
        assert backend.count("GetMachine") == 0
        await place.decide(ANA, name)
        ended = await place.get(AGENT, name)
        assert ended["response"]["@type"].endswith("/factory.v1.Machine")
        assert (ended["done"], ended["response"]["title"]) == (True, "Press")


async def test_the_error_of_the_backend_is_the_end(tmp_path: Path) -> None:
    """It stays the end after a restart."""

    async def refuse(_request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.ALREADY_EXISTS, "there is one")

    async with backend_of(BuildMachine=refuse) as backend:
        async with office(tmp_path, backend) as place:
            name = (await place.ask())["name"]
            assert (await place.decide(ANA, name))["metadata"]["state"] == "FAILED"
        async with office(tmp_path, backend) as place:
            ended = await place.get(AGENT, name)
            assert ended["error"] == {"code": 6, "message": "there is one"}
        assert backend.count("BuildMachine") == 1


async def test_a_start_without_an_answer_is_unknown_and_not_repeated(location: Location) -> None:
    """The backend may have begun, so the gateway says so and never calls again."""

    async def vanish(_request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.INTERNAL, "lost")

    async with backend_of(BuildMachine=vanish) as backend:
        async with office(location, backend) as place:
            name = (await place.ask())["name"]
            assert (await place.decide(ANA, name))["metadata"]["state"] == "UNKNOWN"
            assert await place.decide(BEN, name) == "APPROVAL_DECIDED"
            await approvals_of(place).sweep()
            assert (await place.get(AGENT, name))["done"] is True
        assert backend.count("BuildMachine") == 1


async def test_what_the_caller_must_bring_starts_when_the_caller_reads(tmp_path: Path) -> None:
    """The store has no headers of the caller, so the approval alone starts nothing."""
    async with (
        backend_of() as backend,
        office(tmp_path, backend, pass_headers=["x-region"]) as place,
        rest(place.url, AGENT) as client,
    ):
        client.headers["x-region"] = "north"
        name = (await client.post(BUILD, json=dict(factory.ORDER))).json()["name"]
        decided = await place.decide(ANA, name)
        assert (decided["done"], decided["metadata"]["state"]) == (False, "APPROVED")
        assert backend.count("BuildMachine") == 0
        for _ in range(2):
            assert (await client.get(f"/v1/{name}")).json()["name"] == "jobs/1"
        (call,) = [each for each in backend.calls if each.method == "BuildMachine"]
        assert call.metadata["x-region"] == "north"


async def test_a_process_that_is_killed_before_the_answer_leaves_an_unknown_start(
    tmp_path: Path,
) -> None:
    """The call was claimed and sent. The next process says so, and nobody makes it again."""
    is_sent, may_answer = asyncio.Event(), asyncio.Event()

    async def hold(_request: Any, _context: Any) -> Any:
        is_sent.set()
        await may_answer.wait()
        return RUNNING

    async with backend_of(BuildMachine=hold) as backend:
        async with office(tmp_path, backend) as place:
            name = (await place.ask())["name"]
            deciding = asyncio.create_task(place.decide(ANA, name))
            await is_sent.wait()
            killed = left_by_a_kill(tmp_path)
            may_answer.set()
            await deciding
        async with office(killed, backend) as place:
            ended = await place.get(AGENT, name)
            assert (ended["done"], ended["metadata"]["state"]) == (True, "UNKNOWN")
            assert "may have begun" in ended["error"]["message"]
            assert await place.decide(BEN, name) == "APPROVAL_DECIDED"
            await approvals_of(place).sweep()
        assert backend.count("BuildMachine") == 1


async def test_a_process_that_is_killed_before_the_claim_leaves_an_approved_call(
    tmp_path: Path,
) -> None:
    """Nothing was sent, so the next process makes the call, once."""
    async with backend_of() as backend:
        async with office(tmp_path, backend) as place:
            name = (await place.ask())["name"]
        async with open_store(Location(tmp_path / "store.sqlite3")) as store:
            id_ = name.removeprefix("approvals/")
            assert await store.approvals.move(id_, {ApprovalState.PENDING}, ApprovalState.APPROVED)
        async with office(tmp_path, backend) as place:
            waited = await place.call(AGENT, "POST", f"/v1/{name}:wait", {"timeout": "30s"})
            assert waited.json()["name"] == "jobs/1"
        assert backend.count("BuildMachine") == 1


async def test_an_approval_holds_while_the_backend_cannot_be_reached(tmp_path: Path) -> None:
    """Nothing was sent, so the call is made when the backend is back."""
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(backend_of(address=unused_address()))
        async with office(tmp_path, backend) as place:
            name = (await place.ask())["name"]
            await stack.aclose()
            decided = await place.decide(ANA, name)
            assert (decided["done"], decided["metadata"]["state"]) == (False, "APPROVED")
            async with backend_of(address=backend.target) as back:
                found = name
                while found == name:
                    # Each read of the caller tries the start again.
                    found = (await place.get(AGENT, name))["name"]
                assert found == "jobs/1"
                assert back.count("BuildMachine") == 1
        assert backend.count("BuildMachine") == 0

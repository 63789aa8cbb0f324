"""Handles of calls in place of names of operations."""

from __future__ import annotations

from pathlib import Path

from lro_gateway.records.location import Location
from tests.access.policed import rest
from tests.contrary import answering
from tests.service.approved import (
    AGENT,
    ANA,
    EVE,
    RUNNING,
    backend_of,
    office,
    reason_of,
)


async def test_a_stream_ends_with_the_operation(tmp_path: Path) -> None:
    """It tells of the wait, then of the start."""
    async with backend_of() as backend, office(tmp_path, backend) as place:
        name = (await place.ask())["name"]
        async with (
            rest(place.url, AGENT) as client,
            client.stream("GET", f"/v1/{name}:watch") as answer,
        ):
            states = (each async for each in answer.aiter_lines() if each.startswith("data:"))
            assert "PENDING" in await anext(states)
            await place.decide(ANA, name)
            assert "jobs/1" in [each async for each in states][-1]


async def test_the_one_who_asked_can_cancel(tmp_path: Path) -> None:
    """Before the start it ends the handle, and after it the operation is cancelled."""
    async with backend_of() as backend, office(tmp_path, backend) as place:
        name = (await place.ask())["name"]
        refused = await place.call(ANA, "POST", f"/v1/{name}:cancel")
        assert reason_of(refused) == "APPROVAL_OF_ANOTHER"
        assert (await place.call(AGENT, "POST", f"/v1/{name}:cancel")).is_success
        assert (await place.get(AGENT, name))["error"]["code"] == 1
        assert await place.decide(ANA, name) == "APPROVAL_DECIDED"
        assert reason_of(await place.call(AGENT, "DELETE", f"/v1/{name}")) == "APPROVAL_KEPT"
        started = (await place.ask())["name"]
        await place.decide(ANA, started)
        assert (await place.call(AGENT, "POST", f"/v1/{started}:cancel")).is_success
        assert backend.count("CancelOperation") == 1


async def test_a_call_starts_after_somebody_else_has_approved_it(location: Location) -> None:
    """Until then the backend gets nothing. Then the handle stands for the operation."""
    async with backend_of() as backend, office(location, backend) as place:
        asked = await place.ask()
        name, metadata = asked["name"], asked["metadata"]
        assert (asked["done"], metadata["state"], metadata["backend"]) == (False, "PENDING", "east")
        assert metadata["method"] == "factory.v1.Factory/BuildMachine"
        assert metadata["request"]["machine"]["title"] == "Press"
        assert metadata["requester"] == {
            "issuer": "https://id",
            "subject": "agent",
            "tenant": "data",
        }
        assert backend.count("BuildMachine") == 0
        decided = await place.decide(ANA, name, reason="ticket 7")
        assert (decided["done"], decided["metadata"]["state"]) == (True, "STARTED")
        assert (decided["metadata"]["operation"], decided["metadata"]["reason"]) == (
            "jobs/1",
            "ticket 7",
        )
        assert decided["metadata"]["decider"]["subject"] == "ana"
        assert backend.count("BuildMachine") == 1
        followed = await place.get(AGENT, name)
        assert (followed["name"], followed["done"]) == ("jobs/1", True)
        mine = await place.call(AGENT, "GET", "/v1/operations:mine")
        assert [each["name"] for each in mine.json()["operations"]] == ["jobs/1"]


async def test_only_the_operation_of_a_handle_has_events(tmp_path: Path) -> None:
    """A backend does not know the handle, so its events would say that it is gone."""
    async with (
        backend_of(GetOperation=answering(RUNNING)) as backend,
        office(tmp_path, backend) as place,
    ):
        body = {"url": "https://hooks.invalid/"}
        name, refused = (await place.ask())["name"], (await place.ask())["name"]
        await place.decide(ANA, refused, "refuse")
        for each in (name, refused):
            asked = {**body, "operation": each}
            for answer in (
                await place.call(AGENT, "POST", f"/v1/{each}:notify", body),
                await place.call(AGENT, "POST", "/v1/webhooks", asked),
            ):
                assert (answer.status_code, reason_of(answer)) == (400, "NO_OPERATION_OF_HANDLE")
        hidden = await place.call(EVE, "POST", f"/v1/{name}:notify", body)
        assert reason_of(hidden) == "NO_SUCH_OPERATION"
        await place.decide(ANA, name)
        made = await place.call(AGENT, "POST", f"/v1/{name}:notify", body)
        assert made.json()["operation"] == "jobs/1"
        others = await place.call(ANA, "POST", f"/v1/{name}:notify", body)
        assert reason_of(others) == "NO_OPERATION_OF_HANDLE"

"""Tasks of calls that need an approval: what they ask, and of whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client

from lro_gateway.principal import Principal
from tests import factory
from tests.access.policed import claims, mcp
from tests.mcp.wire import DECLARED, Wire
from tests.service.approved import AGENT, ANA, Office, backend_of, office

NO_ANSWERS: list[Any] = [
    *({"action": "cancel"}, {"action": ["accept"]}, {"action": {}}, ["accept"], {"action": "yes"}),
    *({"action": "accept"}, {"action": "accept", "content": {}}),
    {"action": "accept", "content": {"agreed": "true"}},
]
"""Closed questions, and answers that have not the form that was asked for."""
ELICITS = {**DECLARED, "elicitation": {"form": {}}}


@asynccontextmanager
async def agent(place: Office, who: Principal, version: str = "2026-07-28") -> AsyncIterator[Wire]:
    """Open a client that follows tasks."""
    async with httpx.AsyncClient(timeout=60, headers=claims(who)) as http:
        yield Wire(http, f"{place.url}/mcp", version, ELICITS)


async def build(client: Wire, **more: Any) -> Any:
    """Call the tool that builds a machine."""
    return await client("tools/call", name="build_machine", arguments={**factory.ORDER}, **more)


async def test_a_person_approves_in_the_task(tmp_path: Path) -> None:
    """The caller that asked may approve here. The task then goes on as the operation."""
    async with (
        backend_of() as backend,
        office(tmp_path, backend, self_approval=True) as place,
        agent(place, ANA) as client,
    ):
        created = await build(client)
        assert created["status"] == "input_required"
        task_id = created["taskId"]
        task = await client("tasks/get", taskId=task_id)
        (question,) = task["inputRequests"].values()
        message = question["params"]["message"]
        begin = "Approve the call of factory.v1.Factory/BuildMachine on backend east? It is called"
        assert message.startswith(
            f'{begin} with {{"machine":{{"title":"Press"}},"parent":"lines/1",'
        )
        for nothing in NO_ANSWERS:
            answers = {"approve": nothing}
            await client("tasks/update", taskId=task_id, inputResponses=answers)
        assert (await client("tasks/get", taskId=task_id))["status"] == "input_required"
        agreed = {"approve": {"action": "accept", "content": {"agreed": True}}}
        for _ in range(2):
            await client("tasks/update", taskId=task_id, inputResponses=agreed)
        ended = await client("tasks/get", taskId=task_id)
        assert ended["status"] == "completed"
        assert ended["result"]["structuredContent"]["name"] == "jobs/1"
        assert backend.count("BuildMachine") == 1


@pytest.mark.parametrize(
    "answer", [{"action": "decline"}, {"action": "accept", "content": {"agreed": False}}]
)
async def test_a_person_refuses_in_the_task(tmp_path: Path, answer: Any) -> None:
    """The task ends with an error, and nothing has begun."""
    async with (
        backend_of() as backend,
        office(tmp_path, backend, self_approval=True) as place,
        agent(place, ANA) as client,
    ):
        task_id = (await build(client))["taskId"]
        await client("tasks/update", taskId=task_id, inputResponses={"approve": answer})
        ended = await client("tasks/get", taskId=task_id)
        assert (ended["status"], ended["result"]["isError"]) == ("completed", True)
        assert "It was refused by" in ended["statusMessage"]
        assert backend.count("BuildMachine") == 0


async def test_a_task_waits_for_somebody_else(tmp_path: Path) -> None:
    """It asks nothing of the one who may not approve, whose answer counts for nothing."""
    async with backend_of() as backend, office(tmp_path, backend) as place:
        async with agent(place, AGENT) as client:
            task_id = (await build(client))["taskId"]
            task = await client("tasks/get", taskId=task_id)
            assert (task["status"], task["inputRequests"]) == ("input_required", {})
            assert task["statusMessage"].startswith("It is not called yet. It waits for an")
            (found,) = (await place.call(ANA, "GET", "/v1/approvals")).json()["approvals"]
            await place.decide(ANA, found["name"])
            assert (await client("tasks/get", taskId=task_id))["status"] == "completed"
            other = (await build(client))["taskId"]
            await client("tasks/cancel", taskId=other)
            assert (await client("tasks/get", taskId=other))["status"] == "cancelled"
        assert backend.count("BuildMachine") == 1


async def test_a_core_task_waits_too(tmp_path: Path) -> None:
    """On 2025-11-25 the task has the same status, and is approved by other means."""
    async with (
        backend_of() as backend,
        office(tmp_path, backend) as place,
        agent(place, AGENT, "2025-11-25") as client,
    ):
        task = (await build(client, task={}))["task"]
        assert task["status"] == "input_required"
        (found,) = (await place.call(ANA, "GET", "/v1/approvals")).json()["approvals"]
        await place.decide(ANA, found["name"])
        result = await client("tasks/result", taskId=task["taskId"])
        assert result["structuredContent"]["name"] == "jobs/1"


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_a_client_without_tasks_waits_for_the_handle(tmp_path: Path, mode: str) -> None:
    """The tool says that it needs an approval, and its answer says how to wait."""
    async with (
        backend_of() as backend,
        office(tmp_path, backend, approval=["*"]) as place,
        mcp(place.url, AGENT, mode) as client,
    ):
        tools = {each.name: each for each in (await client.list_tools()).tools}
        assert "waits until a person approves it" in str(tools["build_machine"].description)
        assert tools["get_machine"].output_schema is None
        asked = await _called(client, "build_machine", factory.ORDER)
        name = asked["name"]
        plain = await _called(client, "get_machine", {"name": "lines/1/machines/2"})
        waited = await _called(client, "wait_operation", {"name": name, "timeout": "0s"})
        assert waited["metadata"]["state"] == "PENDING"
        for each in (name, plain["name"]):
            await place.decide(ANA, each)
        ended = await _called(client, "wait_operation", {"name": name})
        assert (ended["name"], ended["done"]) == ("jobs/1", True)
        read = await _called(client, "get_operation", {"name": plain["name"]})
        assert read["response"]["title"] == "Press"


async def _called(client: Client, tool: str, arguments: Any) -> Any:
    result = await client.call_tool(tool, dict(arguments))
    assert result.is_error is not True
    return result.structured_content

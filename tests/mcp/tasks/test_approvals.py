"""Tasks that ask before they act, and act once all is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import mcp_types as types
import pytest

from lro_gateway.errors import Code, status_error
from lro_gateway.mcp.answers import Answer, Reply
from lro_gateway.mcp.extension_point import Extension, ToolCall
from lro_gateway.mcp.tasks.approvals import InputTasks, MemoryRecords, Record
from lro_gateway.principal import Principal
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import StartRequest
from tests.conformance.fixtures import extra_tool, question
from tests.gateways import offer_of, serving
from tests.mcp.jobs import GRACE, SERVICE, Clock, Jobs
from tests.mcp.wire import Wire, wire

pytestmark = pytest.mark.anyio

ACK = {"resultType": "complete"}
YES = {"action": "accept", "content": {"ok": True}}


class Approval:
    """Asks two people before it starts a job."""

    name = "approval"

    def __init__(self, service: OperationService) -> None:
        self._service = service

    def questions(self, subject: tuple[str, ...]) -> Mapping[str, Any]:
        asked = question(f"Start {subject[0]}?", "ok", "boolean")
        return {"operator": asked, "owner": asked}

    async def proceed(
        self, caller: Principal, subject: tuple[str, ...], answers: Mapping[str, Any]
    ) -> Answer | types.CallToolResult:
        if any(answer["action"] != "accept" for answer in answers.values()):
            raise status_error(Code.PERMISSION_DENIED, "somebody said no", "DECLINED")
        if subject[0] == "a bug":
            raise ZeroDivisionError
        arguments = {"seconds": 100, "label": subject[0]}
        offer = await offer_of(self._service, f"{SERVICE}.SlowCompute")
        started = await self._service.start(caller, StartRequest(offer, arguments))
        assert started.operation is not None
        operation = started.operation
        return Answer(operation.to_json(), "", operation=operation)


def approvals(service: OperationService) -> Extension:
    """Return the tool that asks, and its tasks."""
    source = InputTasks(Approval(service), service)

    async def start_job(call: ToolCall) -> Reply:
        return source.key("start_job", call.arguments["label"])

    return Extension((extra_tool("start_job", start_job, "optional"),), (source,))


@pytest.fixture
async def client(jobs: Jobs) -> AsyncIterator[Wire]:
    """Open a client of a gateway with approvals."""
    async with (
        serving(jobs.settings, extend=approvals, sync_grace=GRACE) as url,
        wire(f"{url}/mcp") as opened,
    ):
        yield opened


async def asked(client: Wire, label: str = "a") -> str:
    """Call the tool; returns the id of its task."""
    created = await client("tools/call", name="start_job", arguments={"label": label})
    assert created["status"] == "input_required"
    assert "inputRequests" not in created
    task_id: str = created["taskId"]
    return task_id


async def answer(client: Wire, task_id: str, **answers: Any) -> dict[str, Any]:
    """Answer some questions; returns the task after that."""
    assert await client("tasks/update", taskId=task_id, inputResponses=answers) == ACK
    return await client("tasks/get", taskId=task_id)


async def test_a_task_goes_on_as_the_operation_that_it_started(
    client: Wire, jobs: Jobs, clock: Clock
) -> None:
    """One answer at a time; nothing begins before the last, and it begins once."""
    task_id = await asked(client)
    waiting = await client("tasks/get", taskId=task_id)
    assert waiting["inputRequests"] == {
        key: question("Start a?", "ok", "boolean") for key in ("operator", "owner")
    }
    half = await answer(client, task_id, operator=YES, nobody=YES)
    assert (half["status"], list(half["inputRequests"])) == ("input_required", ["owner"])
    assert half["statusMessage"] == "Waiting for 1 answer."
    assert jobs.jobs == {}
    working = await answer(client, task_id, owner=YES)
    assert (working["status"], working["statusMessage"]) == ("working", "Running, 0% done.")
    await answer(client, task_id, owner=YES, operator=YES)
    assert len(jobs.jobs) == 1
    clock.ahead = 100
    ended = await client("tasks/get", taskId=task_id)
    assert ended["status"] == "completed"
    assert ended["result"]["structuredContent"]["response"]["label"] == "a"


async def test_an_answer_counts_once(client: Wire, jobs: Jobs) -> None:
    """Who declined cannot be made to agree by a second answer."""
    task_id = await asked(client)
    await answer(client, task_id, operator={"action": "decline"})
    ended = await answer(client, task_id, operator=YES, owner=YES)
    assert ended["status"] == "completed"
    assert ended["result"]["isError"] is True
    assert "somebody said no" in ended["result"]["content"][0]["text"]
    assert jobs.jobs == {}


async def test_two_calls_are_two_tasks(client: Wire) -> None:
    """What one is answered says nothing about the other."""
    first, second = await asked(client), await asked(client)
    assert first != second
    await answer(client, first, operator=YES)
    assert len((await client("tasks/get", taskId=second))["inputRequests"]) == 2


async def test_a_task_is_cancelled_while_it_waits(client: Wire, jobs: Jobs) -> None:
    """Answers that come later change nothing."""
    task_id = await asked(client)
    assert await client("tasks/cancel", taskId=task_id) == ACK
    assert (await client("tasks/get", taskId=task_id))["status"] == "cancelled"
    assert (await answer(client, task_id, operator=YES, owner=YES))["status"] == "cancelled"
    assert jobs.jobs == {}


async def test_a_task_is_cancelled_with_its_operation(client: Wire, jobs: Jobs) -> None:
    """Once it goes on as an operation, that is what is cancelled."""
    task_id = await asked(client)
    await answer(client, task_id, operator=YES, owner=YES)
    assert await client("tasks/cancel", taskId=task_id) == ACK
    assert jobs.jobs["operations/1"].cancelled
    assert (await client("tasks/get", taskId=task_id))["status"] == "cancelled"


async def test_a_mistake_of_the_gateways_own_fails_the_task(client: Wire) -> None:
    """That is an error of the protocol, and tells nothing of the inside."""
    ended = await answer(client, await asked(client, "a bug"), operator=YES, owner=YES)
    assert ended["status"] == "failed"
    assert ended["error"] == {
        "code": -32603,
        "message": "the gateway failed; its log has the reason",
        "data": {"code": 13, "status": "INTERNAL"},
    }
    assert "result" not in ended


async def test_without_the_extension_such_a_tool_is_refused(client: Wire) -> None:
    """It has no other way to ask."""
    client.capabilities = {}
    with pytest.raises(Exception, match="-32021"):
        await client("tools/call", name="start_job", arguments={"label": "a"})


def test_only_the_latest_records_are_kept() -> None:
    """A task whose record is gone asks again: it never acts on a guess."""
    records = MemoryRecords(most=1)
    records.write(("a",), Record({"operator": YES}))
    records.write(("b",), Record({"owner": YES}))
    assert records.read(("a",)) == Record()
    assert records.read(("b",)) == Record({"owner": YES})


async def test_a_task_on_the_core_wire_asks_too(jobs: Jobs) -> None:
    """2025-11-25 shows that it waits, and the answers come by another way."""
    async with (
        serving(jobs.settings, extend=approvals, sync_grace=GRACE) as url,
        wire(f"{url}/mcp", "2025-11-25") as client,
    ):
        created = await client("tools/call", name="start_job", arguments={"label": "a"}, task={})
        assert created["task"]["status"] == "input_required"

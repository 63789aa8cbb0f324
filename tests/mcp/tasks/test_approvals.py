"""Tests of tasks that ask questions, and act when every question has an answer."""

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
    """A kind of task that asks two people before it starts a job."""

    name = "approval"

    def __init__(self, service: OperationService) -> None:
        self._service = service

    def questions(self, subject: tuple[str, ...]) -> Mapping[str, Any]:
        request = question(f"Start {subject[0]}?", "ok", "boolean")
        return {"operator": request, "owner": request}

    async def proceed(
        self, caller: Principal, subject: tuple[str, ...], answers: Mapping[str, Any]
    ) -> Answer | types.CallToolResult:
        if any(answer["action"] != "accept" for answer in answers.values()):
            raise status_error(Code.PERMISSION_DENIED, "a person has declined", "DECLINED")
        if subject[0] == "a bug":
            raise ZeroDivisionError
        arguments = {"seconds": 100, "label": subject[0]}
        offer = await offer_of(self._service, f"{SERVICE}.SlowCompute")
        started = await self._service.start(caller, StartRequest(offer, arguments))
        assert started.operation is not None
        operation = started.operation
        return Answer(operation.to_json(), "", operation=operation)


def approvals(service: OperationService) -> Extension:
    """Return a tool that replies with such tasks, and the source of the tasks."""
    source = InputTasks(Approval(service), service)

    async def call_tool(call: ToolCall) -> Reply:
        return source.key("start_job", call.arguments["label"])

    return Extension((extra_tool("start_job", call_tool, "optional"),), (source,))


@pytest.fixture
async def client(jobs: Jobs) -> AsyncIterator[Wire]:
    """Open a client of a gateway that has the extension."""
    async with (
        serving(jobs.settings, extend=approvals, sync_grace=GRACE) as url,
        wire(f"{url}/mcp") as opened,
    ):
        yield opened


async def start_job(client: Wire, label: str = "a") -> str:
    """Call the tool; return the id of its task."""
    created = await client("tools/call", name="start_job", arguments={"label": label})
    assert created["status"] == "input_required"
    assert "inputRequests" not in created
    task_id: str = created["taskId"]
    return task_id


async def answer(client: Wire, task_id: str, **answers: Any) -> dict[str, Any]:
    """Answer some questions; return the task after these answers."""
    assert await client("tasks/update", taskId=task_id, inputResponses=answers) == ACK
    return await client("tasks/get", taskId=task_id)


async def test_a_task_continues_as_the_operation_that_it_starts(
    client: Wire, jobs: Jobs, clock: Clock
) -> None:
    """The job starts after the last answer, and it starts only once."""
    task_id = await start_job(client)
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


async def test_only_the_first_answer_to_a_question_counts(client: Wire, jobs: Jobs) -> None:
    """A second answer cannot turn a refusal into an agreement."""
    task_id = await start_job(client)
    await answer(client, task_id, operator={"action": "decline"})
    ended = await answer(client, task_id, operator=YES, owner=YES)
    assert ended["status"] == "completed"
    assert ended["result"]["isError"] is True
    assert "a person has declined" in ended["result"]["content"][0]["text"]
    assert jobs.jobs == {}


async def test_two_calls_create_two_tasks(client: Wire) -> None:
    """An answer to one task is no answer to the other task."""
    first, second = await start_job(client), await start_job(client)
    assert first != second
    await answer(client, first, operator=YES)
    assert len((await client("tasks/get", taskId=second))["inputRequests"]) == 2


async def test_a_task_can_be_cancelled_while_it_waits(client: Wire, jobs: Jobs) -> None:
    """Answers after the cancellation do not start the job."""
    task_id = await start_job(client)
    assert await client("tasks/cancel", taskId=task_id) == ACK
    assert (await client("tasks/get", taskId=task_id))["status"] == "cancelled"
    assert (await answer(client, task_id, operator=YES, owner=YES))["status"] == "cancelled"
    assert jobs.jobs == {}


async def test_cancelling_a_task_cancels_the_operation_that_it_started(
    client: Wire, jobs: Jobs
) -> None:
    """The backend receives the cancellation, and the task then has the status cancelled."""
    task_id = await start_job(client)
    await answer(client, task_id, operator=YES, owner=YES)
    assert await client("tasks/cancel", taskId=task_id) == ACK
    assert jobs.jobs["operations/1"].cancelled
    assert (await client("tasks/get", taskId=task_id))["status"] == "cancelled"


async def test_an_unexpected_exception_fails_the_task(client: Wire) -> None:
    """The task has a JSON-RPC error, which does not show the exception."""
    ended = await answer(client, await start_job(client, "a bug"), operator=YES, owner=YES)
    assert ended["status"] == "failed"
    assert ended["error"] == {
        "code": -32603,
        "message": "the gateway failed; its log has the reason",
        "data": {"code": 13, "status": "INTERNAL"},
    }
    assert "result" not in ended


async def test_a_client_without_tasks_cannot_call_a_tool_that_asks(client: Wire) -> None:
    """The call fails with -32021, because the tool can ask only by a task."""
    client.capabilities = {}
    with pytest.raises(Exception, match="-32021"):
        await client("tools/call", name="start_job", arguments={"label": "a"})


def test_only_the_latest_records_are_kept() -> None:
    """A task whose record is lost has no answers, so it asks its questions again."""
    records = MemoryRecords(max_records=1)
    records.write(("a",), Record({"operator": YES}))
    records.write(("b",), Record({"owner": YES}))
    assert records.read(("a",)) == Record()
    assert records.read(("b",)) == Record({"owner": YES})


async def test_a_core_task_waits_for_answers_too(jobs: Jobs) -> None:
    """On 2025-11-25 the task has the status input_required, but the client cannot answer it."""
    async with (
        serving(jobs.settings, extend=approvals, sync_grace=GRACE) as url,
        wire(f"{url}/mcp", "2025-11-25") as client,
    ):
        created = await client("tools/call", name="start_job", arguments={"label": "a"}, task={})
        assert created["task"]["status"] == "input_required"

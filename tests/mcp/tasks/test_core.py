"""Tests of tasks on 2025-11-25, where tasks are part of the core protocol."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

from tests.gateways import serving
from tests.mcp.jobs import GRACE, Clock, Jobs
from tests.mcp.wire import RpcError, Wire, wire

pytestmark = pytest.mark.anyio

TTL = {"ttl": 60_000}


async def started(client: Wire, **arguments: Any) -> dict[str, Any]:
    """Call the tool slow_compute as a task; return the task."""
    created = await client("tools/call", name="slow_compute", arguments=arguments, task=TTL)
    assert set(created) == {"task"}
    task: dict[str, Any] = created["task"]
    return task


async def refusal(client: Wire, method: str, **params: Any) -> RpcError:
    """Send a request that must fail; return its error."""
    with pytest.raises(RpcError) as refused:
        await client(method, **params)
    return refused.value


async def test_a_tools_call_with_a_task_creates_a_task(
    core: Wire, jobs: Jobs, clock: Clock
) -> None:
    """tasks/get returns the status without the result, and tasks/result returns the result."""
    task = await started(core, seconds=100, label="a")
    created = dt.datetime.fromtimestamp(jobs.jobs["operations/1"].start_time, dt.UTC)
    assert task == {
        "taskId": task["taskId"],
        "status": "working",
        "statusMessage": "Running, 0% done.",
        "createdAt": created.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "lastUpdatedAt": created.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "ttl": None,
        "pollInterval": 1000,
    }
    assert await core("tasks/get", taskId=task["taskId"]) == task
    clock.ahead = 100
    assert await core("tasks/get", taskId=task["taskId"]) == {
        **task,
        "status": "completed",
        "statusMessage": "Done: it succeeded, and response holds the result.",
    }
    plain = await core("tools/call", name="get_operation", arguments={"name": "operations/1"})
    assert await core("tasks/result", taskId=task["taskId"]) == {
        **plain,
        "isError": False,
        "_meta": {"io.modelcontextprotocol/related-task": {"taskId": task["taskId"]}},
    }


async def test_tasks_result_waits_for_the_end(core: Wire, clock: Clock) -> None:
    """tasks/result returns when the operation is done."""
    task = await started(core, seconds=100, label="a")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(core("tasks/result", taskId=task["taskId"]))
        await core("tasks/get", taskId=task["taskId"])
        clock.ahead = 100
    assert waiting.result()["structuredContent"]["response"]["label"] == "a"


async def test_a_tools_call_without_a_task_returns_the_operation(core: Wire) -> None:
    """The answer is the operation, although it is still running."""
    result = await core("tools/call", name="slow_compute", arguments={"seconds": 100})
    assert result["structuredContent"]["done"] is False


async def test_an_operation_that_ends_at_once_is_a_task_too(core: Wire) -> None:
    """The client sent `task`, so it gets a task, which is already completed."""
    task = await started(core, seconds=0, label="a")
    assert task["status"] == "completed"
    result = await core("tasks/result", taskId=task["taskId"])
    assert result["structuredContent"]["response"]["label"] == "a"


async def test_a_failed_call_is_a_failed_task(core: Wire) -> None:
    """There is no operation, so the task's id holds the tool error."""
    created = await core(
        "tools/call", name="wait_operation", arguments={"name": "operations/9"}, task=TTL
    )
    task = created["task"]
    assert task["status"] == "failed"
    assert "NOT_FOUND" in task["statusMessage"]
    assert await core("tasks/get", taskId=task["taskId"]) == task
    result = await core("tasks/result", taskId=task["taskId"])
    assert result["isError"] is True
    assert "there is no such job" in result["content"][0]["text"]


async def test_an_operation_that_failed_is_a_failed_task(core: Wire, clock: Clock) -> None:
    """The statusMessage has the error, because clients show only this of a failed task."""
    task = await started(core, seconds=100, failure="no more memory")
    clock.ahead = 100
    ended = await core("tasks/get", taskId=task["taskId"])
    assert ended["status"] == "failed"
    assert ended["statusMessage"] == 'Failed with INTERNAL. The service says: "no more memory".'
    assert (await core("tasks/result", taskId=task["taskId"]))["isError"] is True


async def test_tasks_cancel_returns_the_cancelled_task(core: Wire) -> None:
    """A second tasks/cancel fails with -32602, because the task has ended."""
    task = await started(core, seconds=100)
    cancelled = await core("tasks/cancel", taskId=task["taskId"])
    assert cancelled == {
        **task,
        "status": "cancelled",
        "statusMessage": "Done: it was cancelled. Nothing more will happen.",
    }
    assert await core("tasks/get", taskId=task["taskId"]) == cancelled
    refused = await refusal(core, "tasks/cancel", taskId=task["taskId"])
    assert (refused.code, refused.message) == (
        -32602,
        "The task has already ended. Its status is cancelled",
    )
    assert (await core("tasks/result", taskId=task["taskId"]))["isError"] is True


async def test_tasks_cancel_fails_if_the_task_keeps_running(clock: Clock) -> None:
    """If the backend does not cancel the operation within 3 s, the client gets an error."""
    async with (
        Jobs.open(clock=clock, obeys_cancel=False) as jobs,
        serving(jobs.settings, sync_grace=GRACE) as url,
        wire(f"{url}/mcp", "2025-11-25") as client,
    ):
        task = await started(client, seconds=100)
        refused = await refusal(client, "tasks/cancel", taskId=task["taskId"])
        assert (await client("tasks/get", taskId=task["taskId"]))["status"] == "working"
    assert refused.code == -32603
    assert "the task is still running" in refused.message


async def test_only_tools_that_start_operations_run_as_tasks(core: Wire) -> None:
    """tools/list marks these tools; any other tool refuses a `task` with -32601."""
    listed = (await core("tools/list"))["tools"]
    support = {tool["name"]: tool.get("execution", {}).get("taskSupport") for tool in listed}
    assert support == {
        "get_operation": None,
        "list_operations": None,
        "wait_operation": "optional",
        "cancel_operation": None,
        "delete_operation": None,
        "slow_compute": "optional",
    }
    refused = await refusal(
        core, "tools/call", name="get_operation", arguments={"name": "operations/1"}, task=TTL
    )
    assert refused.code == -32601


async def test_the_core_protocol_has_neither_tasks_update_nor_tasks_list(core: Wire) -> None:
    """Both methods fail with -32601."""
    for method in ("tasks/update", "tasks/list"):
        refused = await refusal(core, method, taskId="t", inputResponses={})
        assert refused.code == -32601


async def test_earlier_revisions_have_no_tasks(url: str) -> None:
    """On 2025-06-18, tasks/get does not exist, and tools/call ignores a `task`."""
    async with wire(url, "2025-06-18") as client:
        assert (await refusal(client, "tasks/get", taskId="t")).code == -32601
        result = await client(
            "tools/call", name="slow_compute", arguments={"seconds": 100}, task=TTL
        )
    assert result["structuredContent"]["done"] is False


@pytest.mark.usefixtures("_nothing_is_recent")
async def test_all_unknown_task_ids_get_the_same_error(core: Wire, jobs: Jobs) -> None:
    """An invalid id, and the id of an operation that no longer exists, get the same error."""
    task = await started(core, seconds=100)
    jobs.jobs.clear()
    for method in ("tasks/get", "tasks/result", "tasks/cancel"):
        refusals = [await refusal(core, method, taskId=each) for each in ("?", task["taskId"])]
        assert {(each.code, each.message) for each in refusals} == {
            (-32602, "Unknown task: it may have expired, or never existed")
        }

"""Tests of the tasks of operations, in both task protocols."""

from __future__ import annotations

import os
from base64 import b64encode
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from tests.gateways import serving
from tests.mcp.jobs import GRACE, Clock, Jobs
from tests.mcp.wire import RpcError, Wire, wire

pytestmark = pytest.mark.anyio

REVISIONS: Final = ("2026-07-28", "2025-11-25")


async def started(client: Wire, tool: str = "slow_compute", **arguments: Any) -> str:
    """Call a tool that starts or follows a job; return the id of the task."""
    as_task = {} if client.version == REVISIONS[0] else {"task": {"ttl": 60_000}}
    created = await client("tools/call", name=tool, arguments=arguments, **as_task)
    task_id: str = created.get("task", created)["taskId"]
    return task_id


@pytest.mark.parametrize("version", REVISIONS)
async def test_tasks_get_repeats_a_read_after_an_error_that_may_pass(
    version: str, url: str, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many clients give a task up after one error. The third error in a row is returned."""
    monkeypatch.setattr("lro_gateway.service.patience._FIRST_PAUSE", 0.002)
    async with wire(url, version) as client:
        task_id = await started(client, seconds=100)
        jobs.failures = 2
        assert (await client("tasks/get", taskId=task_id))["status"] == "working"
        jobs.failures = 3
        with pytest.raises(RpcError) as refused:
            await client("tasks/get", taskId=task_id)
    assert (refused.value.code, refused.value.message) == (
        -32603,
        'The backend answered INTERNAL. The service says: "the store is busy".',
    )


@pytest.mark.parametrize("version", REVISIONS)
async def test_a_task_whose_operation_is_not_found_yet_is_working(
    version: str, url: str, jobs: Jobs, clock: Clock
) -> None:
    """The backend finds the operation a moment after the start, and then the task goes on."""
    jobs.is_behind = True
    async with wire(url, version) as client:
        task_id = await started(client, seconds=100)
        assert (await client("tasks/get", taskId=task_id))["status"] == "working"
        waited = await client(
            "tools/call",
            name="get_operation",
            arguments={"name": "operations/1"},
        )
        assert waited["structuredContent"]["done"] is False
        jobs.is_behind, clock.ahead = False, 100
        assert (await client("tasks/get", taskId=task_id))["status"] == "completed"


async def test_a_task_of_an_operation_that_ended_at_once_is_known_too(
    core: Wire, jobs: Jobs
) -> None:
    """The start answered with the result, which tasks/result returns before GetOperation can."""
    jobs.is_behind = True
    task_id = await started(core, seconds=0, label="a")
    assert (await core("tasks/get", taskId=task_id))["status"] == "completed"
    result = await core("tasks/result", taskId=task_id)
    assert result["structuredContent"]["response"]["label"] == "a"


@pytest.mark.parametrize("version", REVISIONS)
async def test_every_worker_knows_a_task_whose_operation_is_not_found_yet(
    version: str, jobs: Jobs, clock: Clock, tmp_path: Path
) -> None:
    """The task's id has the time of the start, so a worker that never met the operation waits."""
    key = tmp_path / "key"
    key.write_bytes(b64encode(os.urandom(32)))
    jobs.is_behind = True
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(2):
            gateway = serving(jobs.settings, sync_grace=GRACE, keys=[str(key)])
            base = await stack.enter_async_context(gateway)
            clients.append(await stack.enter_async_context(wire(f"{base}/mcp", version)))
        one, other = clients
        task_id = await started(one, seconds=100)
        assert (await other("tasks/get", taskId=task_id))["status"] == "working"
        jobs.is_behind, clock.ahead = False, 100
        assert (await other("tasks/get", taskId=task_id))["status"] == "completed"


async def test_a_notification_is_sent_only_if_the_task_shows_a_change(
    jobs: Jobs, clock: Clock
) -> None:
    """The number of reads grows in the metadata, and the task does not show it."""
    jobs.counts_reads = True
    often = {**jobs.settings, "poll_intervals": ["0.01s"] * 3}
    async with (
        serving(often, sync_grace=GRACE) as base,
        wire(f"{base}/mcp") as client,
    ):
        subscribed = {"taskIds": [await started(client, seconds=100)]}
        async with client.stream("subscriptions/listen", notifications=subscribed) as stream:
            first = [await anext(stream) for _ in range(2)][1]
            await jobs.next_reads(5)
            clock.ahead = 100
            second = await anext(stream)
    statuses = [each["params"]["status"] for each in (first, second)]
    assert statuses == ["working", "completed"]


@pytest.mark.parametrize("grace", ["0s", GRACE])
@pytest.mark.parametrize("version", REVISIONS)
async def test_an_operation_that_cannot_be_read_is_no_task_that_is_unknown(
    version: str, grace: str, jobs: Jobs
) -> None:
    """The client gets the operation itself, because tasks/get would not know the task."""
    jobs.is_closed = True
    async with (
        serving(jobs.settings, sync_grace=grace) as base,
        wire(f"{base}/mcp", version) as client,
    ):
        as_task = {} if version == REVISIONS[0] else {"task": {"ttl": 60_000}}
        call = {"name": "slow_compute", "arguments": {"seconds": 100}, **as_task}
        result = await client("tools/call", **call)
        if version == REVISIONS[1]:
            task_id = result["task"]["taskId"]
            assert (await client("tasks/get", taskId=task_id))["status"] == "completed"
            result = await client("tasks/result", taskId=task_id)
    assert "taskId" not in result
    assert result["structuredContent"]["name"] == "operations/1"

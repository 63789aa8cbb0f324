"""Tests of tasks on 2026-07-28, where they are the extension `io.modelcontextprotocol/tasks`."""

from __future__ import annotations

import datetime as dt
import json
import os
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2

from tests import gateways
from tests.contrary import ContraryBackend, answering, refusing
from tests.mcp.jobs import GRACE, Clock, Jobs
from tests.mcp.wire import EXTENSION, RpcError, Wire, wire

pytestmark = pytest.mark.anyio

RUNNING = operations_pb2.Operation(name="operations/1")
UNKNOWN = "Unknown task: it may have expired, or never existed"


def iso_time(seconds: float) -> str:
    """Return a time, in seconds since the epoch, in the format that tasks have."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


async def started(client: Wire, **arguments: Any) -> dict[str, Any]:
    """Call the tool slow_compute; return its result, which may be a task."""
    return await client("tools/call", name="slow_compute", arguments=arguments)


async def refusal(client: Wire, method: str, **params: Any) -> RpcError:
    """Send a request that must fail; return its error."""
    with pytest.raises(RpcError) as refused:
        await client(method, **params)
    return refused.value


@asynccontextmanager
async def replica(jobs: Jobs | ContraryBackend, *keys: Path) -> AsyncIterator[Wire]:
    """Open a gateway to a backend, with a ring of these keys, and a client of the gateway."""
    backend = {"name": "b", "target": jobs.target}
    async with (
        gateways.serving(backend, sync_grace=GRACE, keys=[str(key) for key in keys]) as url,
        wire(f"{url}/mcp") as client,
    ):
        yield client


async def test_an_operation_that_outlasts_the_grace_becomes_a_task(
    modern: Wire, jobs: Jobs, clock: Clock
) -> None:
    """tools/call returns a task, and tasks/get returns its progress, and later its result."""
    created = await started(modern, seconds=100, label="a")
    start_time = iso_time(jobs.jobs["operations/1"].start_time)
    base = {
        "taskId": created["taskId"],
        "createdAt": start_time,
        "lastUpdatedAt": start_time,
        "ttlMs": None,
    }
    running = {"status": "working", "statusMessage": "Running, 0% done.", "pollIntervalMs": 1000}
    assert created == {"resultType": "task", **base, **running}
    assert await modern("tasks/get", taskId=created["taskId"]) == {
        "resultType": "complete",
        **base,
        **running,
    }
    clock.ahead = 50
    assert (await modern("tasks/get", taskId=created["taskId"]))["statusMessage"] == (
        "Running, 50% done."
    )
    clock.ahead = 100
    ended = await modern("tasks/get", taskId=created["taskId"])
    operation = await modern("tools/call", name="get_operation", arguments={"name": "operations/1"})
    assert ended == {
        "resultType": "complete",
        **base,
        "status": "completed",
        "statusMessage": "Done: it succeeded, and response holds the result.",
        "pollIntervalMs": ended["pollIntervalMs"],
        "result": {**operation, "isError": False},
    }
    assert operation["structuredContent"]["response"] == {
        "@type": "type.googleapis.com/jobs.v1.SlowComputeResponse",
        "label": "a",
    }


async def test_an_operation_that_ends_at_once_is_no_task(modern: Wire) -> None:
    """The client gets the done operation as the result of its call."""
    result = await started(modern, seconds=0, label="a")
    assert result["resultType"] == "complete"
    assert result["structuredContent"]["response"]["label"] == "a"


@pytest.mark.parametrize(("age", "pause"), [(0, 1000), (30, 5000), (100, 30000)])
async def test_an_older_operation_is_polled_less_often(
    modern: Wire, jobs: Jobs, age: float, pause: int
) -> None:
    """The poll interval of a task grows from 1 s to 30 s with the operation's age."""
    name = jobs.begin(1000)
    jobs.jobs[name].start_time -= age
    created = await modern("tools/call", name="wait_operation", arguments={"name": name})
    assert created["pollIntervalMs"] == pause


async def test_wait_operation_returns_a_task_after_the_grace(modern: Wire, jobs: Jobs) -> None:
    """The client then polls the task, so wait_operation need not wait for its full timeout."""
    name = jobs.begin(100)
    created = await modern("tools/call", name="wait_operation", arguments={"name": name})
    assert created["status"] == "working"
    operation = await modern("tools/call", name="get_operation", arguments={"name": name})
    assert operation["structuredContent"]["done"] is False


async def test_a_request_that_does_not_declare_tasks_gets_the_operation(
    undeclared: Wire,
) -> None:
    """The text advises it to call wait_operation, which then waits for its full timeout."""
    result = await started(undeclared, seconds=100)
    assert result["structuredContent"]["name"] == "operations/1"
    assert "Call wait_operation" in result["content"][1]["text"]
    waited = await undeclared(
        "tools/call", name="wait_operation", arguments={"name": "operations/1", "timeout": "0.1s"}
    )
    assert waited["structuredContent"]["done"] is False


async def test_two_calls_for_one_operation_return_the_same_task_id(
    modern: Wire, jobs: Jobs
) -> None:
    """The id contains the operation's name, but sealed, so that a client cannot read it."""
    name = jobs.begin(100)
    arguments = {"name": name}
    first = await modern("tools/call", name="wait_operation", arguments=arguments)
    second = await modern("tools/call", name="wait_operation", arguments=arguments)
    other = await started(modern, seconds=100)
    assert first["taskId"] == second["taskId"] != other["taskId"]
    assert name not in first["taskId"]


async def test_every_replica_with_the_key_serves_a_task(jobs: Jobs, tmp_path: Path) -> None:
    """A replica serves ids that an old key sealed, for as long as its ring has the old key."""
    old, new = tmp_path / "old", tmp_path / "new"
    for file in (old, new):
        file.write_bytes(b64encode(os.urandom(32)))
    async with replica(jobs, old) as client:
        task_id = (await started(client, seconds=100))["taskId"]
    async with replica(jobs, new, old) as client:
        assert (await client("tasks/get", taskId=task_id))["status"] == "working"
    async with replica(jobs, new) as client:
        assert (await refusal(client, "tasks/get", taskId=task_id)).message == UNKNOWN


@pytest.mark.usefixtures("_nothing_is_recent")
@pytest.mark.parametrize("method", ["tasks/get", "tasks/cancel"])
async def test_all_unknown_task_ids_get_the_same_error(
    modern: Wire, jobs: Jobs, method: str
) -> None:
    """An invalid id, a changed id, and the id of a deleted operation get the same error."""
    task_id = (await started(modern, seconds=100))["taskId"]
    tampered = ("A" if task_id[0] != "A" else "B") + task_id[1:]
    jobs.jobs.clear()
    refusals = [
        await refusal(modern, method, taskId=each) for each in ("made-up", tampered, task_id, "")
    ]
    assert {(each.code, each.message, each.http_status) for each in refusals} == {
        (-32602, UNKNOWN, 400)
    }


async def test_the_task_of_a_failed_operation_is_completed_with_a_tool_error(
    modern: Wire, clock: Clock
) -> None:
    """The status `failed` is only for JSON-RPC errors (SEP-2663)."""
    task_id = (await started(modern, seconds=100, failure="no more memory"))["taskId"]
    clock.ahead = 100
    ended = await modern("tasks/get", taskId=task_id)
    assert ended["status"] == "completed"
    assert ended["statusMessage"] == 'Failed with INTERNAL. The service says: "no more memory".'
    assert ended["result"]["isError"] is True
    assert ended["result"]["structuredContent"]["error"] == {
        "code": 13,
        "message": "no more memory",
    }


async def test_tasks_cancel_is_acknowledged_and_the_task_is_then_cancelled(modern: Wire) -> None:
    """A second tasks/cancel is acknowledged too, although the backend refuses it."""
    task_id = (await started(modern, seconds=100))["taskId"]
    assert await modern("tasks/cancel", taskId=task_id) == {"resultType": "complete"}
    ended = await modern("tasks/get", taskId=task_id)
    assert ended["status"] == "cancelled"
    assert not {"result", "error", "inputRequests"} & set(ended)
    assert await modern("tasks/cancel", taskId=task_id) == {"resultType": "complete"}


async def test_tasks_cancel_fails_if_the_backend_cannot_cancel() -> None:
    """The client gets UNIMPLEMENTED from a backend without CancelOperation."""
    async with (
        ContraryBackend.open({"GetOperation": answering(RUNNING)}) as backend,
        replica(backend) as client,
    ):
        arguments = {"name": "operations/1"}
        created = await client("tools/call", name="wait_operation", arguments=arguments)
        refused = await refusal(client, "tasks/cancel", taskId=created["taskId"])
    assert refused.code == -32603
    assert refused.data == {"code": 12, "status": "UNIMPLEMENTED"}


async def test_the_task_of_an_unreachable_backend_is_not_an_unknown_task() -> None:
    """tasks/get fails with UNAVAILABLE, so that the client tries again later."""
    handlers = [answering(RUNNING)]

    async def get(request: Any, context: Any) -> Any:
        return await handlers[-1](request, context)

    async with (
        ContraryBackend.open({"GetOperation": get}) as backend,
        replica(backend) as client,
    ):
        arguments = {"name": "operations/1", "timeout": "0s"}
        created = await client("tools/call", name="wait_operation", arguments=arguments)
        handlers.append(refusing(grpc.StatusCode.UNAVAILABLE, "back soon"))
        refused = await refusal(client, "tasks/get", taskId=created["taskId"])
    assert (refused.code, refused.data) == (-32603, {"code": 14, "status": "UNAVAILABLE"})


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tasks/get", {"taskId": "t"}),
        ("tasks/cancel", {"taskId": "t"}),
        ("tasks/update", {"taskId": "t", "inputResponses": {}}),
        ("subscriptions/listen", {"notifications": {"taskIds": ["t"]}}),
    ],
)
async def test_a_request_about_tasks_must_declare_the_extension(
    undeclared: Wire, method: str, params: dict[str, Any]
) -> None:
    """The error is -32021, and its data names the extension to declare."""
    refused = await refusal(undeclared, method, **params)
    assert (refused.code, refused.http_status) == (-32021, 400)
    assert refused.data == {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}


async def test_a_header_that_names_another_task_is_refused(modern: Wire) -> None:
    """The header Mcp-Name must be the task's id or missing, because proxies route by it."""
    task_id = (await started(modern, seconds=100))["taskId"]
    with pytest.raises(RpcError) as refused:
        await modern("tasks/get", {"Mcp-Name": "another"}, taskId=task_id)
    assert (refused.value.code, refused.value.http_status) == (-32020, 400)
    assert await modern("tasks/get", {"Mcp-Name": task_id}, taskId=task_id)


@pytest.mark.parametrize("method", ["tasks/list", "tasks/result"])
async def test_the_extension_has_neither_tasks_list_nor_tasks_result(
    modern: Wire, method: str
) -> None:
    """The method does not exist, so the error is -32601."""
    refused = await refusal(modern, method, taskId="t")
    assert (refused.code, refused.http_status) == (-32601, 404)


async def test_each_revision_announces_only_its_own_kind_of_tasks(url: str) -> None:
    """2026-07-28 has the extension, 2025-11-25 the core capability, and 2025-06-18 neither."""
    async with wire(url) as client:
        discovered = (await client("server/discover"))["capabilities"]
    assert discovered["extensions"] == {EXTENSION: {}}
    assert "tasks" not in discovered
    core: dict[str, Any] = {"cancel": {}, "requests": {"tools": {"call": {}}}}
    for version, tasks in (("2025-11-25", core), ("2025-06-18", None)):
        async with wire(url, version) as client:
            hello = {"protocolVersion": version, "capabilities": {}}
            info = {"name": "test", "version": "1"}
            initialized = await client("initialize", **hello, clientInfo=info)
        assert initialized["capabilities"].get("tasks") == tasks
        assert "extensions" not in initialized["capabilities"]


async def messages(stream: AsyncIterator[Any], count: int) -> list[Any]:
    """Return the next messages of a stream."""
    return [await anext(stream) for _ in range(count)]


async def test_a_stream_sends_the_changes_of_tasks_until_they_end(
    modern: Wire, clock: Clock
) -> None:
    """The acknowledgement omits unknown ids, and each notification has the full task."""
    task_id = (await started(modern, seconds=100, label="a"))["taskId"]
    subscribed = {"taskIds": [task_id, "made-up"]}
    meta = {"io.modelcontextprotocol/subscriptionId": 1}
    async with modern.stream("subscriptions/listen", notifications=subscribed) as stream:
        acknowledged, first = await messages(stream, 2)
        working = await modern("tasks/get", taskId=task_id)
        clock.ahead = 100
        second, closed = await messages(stream, 2)
        ended = await modern("tasks/get", taskId=task_id)
    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
    assert acknowledged["params"] == {"notifications": {"taskIds": [task_id]}, "_meta": meta}
    for notification, state in ((first, working), (second, ended)):
        del state["resultType"]
        assert notification == {
            "jsonrpc": "2.0",
            "method": "notifications/tasks",
            "params": {**state, "_meta": meta},
        }
    assert json.dumps(second).count('"ttlMs": null') == 1
    assert closed["id"] == 1
    assert closed["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 1


@pytest.mark.parametrize("task_ids", ["t", [1], [f"t{n}" for n in range(101)]])
async def test_a_stream_takes_a_list_of_at_most_100_task_ids(modern: Wire, task_ids: Any) -> None:
    """The gateway refuses other values, and longer lists, before the stream starts."""
    refused = await refusal(modern, "subscriptions/listen", notifications={"taskIds": task_ids})
    assert refused.code == -32602


async def test_the_task_of_an_operation_ignores_answers(modern: Wire) -> None:
    """tasks/update is acknowledged although no question is open, as SEP-2663 requires."""
    task_id = (await started(modern, seconds=100))["taskId"]
    answers = {"unknown": {"action": "accept"}}
    assert await modern("tasks/update", taskId=task_id, inputResponses=answers) == {
        "resultType": "complete"
    }


async def test_a_client_without_tasks_can_listen_to_changes_of_the_tools(undeclared: Wire) -> None:
    """The acknowledgement omits the list of prompts, because the gateway has no prompts."""
    requested = {"toolsListChanged": True, "promptsListChanged": True}
    async with undeclared.stream("subscriptions/listen", notifications=requested) as stream:
        acknowledged = await anext(stream)
    assert acknowledged["params"]["notifications"] == {"toolsListChanged": True}


async def test_a_gateway_that_shuts_down_ends_its_streams_with_a_result() -> None:
    """The client gets the result of subscriptions/listen, not a broken connection."""
    async with AsyncExitStack() as stack:
        jobs = await stack.enter_async_context(Jobs.open())
        gateway = await stack.enter_async_context(AsyncExitStack())
        url = await gateway.enter_async_context(
            gateways.serving({"name": "b", "target": jobs.target})
        )
        client = await stack.enter_async_context(wire(f"{url}/mcp"))
        listening = client.stream("subscriptions/listen", notifications={"toolsListChanged": True})
        stream = await stack.enter_async_context(listening)
        assert "acknowledged" in (await anext(stream))["method"]
        await gateway.aclose()
        assert "result" in await anext(stream)

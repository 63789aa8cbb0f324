"""Tasks on 2026-07-28, where they are the extension `io.modelcontextprotocol/tasks`."""

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


def written(seconds: float) -> str:
    """Return a time as tasks have it."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


async def started(client: Wire, **arguments: Any) -> dict[str, Any]:
    """Call the backend's method."""
    return await client("tools/call", name="slow_compute", arguments=arguments)


async def refusal(client: Wire, method: str, **params: Any) -> RpcError:
    """Return the error that a request meets."""
    with pytest.raises(RpcError) as refused:
        await client(method, **params)
    return refused.value


@asynccontextmanager
async def replica(jobs: Jobs | ContraryBackend, *keys: Path) -> AsyncIterator[Wire]:
    """Open a gateway of its own to a backend, with these keys, and a client of it."""
    backend = {"name": "b", "target": jobs.target}
    async with (
        gateways.serving(backend, sync_grace=GRACE, keys=[str(key) for key in keys]) as url,
        wire(f"{url}/mcp") as client,
    ):
        yield client


async def test_an_operation_that_lasts_becomes_a_task(
    modern: Wire, jobs: Jobs, clock: Clock
) -> None:
    """tools/call answers with a task, flat; tasks/get then follows the operation to its result."""
    created = await started(modern, seconds=100, label="a")
    begun = written(jobs.jobs["operations/1"].begun)
    base = {
        "taskId": created["taskId"],
        "createdAt": begun,
        "lastUpdatedAt": begun,
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
    """One round trip is enough for it."""
    result = await started(modern, seconds=0, label="a")
    assert result["resultType"] == "complete"
    assert result["structuredContent"]["response"]["label"] == "a"


@pytest.mark.parametrize(("age", "pause"), [(0, 1000), (30, 5000), (100, 30000)])
async def test_an_older_operation_is_polled_less_often(
    modern: Wire, jobs: Jobs, age: float, pause: int
) -> None:
    """What is not done after a minute will hardly be done in the next second."""
    name = jobs.begin(1000)
    jobs.jobs[name].begun -= age
    created = await modern("tools/call", name="wait_operation", arguments={"name": name})
    assert created["pollIntervalMs"] == pause


async def test_waiting_becomes_a_task(modern: Wire, jobs: Jobs) -> None:
    """wait_operation waits a moment, and then leaves the rest to tasks/get."""
    name = jobs.begin(100)
    created = await modern("tools/call", name="wait_operation", arguments={"name": name})
    assert created["status"] == "working"
    looked_at = await modern("tools/call", name="get_operation", arguments={"name": name})
    assert looked_at["structuredContent"]["done"] is False


async def test_a_request_that_does_not_declare_tasks_gets_the_operation(
    undeclared: Wire,
) -> None:
    """It is told to call wait_operation, which waits as long as it is asked to."""
    result = await started(undeclared, seconds=100)
    assert result["structuredContent"]["name"] == "operations/1"
    assert "Call wait_operation" in result["content"][1]["text"]
    waited = await undeclared(
        "tools/call", name="wait_operation", arguments={"name": "operations/1", "timeout": "0.1s"}
    )
    assert waited["structuredContent"]["done"] is False


async def test_one_operation_has_one_id_for_each_tool(modern: Wire, jobs: Jobs) -> None:
    """Nothing is stored, so the id must tell; it tells the client nothing."""
    name = jobs.begin(100)
    arguments = {"name": name}
    first = await modern("tools/call", name="wait_operation", arguments=arguments)
    second = await modern("tools/call", name="wait_operation", arguments=arguments)
    other = await started(modern, seconds=100)
    assert first["taskId"] == second["taskId"] != other["taskId"]
    assert name not in first["taskId"]


async def test_every_replica_with_the_key_serves_a_task(jobs: Jobs, tmp_path: Path) -> None:
    """A ring of keys rolls over: what an old key sealed, a new one's replicas still serve."""
    old, new = tmp_path / "old", tmp_path / "new"
    for file in (old, new):
        file.write_bytes(b64encode(os.urandom(32)))
    async with replica(jobs, old) as client:
        task_id = (await started(client, seconds=100))["taskId"]
    async with replica(jobs, new, old) as client:
        assert (await client("tasks/get", taskId=task_id))["status"] == "working"
    async with replica(jobs, new) as client:
        assert (await refusal(client, "tasks/get", taskId=task_id)).message == UNKNOWN


@pytest.mark.parametrize("method", ["tasks/get", "tasks/cancel"])
async def test_all_unknown_ids_get_one_answer(modern: Wire, jobs: Jobs, method: str) -> None:
    """Made up, tampered with, or of an operation that is no more: nobody learns which."""
    task_id = (await started(modern, seconds=100))["taskId"]
    tampered = ("A" if task_id[0] != "A" else "B") + task_id[1:]
    jobs.jobs.clear()
    refusals = [
        await refusal(modern, method, taskId=each) for each in ("made-up", tampered, task_id, "")
    ]
    assert {(each.code, each.message, each.http_status) for each in refusals} == {
        (-32602, UNKNOWN, 400)
    }


async def test_an_operation_that_failed_is_a_tools_error(modern: Wire, clock: Clock) -> None:
    """The task completed; `failed` is for errors of the protocol."""
    task_id = (await started(modern, seconds=100, failure="no more memory"))["taskId"]
    clock.ahead = 100
    ended = await modern("tasks/get", taskId=task_id)
    assert (ended["status"], ended["statusMessage"]) == ("completed", "INTERNAL: no more memory")
    assert ended["result"]["isError"] is True
    assert ended["result"]["structuredContent"]["error"] == {
        "code": 13,
        "message": "no more memory",
    }


async def test_cancelling_is_acknowledged_and_shows_in_the_state(modern: Wire) -> None:
    """A second time too, though the backend refuses to cancel what has ended."""
    task_id = (await started(modern, seconds=100))["taskId"]
    assert await modern("tasks/cancel", taskId=task_id) == {"resultType": "complete"}
    ended = await modern("tasks/get", taskId=task_id)
    assert ended["status"] == "cancelled"
    assert not {"result", "error", "inputRequests"} & set(ended)
    assert await modern("tasks/cancel", taskId=task_id) == {"resultType": "complete"}


async def test_what_cannot_be_cancelled_is_not_said_to_be() -> None:
    """A backend without CancelOperation lets the task go on, and the client learns it."""
    async with (
        ContraryBackend.open({"GetOperation": answering(RUNNING)}) as backend,
        replica(backend) as client,
    ):
        arguments = {"name": "operations/1"}
        created = await client("tools/call", name="wait_operation", arguments=arguments)
        refused = await refusal(client, "tasks/cancel", taskId=created["taskId"])
    assert refused.code == -32603
    assert refused.data == {"code": 12, "status": "UNIMPLEMENTED"}


async def test_a_backend_out_of_reach_is_not_an_unknown_task() -> None:
    """The id is good; asking again later helps."""
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
async def test_tasks_are_for_requests_that_declare_them(
    undeclared: Wire, method: str, params: dict[str, Any]
) -> None:
    """Each request by itself; the refusal says what to declare."""
    refused = await refusal(undeclared, method, **params)
    assert (refused.code, refused.http_status) == (-32021, 400)
    assert refused.data == {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}


async def test_a_header_that_names_another_task_is_refused(modern: Wire) -> None:
    """Routers trust it; one that is missing is put up with."""
    task_id = (await started(modern, seconds=100))["taskId"]
    with pytest.raises(RpcError) as refused:
        await modern("tasks/get", {"Mcp-Name": "another"}, taskId=task_id)
    assert (refused.value.code, refused.value.http_status) == (-32020, 400)
    assert await modern("tasks/get", {"Mcp-Name": task_id}, taskId=task_id)


@pytest.mark.parametrize("method", ["tasks/list", "tasks/result"])
async def test_methods_of_the_core_are_not_there(modern: Wire, method: str) -> None:
    """The extension has neither."""
    refused = await refusal(modern, method, taskId="t")
    assert (refused.code, refused.http_status) == (-32601, 404)


async def test_each_era_is_told_of_its_own_tasks(url: str) -> None:
    """The extension on 2026-07-28, the core capability on 2025-11-25, nothing before."""
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


async def test_a_stream_tells_of_tasks_until_they_end(modern: Wire, clock: Clock) -> None:
    """First what it will tell, without ids that lead nowhere; then the full task at each change."""
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
async def test_a_stream_takes_a_list_of_ids(modern: Wire, task_ids: Any) -> None:
    """Anything else, and too many, are refused before the stream begins."""
    refused = await refusal(modern, "subscriptions/listen", notifications={"taskIds": task_ids})
    assert refused.code == -32602


async def test_an_operation_asks_for_no_input(modern: Wire) -> None:
    """Answers that nobody waits for are acknowledged and ignored, as the extension says."""
    task_id = (await started(modern, seconds=100))["taskId"]
    answers = {"unknown": {"action": "accept"}}
    assert await modern("tasks/update", taskId=task_id, inputResponses=answers) == {
        "resultType": "complete"
    }


async def test_a_stream_is_open_for_changes_of_the_tools_too(undeclared: Wire) -> None:
    """That needs no extension, and has no end of its own."""
    asked = {"toolsListChanged": True, "promptsListChanged": True}
    async with undeclared.stream("subscriptions/listen", notifications=asked) as stream:
        acknowledged = await anext(stream)
    assert acknowledged["params"]["notifications"] == {"toolsListChanged": True}


async def test_a_gateway_that_stops_ends_the_streams_of_those_who_listen() -> None:
    """With a result, as a stream whose tasks have all ended; they are not cut off."""
    async with AsyncExitStack() as stack:
        jobs = await stack.enter_async_context(Jobs.open())
        gateway = await stack.enter_async_context(AsyncExitStack())
        url = await gateway.enter_async_context(
            gateways.serving({"name": "b", "target": jobs.target})
        )
        client = await stack.enter_async_context(wire(f"{url}/mcp"))
        asked = client.stream("subscriptions/listen", notifications={"toolsListChanged": True})
        stream = await stack.enter_async_context(asked)
        assert "acknowledged" in (await anext(stream))["method"]
        await gateway.aclose()
        assert "result" in await anext(stream)

"""The request_id that the gateway filled in, in both task protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2

from tests import factory
from tests.contrary import ContraryBackend, Handler, answering, refusing
from tests.gateways import serving
from tests.mcp.wire import Wire, wire

pytestmark = pytest.mark.anyio

BUILD = "factory.v1.Factory/BuildMachine"
RUNNING = operations_pb2.Operation(name="jobs/1")
DONE = operations_pb2.Operation(name="jobs/1", done=True)
META = "lro-gateway/request_id"
TTL = {"ttl": 60_000}


@asynccontextmanager
async def opened(
    version: str, start: Handler, get: Handler
) -> AsyncIterator[tuple[Wire, ContraryBackend]]:
    """Open a client of a gateway to a backend with these handlers."""
    async with (
        ContraryBackend.open(
            {"GetOperation": get},
            methods={BUILD: start},
            reflection_versions=("v1",),
            pool=factory.pool(),
        ) as backend,
        serving({"name": "b", "target": backend.target}, sync_grace="0s") as url,
        wire(f"{url}/mcp", version) as client,
    ):
        yield client, backend


def sent(backend: ContraryBackend) -> str:
    """Return the request_id that the backend received."""
    (call,) = [call for call in backend.calls if call.method == "BuildMachine"]
    return str(call.request.request_id)


async def test_a_core_task_has_the_request_id_at_every_step() -> None:
    """Clients that drop the `_meta` of the new task find it in later answers and in the text."""
    latest = [RUNNING]

    async def get(request: Any, context: Any) -> Any:
        return await answering(latest[-1])(request, context)

    async with opened("2025-11-25", answering(RUNNING), get) as (client, backend):
        created = await client(
            "tools/call", name="build_machine", arguments=factory.ORDER, task=TTL
        )
        expected = {META: sent(backend)}
        task = created["task"]
        assert created["_meta"] == expected
        assert "_meta" not in task
        assert task["statusMessage"] == f"Running. Its request has the requestId {sent(backend)}."
        running = await client("tasks/get", taskId=task["taskId"])
        assert (running["statusMessage"], running["_meta"]) == (task["statusMessage"], expected)
        latest.append(DONE)
        result = await client("tasks/result", taskId=task["taskId"])
        related = {"io.modelcontextprotocol/related-task": {"taskId": task["taskId"]}}
        assert result["_meta"] == {**expected, **related}
        assert result["structuredContent"] == {"name": "jobs/1", "done": True}


async def test_a_task_of_the_extension_has_the_request_id_at_every_step() -> None:
    """`_meta` has it in CreateTaskResult, in tasks/get and in the result."""
    latest = [RUNNING]

    async def get(request: Any, context: Any) -> Any:
        return await answering(latest[-1])(request, context)

    async with opened("2026-07-28", answering(RUNNING), get) as (client, backend):
        created = await client("tools/call", name="build_machine", arguments=factory.ORDER)
        request_id = sent(backend)
        assert created["_meta"][META] == request_id
        assert created["statusMessage"].endswith(f"requestId {request_id}.")
        running = await client("tasks/get", taskId=created["taskId"])
        assert running["_meta"][META] == request_id
        latest.append(DONE)
        done = await client("tasks/get", taskId=created["taskId"])
        assert (done["_meta"][META], done["result"]["_meta"][META]) == (request_id, request_id)


async def test_a_start_that_ends_without_an_answer_is_a_task_that_has_the_request_id() -> None:
    """In the core protocol a failed call is a task too."""
    lost = refusing(grpc.StatusCode.INTERNAL, "reset")
    async with opened("2025-11-25", lost, answering(RUNNING)) as (client, backend):
        created = await client(
            "tools/call", name="build_machine", arguments=factory.ORDER, task=TTL
        )
        request_id = sent(backend)
        assert created["_meta"] == {META: request_id}
        assert f"requestId {request_id}" in created["task"]["statusMessage"]
        result = await client("tasks/result", taskId=created["task"]["taskId"])
        assert (result["isError"], result["_meta"][META]) == (True, request_id)


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
async def test_a_callers_own_request_id_is_not_repeated_to_it(version: str) -> None:
    """The caller knows it, as over REST."""
    async with opened(version, answering(RUNNING), answering(RUNNING)) as (client, _):
        task = {"task": TTL} if version == "2025-11-25" else {}
        created = await client(
            "tools/call",
            name="build_machine",
            arguments={**factory.ORDER, "requestId": "mine"},
            **task,
        )
        assert META not in created.get("_meta", {})
        assert "mine" not in str(created)

"""The MCP face: what the tools say of themselves, and how a call ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import grpc
import mcp_types as types
import pytest
from jsonschema import Draft202012Validator
from mcp import Client
from mcp.shared.exceptions import MCPError

from tests.contrary import ContraryBackend, Handler, acknowledging, answering, refusing
from tests.gateways import serving
from tests.mcp.asking import MODES, RUNNING, client_of, texts
from tests.shapes import message


@pytest.mark.parametrize("mode", MODES)
async def test_the_five_tools_are_listed_with_what_they_do_to_the_world(mode: str) -> None:
    """Reads are read-only; cancel and delete are destructive, and can be repeated."""
    async with client_of(mode, {}) as (client, _):
        listed = (await client.list_tools()).tools
    reads = {
        "readOnlyHint": True,
        "destructiveHint": False,
        "idempotentHint": False,
        "openWorldHint": False,
    }
    changes = {
        "readOnlyHint": False,
        "destructiveHint": True,
        "idempotentHint": True,
        "openWorldHint": False,
    }
    assert [(tool.name, _hints(tool)) for tool in listed] == [
        ("get_operation", reads),
        ("list_operations", reads),
        ("wait_operation", reads),
        ("cancel_operation", changes),
        ("delete_operation", changes),
    ]


def _hints(tool: types.Tool) -> dict[str, Any]:
    assert tool.annotations is not None
    hints: dict[str, Any] = tool.annotations.model_dump(by_alias=True)
    del hints["title"]
    return hints


@pytest.mark.parametrize("mode", MODES)
async def test_every_schema_is_one_that_clients_and_providers_accept(mode: str) -> None:
    """JSON Schema 2020-12, an object at the root, no union there, each property described."""
    async with client_of(mode, {}) as (client, _):
        listed = (await client.list_tools()).tools
    for tool in listed:
        for schema in (tool.input_schema, tool.output_schema):
            assert schema is not None
            Draft202012Validator.check_schema(schema)
            assert schema["type"] == "object"
            assert not {"oneOf", "anyOf", "allOf", "$ref"} & schema.keys()
        for described in tool.input_schema["properties"].values():
            assert described["description"]


async def test_the_input_schemas_are_the_request_messages_and_the_backend() -> None:
    """Each property is a field, by its JSON name; `backend` lists those configured."""
    async with client_of("2026-07-28", {}) as (client, _):
        listed = (await client.list_tools()).tools
    inputs = {
        tool.name: (list(tool.input_schema["properties"]), tool.input_schema.get("required"))
        for tool in listed
    }
    assert inputs == {
        "get_operation": (["name", "backend"], ["name"]),
        "list_operations": (
            ["name", "filter", "pageSize", "pageToken", "returnPartialSuccess", "backend"],
            None,
        ),
        "wait_operation": (["name", "timeout", "backend"], ["name"]),
        "cancel_operation": (["name", "backend"], ["name"]),
        "delete_operation": (["name", "backend"], ["name"]),
    }
    assert {tool.input_schema["properties"]["backend"]["enum"][0] for tool in listed} == {"b"}


async def test_the_output_schema_is_the_operation() -> None:
    """Name, metadata, done, error and response, and nothing of the gateway's own."""
    async with client_of("2026-07-28", {}) as (client, _):
        listed = {tool.name: tool.output_schema for tool in (await client.list_tools()).tools}
    for name in ("get_operation", "wait_operation"):
        schema = listed[name]
        assert schema is not None
        assert list(schema["properties"]) == ["name", "metadata", "done", "error", "response"]
        assert schema["required"] == ["name", "done"]


async def test_the_list_of_tools_may_be_kept_for_five_minutes() -> None:
    """By its caller alone, because another caller may see other tools (2026-07-28)."""
    async with client_of("2026-07-28", {}) as (client, _):
        listed = await client.list_tools()
    assert (listed.ttl_ms, listed.cache_scope) == (300_000, "private")


@pytest.mark.parametrize("mode", MODES)
async def test_cancel_and_delete_answer_an_empty_object_and_say_what_it_means(mode: str) -> None:
    """Cancellation is best effort; deletion does not cancel."""
    handlers: dict[str, Handler] = {
        "CancelOperation": acknowledging(),
        "DeleteOperation": acknowledging(),
    }
    async with client_of(mode, handlers) as (client, backend):
        cancelled = await client.call_tool("cancel_operation", {"name": "jobs/1"})
        deleted = await client.call_tool("delete_operation", {"name": "jobs/1"})
    assert [cancelled.structured_content, deleted.structured_content] == [{}, {}]
    said = "Cancellation was asked for; it is best effort. Call wait_operation to see how it ends."
    assert [texts(cancelled), texts(deleted)] == [
        [
            "{}",
            said,
        ],
        ["{}", "Deleted: its result is no longer kept. Deleting does not cancel."],
    ]
    assert [(call.method, call.request.name) for call in backend.answered] == [
        ("CancelOperation", "jobs/1"),
        ("DeleteOperation", "jobs/1"),
    ]


@pytest.mark.parametrize("mode", MODES)
async def test_a_failed_call_is_a_tool_error_with_the_status_and_a_next_step(mode: str) -> None:
    """A model reads the code, its name, the message and the details, and what to do now."""
    job = message("Job", progress_percent=1)
    refuse = refusing(grpc.StatusCode.NOT_FOUND, "no such job", job)
    async with client_of(mode, {"GetOperation": refuse}) as (client, _):
        result = await client.call_tool("get_operation", {"name": "jobs/1"})
    assert (result.is_error, result.structured_content) == (True, None)
    as_json, words = texts(result)
    assert json.loads(as_json) == {
        "code": 5,
        "status": "NOT_FOUND",
        "message": "no such job",
        "details": [{"@type": "type.googleapis.com/shapes.v1.Job", "progressPercent": 1}],
    }
    assert words == (
        "The call to backend b failed with NOT_FOUND. The operation may have expired or been"
        " deleted, or the name may be wrong: call list_operations to see which there are."
        " Do not guess names."
    )


async def test_every_failure_has_a_next_step_and_no_debugging_words() -> None:
    """Neither gRPC's `debug_error_string` nor a traceback reaches a model."""
    codes = {code.name: code for code in grpc.StatusCode if code is not grpc.StatusCode.OK}

    async def refuse(request: Any, context: Any) -> Any:
        return await refusing(codes[request.name], "no")(request, context)

    async with client_of("2026-07-28", {"GetOperation": refuse}) as (client, _):
        results = {name: await client.call_tool("get_operation", {"name": name}) for name in codes}
    for name, result in results.items():
        shown = " ".join(texts(result))
        assert name in shown
        assert len(texts(result)[1].split(". ")) >= 2
        for leak in ("debug_error_string", "Traceback", "grpc_status", ".py", "AioRpcError"):
            assert leak not in shown


@pytest.mark.parametrize("mode", MODES)
async def test_an_unknown_tool_is_refused_with_those_there_are(mode: str) -> None:
    """Invalid params, as the protocol has it."""
    async with client_of(mode, {}) as (client, _):
        with pytest.raises(MCPError, match="get_operation") as caught:
            await client.call_tool("get_operations", {})
    assert caught.value.error.code == types.INVALID_PARAMS


@asynccontextmanager
async def waited_for(
    mode: str,
) -> AsyncIterator[tuple[Client, anyio.Event, anyio.Event]]:
    """Open a client over a backend whose WaitOperation hangs, and tell when it does and did."""
    begun, ended = anyio.Event(), anyio.Event()

    async def wait(_request: Any, _context: Any) -> Any:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    handlers: dict[str, Handler] = {"GetOperation": answering(RUNNING), "WaitOperation": wait}
    async with (
        ContraryBackend.open(handlers) as backend,
        serving({"name": "b", "target": backend.target}) as url,
    ):
        with anyio.fail_after(10):
            async with Client(f"{url}/mcp", mode=mode) as client:
                yield client, begun, ended
            # However it was left, the backend's call is over.
            await ended.wait()


async def test_a_client_that_cancels_a_wait_ends_the_backends_call() -> None:
    """Nobody waits for an answer that nobody wants; the client itself goes on."""
    async with waited_for("2026-07-28") as (client, begun, ended):
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "wait_operation", {"name": "jobs/1"})
            await begun.wait()
            group.cancel_scope.cancel()
        await ended.wait()
        assert len((await client.list_tools()).tools) == 5


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_leaves_ends_the_backends_call(mode: str) -> None:
    """A closed connection is enough, in either era."""
    async with waited_for(mode) as (client, begun, _), anyio.create_task_group() as group:
        group.start_soon(client.call_tool, "wait_operation", {"name": "jobs/1"})
        await begun.wait()
        group.cancel_scope.cancel()

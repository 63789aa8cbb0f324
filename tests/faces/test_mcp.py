"""The MCP face: what the tools say of themselves, and what a model is told."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import grpc
import mcp_types as types
import pytest
from google.longrunning import operations_pb2
from google.protobuf import any_pb2
from google.rpc import status_pb2
from jsonschema import Draft202012Validator
from mcp import Client
from mcp.shared.exceptions import MCPError

from tests.contrary import ContraryBackend, Handler, acknowledging, answering, refusing
from tests.gateways import serving
from tests.shapes import message, pool

MODES = ("2026-07-28", "legacy")
RUNNING = operations_pb2.Operation(name="jobs/1")


def packed(payload: Any) -> any_pb2.Any:
    """Pack a message as services do."""
    holder = any_pb2.Any()
    holder.Pack(payload)
    return holder


@asynccontextmanager
async def client_of(
    mode: str, handlers: dict[str, Handler], **settings: Any
) -> AsyncIterator[tuple[Client, ContraryBackend]]:
    """Open the SDK's client over one backend whose types are known."""
    async with (
        ContraryBackend.open(handlers, reflection_versions=("v1",), pool=pool()) as backend,
        serving({"name": "b", "target": backend.target, **settings}) as url,
        Client(f"{url}/mcp", mode=mode) as client,
    ):
        yield client, backend


def texts(result: types.CallToolResult) -> list[str]:
    """Return the text of each block."""
    assert all(isinstance(block, types.TextContent) for block in result.content)
    return [block.text for block in result.content if isinstance(block, types.TextContent)]


async def told(operation: Any) -> str:
    """Return the words beside an operation."""
    async with client_of("2026-07-28", {"GetOperation": answering(operation)}) as (client, _):
        result = await client.call_tool("get_operation", {"name": "jobs/1"})
    assert result.is_error is False
    as_json, words = texts(result)
    assert json.loads(as_json) == result.structured_content
    return words


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


async def test_a_running_operation_says_its_percent_and_what_to_do() -> None:
    """Percent and words come from the metadata."""
    metadata = packed(message("Job", progress_percent=42, status_message="Copying rows."))
    assert await told(operations_pb2.Operation(name="jobs/1", metadata=metadata)) == (
        "Running, 42% done, Copying rows. Call wait_operation, or poll again in 1 s."
    )
    assert await told(RUNNING) == "Running. Call wait_operation, or poll again in 1 s."


@pytest.mark.parametrize(("age", "interval"), [(0, 1), (15, 5), (45, 5), (61, 30), (10**8, 30)])
async def test_the_suggested_interval_grows_with_age(age: int, interval: int) -> None:
    """By the create_time in the metadata: 1 s at first, then 5, then 30."""
    created = message("google.protobuf.Timestamp", seconds=int(time.time()) - age)
    operation = operations_pb2.Operation(
        name="jobs/1", metadata=packed(message("Job", create_time=created))
    )
    assert (await told(operation)).endswith(f" or poll again in {interval} s.")


async def test_how_an_operation_ended_is_said_in_a_sentence() -> None:
    """Done, done without a result, failed with the code's name, cancelled, and no name."""
    job = packed(message("Job"))

    def ended(code: int) -> Any:
        error = status_pb2.Status(code=code, message="the disk\n is gone")
        return operations_pb2.Operation(name="jobs/1", done=True, error=error)

    said = [
        await told(operations_pb2.Operation(name="jobs/1", done=True, response=job)),
        await told(operations_pb2.Operation(name="jobs/1", done=True)),
        await told(ended(15)),
        await told(ended(1)),
        await told(ended(1007)),
        await told(operations_pb2.Operation()),
    ]
    unchanged = "The call itself succeeded; getting it again will not change this."
    assert said == [
        "Done: it succeeded, and response holds the result.",
        "Done: it succeeded, without a result.",
        f"Done: it failed with DATA_LOSS: the disk is gone {unchanged}",
        "Done: it was cancelled. Nothing more will happen.",
        f"Done: it failed with CODE_1007: the disk is gone {unchanged}",
        "Running. It has no name, so it cannot be followed.",
    ]


async def test_a_long_message_is_cut_for_the_model_and_whole_in_the_json() -> None:
    """The words stay short."""
    error = status_pb2.Status(code=13, message="x" * 5000)
    words = await told(operations_pb2.Operation(name="jobs/1", done=True, error=error))
    assert len(words) < 500


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
async def test_a_list_says_how_many_there_are_and_how_to_go_on(mode: str) -> None:
    """The page as ProtoJSON, then a sentence of it."""
    page = operations_pb2.ListOperationsResponse(
        operations=[RUNNING, operations_pb2.Operation(name="jobs/2", done=True)],
        next_page_token="more",  # noqa: S106 - a backend's page token
        unreachable=["jobs/far"],
    )
    async with client_of(mode, {"ListOperations": answering(page)}) as (client, _):
        result = await client.call_tool("list_operations", {"pageSize": 2})
    assert result.structured_content == {
        "operations": [{"name": "jobs/1", "done": False}, {"name": "jobs/2", "done": True}],
        "nextPageToken": result.structured_content["nextPageToken"],
        "unreachable": ["jobs/far"],
    }
    assert texts(result)[1] == (
        "2 operations on this page, 1 running. There are more: call again with pageToken set to"
        " nextPageToken. Not included, because out of reach: jobs/far."
    )


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

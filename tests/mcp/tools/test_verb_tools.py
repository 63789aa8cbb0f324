"""Tests of the five tools of operations: their descriptions and schemas, and their results."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import grpc
import mcp_types as types
import pytest
from google.longrunning import operations_pb2
from google.rpc import code_pb2, status_pb2
from jsonschema import Draft202012Validator
from mcp import Client
from mcp.shared.exceptions import MCPError

from tests.contrary import ContraryBackend, Handler, acknowledging, answering, refusing
from tests.gateways import serving
from tests.mcp.tool_client import MODES, RUNNING, client_of, texts
from tests.service.watched_job import Hanging
from tests.shapes import message


@pytest.mark.parametrize("mode", MODES)
async def test_the_annotations_of_the_five_tools_describe_their_effects(mode: str) -> None:
    """get, list and wait are read-only; cancel and delete are destructive and idempotent."""
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
async def test_clients_and_providers_of_models_accept_every_schema(mode: str) -> None:
    """A schema is JSON Schema 2020-12, an object without a union, and describes its properties."""
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


async def test_an_input_schema_has_the_fields_of_the_request_and_the_backend() -> None:
    """A property has the JSON name of its field, and `backend` lists the configured backends."""
    backends = [{"name": name, "target": "127.0.0.1:1"} for name in ("b", "c")]
    async with serving(*backends) as url, Client(f"{url}/mcp", mode="2026-07-28") as client:
        listed = (await client.list_tools()).tools
    inputs = {
        tool.name: (list(tool.input_schema["properties"]), tool.input_schema.get("required"))
        for tool in listed
    }
    assert inputs == {
        "get_operation": (["name", "backend", "fields"], ["name"]),
        "list_operations": (
            [
                "name",
                "filter",
                "pageSize",
                "pageToken",
                "returnPartialSuccess",
                "backend",
                "state",
                "fields",
            ],
            None,
        ),
        "wait_operation": (["name", "timeout", "backend", "fields"], ["name"]),
        "cancel_operation": (["name", "backend"], ["name"]),
        "delete_operation": (["name", "backend"], ["name"]),
    }
    for tool in listed:
        assert tool.input_schema["properties"]["backend"]["enum"] == ["b", "c"]


async def test_a_single_backend_need_not_be_chosen() -> None:
    """A caller may still pass its name."""
    handlers: dict[str, Handler] = {"GetOperation": answering(RUNNING)}
    async with client_of("2026-07-28", handlers) as (client, _):
        listed = (await client.list_tools()).tools
        got = await client.call_tool("get_operation", {"name": "jobs/1", "backend": "b"})
    assert not any("backend" in tool.input_schema["properties"] for tool in listed)
    assert not got.is_error


async def test_the_output_schema_is_the_operation() -> None:
    """It has the five fields of Operation, and requires none, because `fields` selects them."""
    async with client_of("2026-07-28", {}) as (client, _):
        listed = {tool.name: tool.output_schema for tool in (await client.list_tools()).tools}
    for name in ("get_operation", "wait_operation"):
        schema = listed[name]
        assert schema is not None
        assert list(schema["properties"]) == ["name", "metadata", "done", "error", "response"]
        assert schema["properties"]["response"] == {
            "type": "object",
            "description": "The operation's result. @type names its type.",
        }
        assert "required" not in schema


async def test_a_client_may_cache_the_list_of_tools_for_five_minutes() -> None:
    """The cache must be private to the caller, because another caller may see other tools."""
    async with client_of("2026-07-28", {}) as (client, _):
        listed = await client.list_tools()
    assert (listed.ttl_ms, listed.cache_scope) == (300_000, "private")


@pytest.mark.parametrize("mode", MODES)
async def test_cancel_and_delete_return_an_empty_object_and_explain_it(mode: str) -> None:
    """The text explains that cancellation may fail, and that deletion does not cancel."""
    handlers: dict[str, Handler] = {
        "CancelOperation": acknowledging(),
        "DeleteOperation": acknowledging(),
    }
    async with client_of(mode, handlers) as (client, backend):
        cancelled = await client.call_tool("cancel_operation", {"name": "jobs/1"})
        deleted = await client.call_tool("delete_operation", {"name": "jobs/1"})
    assert [cancelled.structured_content, deleted.structured_content] == [{}, {}]
    assert [texts(cancelled), texts(deleted)] == [
        [
            "{}",
            (
                "Cancellation was requested. The operation may still succeed. Call wait_operation"
                " to see how it ends."
            ),
        ],
        [
            "{}",
            "The operation's record was deleted. Deletion does not cancel a running operation.",
        ],
    ]
    assert [(call.method, call.request.name) for call in backend.answered] == [
        ("CancelOperation", "jobs/1"),
        ("DeleteOperation", "jobs/1"),
    ]


CANCELLED = operations_pb2.Operation(
    name="jobs/1", done=True, error=status_pb2.Status(code=code_pb2.CANCELLED)
)
FAILED = operations_pb2.Operation(
    name="jobs/1", done=True, error=status_pb2.Status(code=code_pb2.INTERNAL, message="full")
)
SUCCEEDED = operations_pb2.Operation(name="jobs/1", done=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("state", "text"),
    [
        (
            RUNNING,
            (
                "Cancellation was requested. Running. The operation may still succeed. Call"
                " wait_operation to see how it ends."
            ),
        ),
        (CANCELLED, "Done: the operation is cancelled. Nothing more will happen."),
        (
            SUCCEEDED,
            (
                "The operation was not cancelled, because it is done: it succeeded. Call"
                " get_operation to read its result."
            ),
        ),
        (
            FAILED,
            (
                "The operation was not cancelled, because it is done: it failed. Call"
                " get_operation to read its error."
            ),
        ),
    ],
)
async def test_cancel_shows_the_state_of_the_operation(mode: str, state: Any, text: str) -> None:
    """Advice to wait for a finished operation would cost the model a call."""
    handlers: dict[str, Handler] = {
        "GetOperation": answering(state),
        "CancelOperation": acknowledging(),
    }
    async with client_of(mode, handlers) as (client, _):
        for _ in range(2):
            cancelled = await client.call_tool("cancel_operation", {"name": "jobs/1"})
            assert cancelled.structured_content == {}
            assert texts(cancelled) == ["{}", text]


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.INTERNAL,
    ],
)
async def test_a_refused_cancel_tells_that_the_operation_is_done(code: grpc.StatusCode) -> None:
    """Backends refuse it with many codes. A refusal for a running operation stays an error."""
    handlers: dict[str, Handler] = {
        "GetOperation": answering(SUCCEEDED),
        "CancelOperation": refusing(code, "no"),
    }
    async with client_of("2026-07-28", handlers) as (client, _):
        done = await client.call_tool("cancel_operation", {"name": "jobs/1"})
    assert not done.is_error
    assert "was not cancelled, because it is done: it succeeded" in texts(done)[1]
    handlers["GetOperation"] = answering(operations_pb2.Operation(name="jobs/1"))
    async with client_of("2026-07-28", handlers) as (client, _):
        assert (await client.call_tool("cancel_operation", {"name": "jobs/1"})).is_error


@pytest.mark.usefixtures("_ends_stay_fresh")
async def test_cancel_does_not_read_a_finished_operation_whose_state_is_fresh() -> None:
    """Its state cannot change, and the backend still gets the cancel."""
    handlers: dict[str, Handler] = {
        "GetOperation": answering(SUCCEEDED),
        "CancelOperation": acknowledging(),
    }
    async with client_of("2026-07-28", handlers, freshness="0.2s") as (client, backend):
        await client.call_tool("get_operation", {"name": "jobs/1"})
        cancelled = await client.call_tool("cancel_operation", {"name": "jobs/1"})
    assert "it succeeded" in texts(cancelled)[1]
    assert [call.method for call in backend.answered] == ["GetOperation", "CancelOperation"]


async def test_cancel_succeeds_although_the_state_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The backend has taken the cancel, and hangs in GetOperation."""
    monkeypatch.setattr("lro_gateway.mcp.tools.verb_tools._STATE_LIMIT", 0.05)
    handlers: dict[str, Handler] = {
        "GetOperation": Hanging(),
        "CancelOperation": acknowledging(),
    }
    async with client_of("2026-07-28", handlers) as (client, _):
        cancelled = await client.call_tool("cancel_operation", {"name": "jobs/1"})
    assert (cancelled.is_error, texts(cancelled)[1][:27]) == (False, "Cancellation was requested.")


async def test_the_schema_of_a_wait_has_the_servers_default() -> None:
    """A model then knows how long a call without a timeout takes."""
    described = []
    for default in ("50s", "3.5s"):
        async with (
            serving({"name": "b", "target": "127.0.0.1:1"}, default_wait=default) as url,
            Client(f"{url}/mcp", mode="2026-07-28") as client,
        ):
            listed = {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}
        described.append(listed["wait_operation"]["properties"]["timeout"]["description"])
    assert described == [
        "At most 50s. Such as 30s.",
        "At most 50s, by default 3.5s. Such as 30s.",
    ]


@pytest.mark.parametrize("mode", MODES)
async def test_a_failed_call_is_a_tool_error_with_the_status_and_a_next_step(mode: str) -> None:
    """The first text block is the status as JSON, and the second has the next step."""
    job = message("Job", progress_percent=1)
    refuse = refusing(grpc.StatusCode.NOT_FOUND, "no such job", job)
    async with client_of(mode, {"GetOperation": refuse}) as (client, _):
        result = await client.call_tool("get_operation", {"name": "jobs/1"})
    assert (result.is_error, result.structured_content) == (True, None)
    as_json, text = texts(result)
    assert json.loads(as_json) == {
        "code": 5,
        "status": "NOT_FOUND",
        "message": "no such job",
        "details": [{"@type": "type.googleapis.com/shapes.v1.Job", "progressPercent": 1}],
    }
    assert text == (
        "The call to backend b failed with NOT_FOUND. The operation may have expired or been"
        " deleted, or the name may be wrong. Call list_operations to see which operations exist."
        " Do not guess names."
    )


async def test_the_next_step_after_a_too_large_answer_fits_the_tool() -> None:
    """Only a list can ask for less."""
    large = operations_pb2.Operation(name="n" * 2000)
    page = operations_pb2.ListOperationsResponse(operations=[large])
    handlers = {"GetOperation": answering(large), "ListOperations": answering(page)}
    async with client_of("2026-07-28", handlers, max_message_bytes=1024) as (client, _):
        get = await client.call_tool("get_operation", {"name": "jobs/1"})
        listed = await client.call_tool("list_operations", {})
    assert [texts(result)[1].partition(". ")[2].partition(". ")[0] for result in (get, listed)] == [
        "Do not retry: the answer would be as large again",
        "Call again with a smaller pageSize",
    ]


async def test_every_failure_has_a_next_step_and_no_internal_details() -> None:
    """A tool error contains neither gRPC's `debug_error_string` nor a traceback."""
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
async def test_a_call_of_an_unknown_tool_is_refused(mode: str) -> None:
    """The error is -32602 (invalid params), as MCP specifies."""
    async with client_of(mode, {}) as (client, _):
        with pytest.raises(MCPError, match="get_operation") as caught:
            await client.call_tool("get_operations", {})
    assert caught.value.error.code == types.INVALID_PARAMS


@asynccontextmanager
async def client_of_hanging_backend(
    mode: str,
) -> AsyncIterator[tuple[Client, anyio.Event, anyio.Event]]:
    """Open a client of a gateway to a backend whose WaitOperation hangs.

    Yields the client, and two events: the RPC has started, and the RPC has ended. The RPC must end
    within 30 s.
    """
    started, ended = anyio.Event(), anyio.Event()

    async def wait(_request: Any, _context: Any) -> Any:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    handlers: dict[str, Handler] = {"GetOperation": answering(RUNNING), "WaitOperation": wait}
    async with (
        ContraryBackend.open(handlers) as backend,
        serving({"name": "b", "target": backend.target}) as url,
    ):
        with anyio.fail_after(30):
            async with Client(f"{url}/mcp", mode=mode) as client:
                yield client, started, ended
            await ended.wait()


async def test_a_client_that_cancels_a_wait_ends_the_call_to_the_backend() -> None:
    """The gateway cancels WaitOperation, and the client can still make other calls."""
    async with client_of_hanging_backend("2026-07-28") as (client, started, ended):
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "wait_operation", {"name": "jobs/1"})
            await started.wait()
            group.cancel_scope.cancel()
        await ended.wait()
        assert len((await client.list_tools()).tools) == 5


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_disconnects_ends_the_call_to_the_backend(mode: str) -> None:
    """The gateway cancels WaitOperation when the connection is closed."""
    async with (
        client_of_hanging_backend(mode) as (client, started, _),
        anyio.create_task_group() as group,
    ):
        group.start_soon(client.call_tool, "wait_operation", {"name": "jobs/1"})
        await started.wait()
        group.cancel_scope.cancel()

"""What a model is told beside the JSON: the state of an operation, and the next step."""

from __future__ import annotations

import time
from typing import Any

import pytest
from google.longrunning import operations_pb2
from google.rpc import status_pb2

from tests.contrary import answering
from tests.mcp.asking import MODES, RUNNING, client_of, packed, texts, told
from tests.shapes import message


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

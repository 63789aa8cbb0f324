"""The methods of google.longrunning.Operations: waits, lists and filters."""

import time

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf.duration_pb2 import Duration

from lro_gateway.demo.pace import Gate
from tests.demo.client import INVALID, Client, names, refusal


async def test_a_wait_ends_at_its_timeout_with_the_running_state(
    client: Client, gate: Gate
) -> None:
    """The end of the timeout is not an error, and the call returns the latest state."""
    async with gate:
        operation = await client.begin()
        await gate.arrival()
        request = operations_pb2.WaitOperationRequest(
            name=operation.name, timeout=Duration(nanos=10_000_000)
        )
        waited = await client.operations.WaitOperation(request)

    assert not waited.done
    assert waited.metadata.value != operation.metadata.value


async def test_a_wait_ends_with_the_operation(client: Client, gate: Gate) -> None:
    """A wait with a timeout of an hour ends as soon as the operation is done."""
    gate.hold()
    operation = await client.begin()
    request = operations_pb2.WaitOperationRequest(
        name=operation.name, timeout=Duration(seconds=3600)
    )
    call = client.operations.WaitOperation(request)
    await gate.arrival()
    gate.release()

    assert (await call).done


async def test_a_wait_answers_a_little_before_the_deadline_of_its_call(
    client: Client, gate: Gate
) -> None:
    """Without a timeout, the deadline of the call limits the wait, and the answer arrives."""
    async with gate:
        operation = await client.begin()
        await gate.arrival()
        began = time.monotonic()
        request = operations_pb2.WaitOperationRequest(name=operation.name)
        waited = await client.operations.WaitOperation(request, timeout=2.5)

    assert not waited.done
    assert time.monotonic() - began > 0.5


async def test_a_negative_timeout_is_refused(client: Client) -> None:
    """A timeout is at least zero."""
    operation = await client.create()
    request = operations_pb2.WaitOperationRequest(name=operation.name, timeout=Duration(seconds=-1))

    call = client.operations.WaitOperation(request)

    assert await refusal(call) == (INVALID, "INVALID_TIMEOUT")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", ["b", "a"]),
        ("operations", ["b", "a"]),
        ("databases/-", ["b", "a"]),
        ("databases/-/operations", ["b", "a"]),
        ("databases/a", ["a"]),
        ("databases/a/operations", ["a"]),
        ("databases/c", []),
    ],
)
async def test_operations_are_listed_by_parent_or_collection_newest_first(
    client: Client, name: str, expected: list[str]
) -> None:
    """`name` may be a parent or a collection, and `databases/-` means all databases."""
    for database_id in ("a", "b"):
        await client.create(database_id, rows=1)

    listed = await client.list(name)

    assert [found.split("/")[1] for found in names(listed)] == expected


@pytest.mark.parametrize("name", ["databases", "databases/a/backups", "operations/1", "x"])
async def test_a_list_with_another_name_is_refused(client: Client, name: str) -> None:
    """Only operations of databases can be listed."""
    assert await refusal(client.list(name)) == (INVALID, "INVALID_NAME")


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ("", ["running", "done"]),
        ("done=true", ["done"]),
        ("done = true", ["done"]),
        ("done:true", ["done"]),
        ("done", ["done"]),
        ("NOT done=false", ["done"]),
        ("done=false", ["running"]),
        ("done = false", ["running"]),
        ("NOT done", ["running"]),
    ],
)
async def test_a_filter_selects_operations_by_done(
    client: Client, gate: Gate, filter_: str, expected: list[str]
) -> None:
    """The server accepts the usual spellings of conditions on `done` in AIP-160."""
    await client.create("done", rows=1)
    async with gate:
        await client.begin("running", rows=1)

        listed = await client.list(filter=filter_)

    assert [found.split("/")[1] for found in names(listed)] == expected


@pytest.mark.parametrize("filter_", ["done=maybe", "name=x", "done=true OR done", "DONE=true"])
async def test_another_filter_is_refused(client: Client, filter_: str) -> None:
    """The server does not ignore a filter that it cannot apply."""
    assert await refusal(client.list(filter=filter_)) == (INVALID, "INVALID_FILTER")


async def test_partial_success_is_unimplemented(client: Client) -> None:
    """operations.proto requires UNIMPLEMENTED if partial success is not supported."""
    call = client.list(return_partial_success=True)

    assert (await refusal(call))[0] == grpc.StatusCode.UNIMPLEMENTED

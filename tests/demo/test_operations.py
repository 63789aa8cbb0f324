"""Waiting for operations, listing them, repeating the requests that begin them."""

import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf.duration_pb2 import Duration

from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from lro_gateway.demo.v1 import database_admin_pb2 as pb
from tests.demo.client import Client, refusal

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def names(response: operations_pb2.ListOperationsResponse) -> list[str]:
    """Return the names in a page of operations."""
    return [operation.name for operation in response.operations]


async def test_a_wait_ends_at_its_timeout_with_the_running_state(
    client: Client, gate: Gate
) -> None:
    """The end of a wait is no error: it answers the latest state."""
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
    """A wait of an hour ends as soon as the operation does."""
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
    """Without a timeout the call's own deadline bounds the wait, and the answer still arrives."""
    async with gate:
        operation = await client.begin()
        await gate.arrival()
        began = time.monotonic()
        request = operations_pb2.WaitOperationRequest(name=operation.name)
        waited = await client.operations.WaitOperation(request, timeout=0.5)

    assert not waited.done
    assert time.monotonic() - began > 0.1


async def test_a_negative_timeout_is_refused(client: Client) -> None:
    """Time does not run backwards."""
    operation = await client.create()
    request = operations_pb2.WaitOperationRequest(name=operation.name, timeout=Duration(seconds=-1))

    call = client.operations.WaitOperation(request)

    assert await refusal(call) == (INVALID, "INVALID_TIMEOUT")


@pytest.mark.parametrize("name", ["", "operations/1", "databases/orders", "databases/a/operations"])
async def test_a_name_that_is_no_operations_is_refused(client: Client, name: str) -> None:
    """A name that cannot be an operation's is an invalid argument."""
    call = client.get(operations_pb2.Operation(name=name))

    assert await refusal(call) == (INVALID, "INVALID_NAME")


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
    """Both conventions of `name` are understood, and so is the wildcard."""
    for database_id in ("a", "b"):
        await client.create(database_id, rows=1)

    listed = await client.list(name)

    assert [found.split("/")[1] for found in names(listed)] == expected


@pytest.mark.parametrize("name", ["databases", "databases/a/backups", "operations/1", "x"])
async def test_a_list_of_something_else_is_refused(client: Client, name: str) -> None:
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
async def test_a_filter_keeps_what_is_done_or_what_is_not(
    client: Client, gate: Gate, filter_: str, expected: list[str]
) -> None:
    """The spellings of AIP-160 that people use for `done`."""
    await client.create("done", rows=1)
    async with gate:
        await client.begin("running", rows=1)

        listed = await client.list(filter=filter_)

    assert [found.split("/")[1] for found in names(listed)] == expected


@pytest.mark.parametrize("filter_", ["done=maybe", "name=x", "done=true OR done", "DONE=true"])
async def test_another_filter_is_refused(client: Client, filter_: str) -> None:
    """A filter that is not understood is never ignored."""
    assert await refusal(client.list(filter=filter_)) == (INVALID, "INVALID_FILTER")


async def test_pages_stay_as_they_are_when_operations_come_and_go(client: Client) -> None:
    """A token points at an operation, not at an offset."""
    created = [await client.create(f"d{number}", rows=1) for number in range(5)]
    first = await client.list(page_size=2)
    await client.create("late", rows=1)
    await client.delete(created[4])

    second = await client.list(page_size=2, page_token=first.next_page_token)
    third = await client.list(page_size=2, page_token=second.next_page_token)

    expected = [operation.name for operation in reversed(created)]
    assert names(first) + names(second) + names(third) == expected
    assert third.next_page_token == ""


async def test_a_token_of_another_list_is_refused(client: Client) -> None:
    """A token fits only the list and the filter it came from."""
    for database_id in ("a", "b"):
        await client.create(database_id, rows=1)
    token = (await client.list(page_size=1)).next_page_token

    refused = (INVALID, "INVALID_PAGE_TOKEN")
    assert await refusal(client.list(filter="done", page_token=token)) == refused
    assert await refusal(client.list(page_token="no token")) == refused  # noqa: S106 (no password)
    request = pb.ListDatabasesRequest(page_token=token)
    assert await refusal(client.admin.ListDatabases(request)) == refused


async def test_a_negative_page_size_is_refused_and_a_large_one_is_not(client: Client) -> None:
    """Page sizes are as AIP-158 wants them."""
    assert await refusal(client.list(page_size=-1)) == (INVALID, "INVALID_PAGE_SIZE")
    assert names(await client.list(page_size=1_000_000)) == []


async def test_partial_success_is_unimplemented(client: Client) -> None:
    """operations.proto wants UNIMPLEMENTED where partial success is not supported."""
    call = client.list(return_partial_success=True)

    assert (await refusal(call))[0] == grpc.StatusCode.UNIMPLEMENTED


async def test_a_repeated_request_returns_the_same_operation(client: Client) -> None:
    """The same request is safe to repeat, even after its operation's end."""
    request_id = str(uuid.uuid4())
    request = pb.CreateDatabaseRequest(database_id="orders", row_count=5, request_id=request_id)
    first = await client.admin.CreateDatabase(request)
    await client.end(first)
    request.request_id = request_id.upper()

    again = await client.admin.CreateDatabase(request)

    assert again == await client.get(first)
    assert names(await client.list()) == [first.name]


async def test_two_requests_at_once_begin_one_operation(client: Client) -> None:
    """No request slips in while another with its id is examined."""
    await client.create()
    request = pb.ExportQueryRequest(
        database="databases/orders", query="SELECT 1", request_id=str(uuid.uuid4())
    )

    calls = [client.admin.ExportQuery(request) for _ in range(5)]

    assert len({(await call).name for call in calls}) == 1


async def test_a_request_id_cannot_come_with_another_request(client: Client) -> None:
    """Neither with other arguments nor to another method."""
    request_id = str(uuid.uuid4())
    request = pb.CreateDatabaseRequest(database_id="orders", request_id=request_id)
    await client.end(await client.admin.CreateDatabase(request))

    reused = (INVALID, "REQUEST_ID_REUSED")
    request.row_count = 7
    assert await refusal(client.admin.CreateDatabase(request)) == reused
    check = pb.CheckDatabaseRequest(name="databases/orders", request_id=request_id)
    assert await refusal(client.admin.CheckDatabase(check)) == reused


@pytest.mark.parametrize("request_id", ["1", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"])
async def test_a_request_id_that_is_no_random_uuid_is_refused(
    client: Client, request_id: str
) -> None:
    """AIP-155 wants a UUID of version 4."""
    request = pb.CreateDatabaseRequest(database_id="orders", request_id=request_id)

    call = client.admin.CreateDatabase(request)

    assert await refusal(call) == (INVALID, "INVALID_REQUEST_ID")


async def test_finished_operations_expire_and_running_ones_do_not(tmp_path: Path) -> None:
    """Retention begins with an operation's end."""
    time_of_day = datetime(2030, 1, 1, tzinfo=UTC)
    gate = Gate()
    async with (
        DemoServer.open(
            tmp_path, pace=gate, retention=timedelta(hours=1), clock=lambda: time_of_day
        ) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        client = Client(channel)
        finished = await client.create("finished")
        async with gate:
            running = await client.begin("running")
            time_of_day += timedelta(minutes=59)
            assert names(await client.list()) == [running.name, finished.name]
            time_of_day += timedelta(minutes=1)

            assert names(await client.list()) == [running.name]
            assert (await refusal(client.get(finished)))[0] == grpc.StatusCode.NOT_FOUND

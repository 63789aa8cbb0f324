"""Operations: they start once for each request, and can be cancelled, deleted or interrupted."""

import uuid
from pathlib import Path

import grpc
import pytest

from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from lro_gateway.demo.v1 import database_admin_pb2 as pb
from tests.demo.client import INVALID, ORDERS, Client, leftovers, names, refusal


async def test_a_repeated_request_returns_the_same_operation(client: Client) -> None:
    """A request with a request_id is safe to repeat, even after its operation has ended."""
    request_id = str(uuid.uuid4())
    request = pb.CreateDatabaseRequest(database_id="orders", row_count=5, request_id=request_id)
    first = await client.admin.CreateDatabase(request)
    await client.end(first)
    request.request_id = request_id.upper()

    again = await client.admin.CreateDatabase(request)

    assert again == await client.get(first)
    assert names(await client.list()) == [first.name]


async def test_the_same_requests_at_once_start_one_operation(client: Client) -> None:
    """Five simultaneous calls with one request_id return the same operation."""
    await client.create()
    request = pb.ExportQueryRequest(
        database="databases/orders", query="SELECT 1", request_id=str(uuid.uuid4())
    )

    calls = [client.admin.ExportQuery(request) for _ in range(5)]

    assert len({(await call).name for call in calls}) == 1


async def test_a_request_id_cannot_come_with_another_request(client: Client) -> None:
    """A request_id is refused with other arguments and for another method."""
    request_id = str(uuid.uuid4())
    request = pb.CreateDatabaseRequest(database_id="orders", request_id=request_id)
    await client.end(await client.admin.CreateDatabase(request))

    reused = (INVALID, "REQUEST_ID_REUSED")
    request.row_count = 7
    assert await refusal(client.admin.CreateDatabase(request)) == reused
    check = pb.CheckDatabaseRequest(name="databases/orders", request_id=request_id)
    assert await refusal(client.admin.CheckDatabase(check)) == reused


def published(directory: Path) -> list[Path]:
    """Return the backups and exports of a directory."""
    return [*directory.glob("backups/*/*"), *directory.glob("exports/*/*")]


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("BackupDatabase", pb.BackupDatabaseRequest(name=ORDERS, backup_id="b")),
        ("ExportQuery", pb.ExportQueryRequest(database=ORDERS, query="SELECT * FROM orders")),
        ("CheckDatabase", pb.CheckDatabaseRequest(name=ORDERS)),
    ],
)
async def test_a_cancelled_operation_leaves_no_partial_file(
    client: Client, gate: Gate, tmp_path: Path, method: str, request_: object
) -> None:
    """Every kind of operation ends with code 1 and removes what it wrote."""
    await client.create(rows=2000)
    async with gate:
        operation = await getattr(client.admin, method)(request_)
        await gate.arrival()
        await client.cancel(operation)
        cancelled = await client.end(operation)

    assert cancelled.error.code == 1
    assert leftovers(tmp_path) == []
    assert published(tmp_path) == []


async def test_cancelling_a_finished_operation_changes_nothing(client: Client) -> None:
    """The call succeeds, and the operation keeps its result."""
    operation = await client.create()

    await client.cancel(operation)

    assert await client.get(operation) == operation


async def test_a_deleted_operation_is_not_found(client: Client) -> None:
    """Every method fails with NOT_FOUND, and lists leave the operation out."""
    operation = await client.create()

    await client.delete(operation)

    gone = (grpc.StatusCode.NOT_FOUND, "OPERATION_NOT_FOUND")
    assert await refusal(client.get(operation)) == gone
    assert await refusal(client.delete(operation)) == gone
    assert await refusal(client.cancel(operation)) == gone
    assert (await client.list()).operations == []


async def test_deleting_a_running_operation_hides_it_and_lets_it_run(
    client: Client, gate: Gate, tmp_path: Path
) -> None:
    """Deleting removes the record of the operation but does not cancel its work."""
    async with gate:
        operation = await client.begin()
        await gate.arrival()
        await client.delete(operation)
        assert (await client.list()).operations == []
        assert (await refusal(client.end(operation)))[0] == grpc.StatusCode.NOT_FOUND
        assert (await refusal(client.begin()))[0] == grpc.StatusCode.ABORTED
    while leftovers(tmp_path) or not (tmp_path / "orders.sqlite3").exists():
        await client.list()

    assert (await client.list()).operations == []


async def test_closing_a_server_stops_its_work_and_the_next_one_aborts_it(
    tmp_path: Path, gate: Gate
) -> None:
    """The server removes partial files; the next server ends the operation with ABORTED."""
    gate.hold()
    async with (
        DemoServer.open(tmp_path, pace=gate) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        interrupted = await Client(channel).begin()
        await gate.arrival()
    assert leftovers(tmp_path) == []

    async with (
        DemoServer.open(tmp_path) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        aborted = await Client(channel).get(interrupted)
    assert aborted.error.code == grpc.StatusCode.ABORTED.value[0]


async def test_a_database_is_not_created_twice_at_once(client: Client, gate: Gate) -> None:
    """A second creation fails while the first runs, and the first one succeeds."""
    async with gate:
        operation = await client.begin()

        assert await refusal(client.begin()) == (
            grpc.StatusCode.ABORTED,
            "OPERATION_IN_PROGRESS",
        )
    assert (await client.end(operation)).HasField("response")

"""Cancelling and deleting operations."""

from pathlib import Path

import grpc
import pytest

from lro_gateway.demo.pace import Gate
from lro_gateway.demo.v1 import database_admin_pb2 as pb
from tests.demo.client import Client, reason, refusal
from tests.demo.test_databases import ORDERS, leftovers


def published(directory: Path) -> list[Path]:
    """Return the backups and exports of a directory."""
    return [*directory.glob("backups/*/*"), *directory.glob("exports/*/*")]


async def test_a_cancelled_creation_leaves_no_database(
    client: Client, gate: Gate, tmp_path: Path
) -> None:
    """Cancelling takes effect at a batch: code 1, no file, and the id is free again."""
    async with gate:
        operation = await client.begin()
        await gate.arrival()
        gate.admit()
        await gate.arrival()
        assert leftovers(tmp_path) != []
        await client.cancel(operation)
        cancelled = await client.end(operation)

    assert cancelled.done
    assert cancelled.error.code == 1
    assert reason(cancelled.error) == "OPERATION_CANCELLED"
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "orders.sqlite3").exists()
    assert (await client.create()).HasField("response")


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


async def test_a_query_without_end_can_be_cancelled(client: Client) -> None:
    """Cancelling interrupts a statement that would never come to its next batch."""
    await client.create()
    endless = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    request = pb.ExportQueryRequest(database=ORDERS, query=endless)
    operation = await client.admin.ExportQuery(request)

    await client.cancel(operation)

    assert (await client.end(operation)).error.code == 1


async def test_cancelling_a_finished_operation_changes_nothing(client: Client) -> None:
    """Cancelling too late succeeds and does nothing."""
    operation = await client.create()

    await client.cancel(operation)

    assert await client.get(operation) == operation


async def test_a_deleted_operation_is_gone(client: Client) -> None:
    """A deleted operation is not found by any method."""
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
    """Deleting does not cancel: the work goes on, its operation is not found any more."""
    async with gate:
        operation = await client.begin()
        await gate.arrival()
        await client.delete(operation)
        assert (await client.list()).operations == []
        backlog = client.end(operation)
        assert (await refusal(backlog))[0] == grpc.StatusCode.NOT_FOUND
        assert (await refusal(client.begin()))[0] == grpc.StatusCode.ABORTED
    while leftovers(tmp_path) or not (tmp_path / "orders.sqlite3").exists():
        await client.list()

    assert (await client.list()).operations == []

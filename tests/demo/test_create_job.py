"""CreateDatabase: the database that it makes, and the progress that it reports."""

import sqlite3
from contextlib import closing
from pathlib import Path

from lro_gateway.demo.pace import Gate
from lro_gateway.demo.v1 import database_admin_pb2 as pb
from tests.demo.client import ORDERS, Client, leftovers, reason, unpacked


async def test_creating_a_database_ends_with_a_readable_database(
    client: Client, tmp_path: Path
) -> None:
    """The response equals the answer of GetDatabase, and the rows are in the file."""
    operation = await client.create(rows=250)

    assert operation.name.startswith("databases/orders/operations/")
    database = unpacked(operation.response, pb.Database)
    assert database.name == ORDERS
    assert database.state == pb.Database.READY
    assert database.row_count == 250
    assert database == await client.admin.GetDatabase(pb.GetDatabaseRequest(name=ORDERS))
    with closing(sqlite3.connect(tmp_path / "orders.sqlite3")) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (250,)


async def test_a_database_has_ten_thousand_orders_by_default(client: Client) -> None:
    """A row_count of 0 means the default."""
    operation = await client.create(rows=0)

    assert unpacked(operation.response, pb.Database).row_count == 10_000


async def test_progress_increases_with_every_batch(client: Client, gate: Gate) -> None:
    """Metadata has the progress after each batch, and the times of the start and the end."""
    seen = []
    async with gate:
        operation = await client.begin(rows=1000)
        for _ in range(22):
            await gate.arrival()
            latest = await client.get(operation)
            seen.append(unpacked(latest.metadata, pb.CreateDatabaseMetadata))
            gate.admit()

    inserted = [metadata.rows_inserted for metadata in seen]
    assert inserted == [0, *range(50, 1001, 50), 1000]
    percents = [metadata.progress_percent for metadata in seen]
    assert percents == sorted(percents)
    assert (percents[0], percents[-1]) == (0, 95)
    assert {metadata.total_rows for metadata in seen} == {1000}
    assert seen[0].HasField("create_time")
    assert not seen[0].HasField("end_time")
    finished = unpacked((await client.end(operation)).metadata, pb.CreateDatabaseMetadata)
    assert finished.progress_percent == 100
    assert finished.end_time.ToDatetime() >= finished.create_time.ToDatetime()


async def test_a_cancelled_creation_leaves_no_database(
    client: Client, gate: Gate, tmp_path: Path
) -> None:
    """The operation ends with code 1 and no file, and its database id can be used again."""
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

"""What the long-running methods of DatabaseAdmin make, and what they refuse."""

import csv
import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from lro_gateway.demo.databases import damage
from lro_gateway.demo.pace import Gate
from lro_gateway.demo.v1 import database_admin_pb2 as pb
from tests.demo.client import Client, reason, refusal, unpacked

ORDERS = "databases/orders"


def leftovers(directory: Path) -> list[Path]:
    """Return the files that operations left unfinished."""
    return [path for path in (directory / ".unfinished").rglob("*") if path.is_file()]


async def export(client: Client, query: str, **request: object) -> pb.ExportQueryResponse:
    """Export a query of `orders`; return the response."""
    started = pb.ExportQueryRequest(database=ORDERS, query=query, **request)  # type: ignore[arg-type]  # checked by the message
    operation = await client.end(await client.admin.ExportQuery(started))
    return unpacked(operation.response, pb.ExportQueryResponse)


async def test_creating_a_database_ends_with_a_readable_database(
    client: Client, tmp_path: Path
) -> None:
    """The response is the database as GetDatabase has it, and its rows are in the file."""
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
    """A row_count of 0 is the default."""
    operation = await client.create(rows=0)

    assert unpacked(operation.response, pb.Database).row_count == 10_000


async def test_progress_increases_with_every_batch(client: Client, gate: Gate) -> None:
    """Metadata tells what each batch did, and when the operation began and ended."""
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


async def test_a_backup_is_a_copy_and_tells_its_pages(
    client: Client, gate: Gate, tmp_path: Path
) -> None:
    """Pages are counted on the way, the copy has the rows and is listed."""
    await client.create(rows=2000)
    async with gate:
        request = pb.BackupDatabaseRequest(name=ORDERS, backup_id="nightly")
        operation = await client.admin.BackupDatabase(request)
        await gate.arrival()
        held = unpacked((await client.get(operation)).metadata, pb.BackupDatabaseMetadata)
    backup = unpacked((await client.end(operation)).response, pb.Backup)

    assert 0 < held.pages_copied < held.total_pages
    assert backup.name == "databases/orders/backups/nightly"
    original = tmp_path / "orders.sqlite3"
    assert backup.size_bytes == original.stat().st_size
    listed = await client.admin.ListBackups(pb.ListBackupsRequest(parent=ORDERS))
    assert list(listed.backups) == [backup]
    with closing(sqlite3.connect(tmp_path / "backups/orders/nightly.sqlite3")) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (2000,)


async def test_a_csv_file_has_column_names_and_all_rows(client: Client, tmp_path: Path) -> None:
    """Size, row count and digest are those of the file."""
    await client.create()

    response = await export(client, "SELECT id, quantity FROM orders ORDER BY id;")

    content = (tmp_path / response.file).read_bytes()
    rows = list(csv.reader(content.decode().splitlines()))
    assert rows[:3] == [["id", "quantity"], ["1", "2"], ["2", "3"]]
    assert response.row_count == 100 == len(rows) - 1
    assert response.size_bytes == len(content)
    assert response.sha256 == hashlib.sha256(content).hexdigest()


async def test_json_lines_hold_every_kind_of_value(client: Client, tmp_path: Path) -> None:
    """Large integers stay exact; what JSON lacks is written as ProtoJSON writes it."""
    await client.create()
    query = "SELECT 9007199254740993 AS n, 1e999 AS i, x'ff' AS b, NULL AS z, CAST(x'ff' AS TEXT) t"

    response = await export(client, query, format=pb.ExportQueryRequest.JSON_LINES)

    (line,) = (tmp_path / response.file).read_text().splitlines()
    assert json.loads(line) == {
        "n": 9007199254740993,
        "i": "Infinity",
        "b": "/w==",
        "z": None,
        "t": "\N{REPLACEMENT CHARACTER}",
    }


async def test_a_query_without_rows_makes_a_file_without_rows(
    client: Client, tmp_path: Path
) -> None:
    """An empty result is a result."""
    await client.create()

    response = await export(client, "SELECT id FROM orders WHERE false")

    assert response.row_count == 0
    assert (tmp_path / response.file).read_text().splitlines() == ["id"]


async def test_a_query_that_fails_on_the_way_fails_its_operation(client: Client) -> None:
    """What only its rows show is the operation's error, not the request's."""
    await client.create()
    request = pb.ExportQueryRequest(database=ORDERS, query="SELECT abs(-9223372036854775807 - 1)")

    operation = await client.end(await client.admin.ExportQuery(request))

    assert operation.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert reason(operation.error) == "QUERY_FAILED"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "DELETE FROM orders",
        "SELECT 1; DROP TABLE orders",
        "SELECT 1) UNION SELECT (2",
        "PRAGMA query_only = OFF",
        "ATTACH 'other.sqlite3' AS other",
        "VACUUM INTO 'other.sqlite3'",
        "SELECT * FROM nowhere",
        "SELECT ?",
    ],
)
async def test_a_query_that_is_not_one_reading_statement_is_refused(
    client: Client, query: str
) -> None:
    """Nothing starts that could write, or that is more or less than one statement."""
    await client.create()

    call = client.admin.ExportQuery(pb.ExportQueryRequest(database=ORDERS, query=query))

    assert await refusal(call) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_QUERY")


async def test_a_sound_database_has_a_report(client: Client) -> None:
    """The report names the tables that were checked."""
    await client.create()

    report = unpacked((await client.check()).response, pb.CheckReport)

    assert (report.name, list(report.tables)) == (ORDERS, ["customers", "orders", "products"])
    assert report.page_count > 0


@pytest.mark.parametrize("rows", [1, 100, 10_000])
async def test_a_damaged_database_fails_its_check_with_the_problems(
    client: Client, tmp_path: Path, rows: int
) -> None:
    """Damage of any size of database is DATA_LOSS, with all that SQLite says."""
    await client.create(rows=rows)
    damage(tmp_path / "orders.sqlite3")

    operation = await client.check()

    assert operation.error.code == grpc.StatusCode.DATA_LOSS.value[0]
    assert reason(operation.error) == "DATABASE_DAMAGED"
    report = unpacked(operation.error.details[1], pb.DamageReport)
    assert report.name == ORDERS
    assert "orders" in {problem.table for problem in report.problems}
    metadata = unpacked(operation.metadata, pb.CheckDatabaseMetadata)
    assert metadata.problems_found == len(report.problems)


async def test_a_file_damaged_beyond_opening_is_data_loss_everywhere(
    client: Client, tmp_path: Path
) -> None:
    """Every operation reports an unreadable file; GetDatabase still describes it."""
    await client.create()
    damage(tmp_path / "orders.sqlite3", beyond_opening=True)
    backup = pb.BackupDatabaseRequest(name=ORDERS, backup_id="late")
    exported = pb.ExportQueryRequest(database=ORDERS, query="SELECT * FROM orders")

    operations = [
        await client.check(),
        await client.end(await client.admin.BackupDatabase(backup)),
        await client.end(await client.admin.ExportQuery(exported)),
    ]

    assert {reason(operation.error) for operation in operations} == {"DATABASE_UNREADABLE"}
    assert {operation.error.code for operation in operations} == {15}
    database = await client.admin.GetDatabase(pb.GetDatabaseRequest(name=ORDERS))
    assert database.state == pb.Database.UNREADABLE
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("database_id", ["", "Orders", "1st", "a-", "a/b", "..", "a" * 64])
async def test_a_database_id_that_is_none_is_refused(client: Client, database_id: str) -> None:
    """An id is what AIP-122 allows: above all, no path."""
    call = client.begin(database_id)

    assert await refusal(call) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ID")


@pytest.mark.parametrize("rows", [-1, 10_000_001])
async def test_a_row_count_out_of_range_is_refused(client: Client, rows: int) -> None:
    """A row count is neither negative nor without bounds."""
    assert await refusal(client.begin(rows=rows)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_ROW_COUNT",
    )


async def test_a_missing_database_is_not_found(client: Client) -> None:
    """Every method says so at once, none starts an operation."""
    missing = (grpc.StatusCode.NOT_FOUND, "DATABASE_NOT_FOUND")

    assert await refusal(client.check("nowhere")) == missing
    get = pb.GetDatabaseRequest(name="databases/nowhere")
    assert await refusal(client.admin.GetDatabase(get)) == missing
    backup = pb.BackupDatabaseRequest(name="databases/nowhere", backup_id="b")
    assert await refusal(client.admin.BackupDatabase(backup)) == missing
    exported = pb.ExportQueryRequest(database="databases/nowhere", query="SELECT 1")
    assert await refusal(client.admin.ExportQuery(exported)) == missing
    backups = pb.ListBackupsRequest(parent="databases/nowhere")
    assert await refusal(client.admin.ListBackups(backups)) == missing


async def test_a_name_of_another_form_is_refused(client: Client) -> None:
    """A name that cannot exist is an invalid argument."""
    request = pb.GetDatabaseRequest(name="orders")

    assert await refusal(client.admin.GetDatabase(request)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_NAME",
    )


async def test_what_exists_is_not_made_again(client: Client) -> None:
    """Databases and backups are never overwritten."""
    await client.create()
    request = pb.BackupDatabaseRequest(name=ORDERS, backup_id="b")
    await client.end(await client.admin.BackupDatabase(request))

    exists = grpc.StatusCode.ALREADY_EXISTS
    assert await refusal(client.begin()) == (exists, "DATABASE_ALREADY_EXISTS")
    again = client.admin.BackupDatabase(request)
    assert await refusal(again) == (exists, "BACKUP_ALREADY_EXISTS")


async def test_what_is_being_made_is_not_made_twice(client: Client, gate: Gate) -> None:
    """A second creation is refused while the first runs, and does not disturb it."""
    async with gate:
        operation = await client.begin()

        assert await refusal(client.begin()) == (
            grpc.StatusCode.ABORTED,
            "OPERATION_IN_PROGRESS",
        )
    assert (await client.end(operation)).HasField("response")


async def test_databases_come_in_pages_in_order(client: Client) -> None:
    """Pages follow the order of ids; the last one has no token."""
    for database_id in ("c", "a", "b"):
        await client.create(database_id, rows=1)

    first = await client.admin.ListDatabases(pb.ListDatabasesRequest(page_size=2))
    second = await client.admin.ListDatabases(
        pb.ListDatabasesRequest(page_size=2, page_token=first.next_page_token)
    )

    assert [database.name for database in first.databases] == ["databases/a", "databases/b"]
    assert [database.name for database in second.databases] == ["databases/c"]
    assert second.next_page_token == ""

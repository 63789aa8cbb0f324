"""The methods of DatabaseAdmin: their lists, and the requests that they refuse."""

import grpc
import pytest

from lro_gateway.demo.v1 import database_admin_pb2 as pb
from tests.demo.client import Client, refusal


@pytest.mark.parametrize("rows", [-1, 10_000_001])
async def test_a_row_count_out_of_range_is_refused(client: Client, rows: int) -> None:
    """A row count is between 0 and 10,000,000."""
    assert await refusal(client.begin(rows=rows)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_ROW_COUNT",
    )


async def test_a_missing_database_is_not_found(client: Client) -> None:
    """Every method fails with NOT_FOUND at once, and starts no operation."""
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

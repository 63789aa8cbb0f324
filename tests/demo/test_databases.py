"""The files of databases are never overwritten, and are described even if they are unreadable."""

from pathlib import Path

import grpc

from lro_gateway.demo.databases import damage
from lro_gateway.demo.v1 import database_admin_pb2 as pb
from tests.demo.client import ORDERS, Client, leftovers, reason, refusal


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


async def test_databases_and_backups_that_exist_are_not_made_again(client: Client) -> None:
    """A second creation fails with ALREADY_EXISTS."""
    await client.create()
    request = pb.BackupDatabaseRequest(name=ORDERS, backup_id="b")
    await client.end(await client.admin.BackupDatabase(request))

    exists = grpc.StatusCode.ALREADY_EXISTS
    assert await refusal(client.begin()) == (exists, "DATABASE_ALREADY_EXISTS")
    again = client.admin.BackupDatabase(request)
    assert await refusal(again) == (exists, "BACKUP_ALREADY_EXISTS")

"""BackupDatabase copies a database page by page."""

import sqlite3
from contextlib import closing
from pathlib import Path

from lro_gateway.demo.pace import Gate
from lro_gateway.demo.v1 import database_admin_pb2 as pb
from tests.demo.client import ORDERS, Client, unpacked


async def test_a_backup_is_a_copy_and_reports_its_pages(
    client: Client, gate: Gate, tmp_path: Path
) -> None:
    """Metadata counts the copied pages; the copy has all rows and is listed."""
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

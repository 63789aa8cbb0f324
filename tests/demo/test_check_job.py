"""CheckDatabase reports on a sound database and fails with the problems of a damaged one."""

from pathlib import Path

import grpc
import pytest

from lro_gateway.demo.databases import damage
from lro_gateway.demo.v1 import database_admin_pb2 as pb
from tests.demo.client import ORDERS, Client, reason, unpacked


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
    """The check fails with DATA_LOSS and all problems, whatever the size of the database."""
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

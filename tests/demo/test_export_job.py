"""ExportQuery: the files that it writes, and the queries that it refuses."""

import csv
import hashlib
import json
from pathlib import Path

import grpc
import pytest

from lro_gateway.demo.v1 import database_admin_pb2 as pb
from tests.demo.client import ORDERS, Client, reason, refusal, unpacked


async def export(client: Client, query: str, **request: object) -> pb.ExportQueryResponse:
    """Export a query of `orders`; return the response."""
    started = pb.ExportQueryRequest(database=ORDERS, query=query, **request)  # type: ignore[arg-type]  # checked by the message
    operation = await client.end(await client.admin.ExportQuery(started))
    return unpacked(operation.response, pb.ExportQueryResponse)


async def test_a_csv_file_has_column_names_and_all_rows(client: Client, tmp_path: Path) -> None:
    """The response has the size, the row count and the digest of the file."""
    await client.create()

    response = await export(client, "SELECT id, quantity FROM orders ORDER BY id;")

    content = (tmp_path / response.file).read_bytes()
    rows = list(csv.reader(content.decode().splitlines()))
    assert rows[:3] == [["id", "quantity"], ["1", "2"], ["2", "3"]]
    assert response.row_count == 100 == len(rows) - 1
    assert response.size_bytes == len(content)
    assert response.sha256 == hashlib.sha256(content).hexdigest()


async def test_json_lines_hold_every_kind_of_value(client: Client, tmp_path: Path) -> None:
    """Large integers stay exact; infinities and bytes are written as in ProtoJSON."""
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
    """The operation succeeds, and the file has only the column names."""
    await client.create()

    response = await export(client, "SELECT id FROM orders WHERE false")

    assert response.row_count == 0
    assert (tmp_path / response.file).read_text().splitlines() == ["id"]


async def test_a_query_that_fails_while_it_runs_fails_its_operation(client: Client) -> None:
    """The request is accepted, because only the rows of the query cause the error."""
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
    """A query is exactly one statement, and it only reads."""
    await client.create()

    call = client.admin.ExportQuery(pb.ExportQueryRequest(database=ORDERS, query=query))

    assert await refusal(call) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_QUERY")


async def test_a_query_without_end_can_be_cancelled(client: Client) -> None:
    """Cancelling interrupts a statement that would never end its batch."""
    await client.create()
    endless = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    request = pb.ExportQueryRequest(database=ORDERS, query=endless)
    operation = await client.admin.ExportQuery(request)

    await client.cancel(operation)

    assert (await client.end(operation)).error.code == 1

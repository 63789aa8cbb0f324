"""Names and ids of an invalid form are refused by every method."""

import grpc
import pytest
from google.longrunning import operations_pb2

from lro_gateway.demo.v1 import database_admin_pb2 as pb
from tests.demo.client import INVALID, Client, refusal


@pytest.mark.parametrize("database_id", ["", "Orders", "1st", "a-", "a/b", "..", "a" * 64])
async def test_an_invalid_database_id_is_refused(client: Client, database_id: str) -> None:
    """An id has the form of AIP-122, so it cannot be a path of files."""
    call = client.begin(database_id)

    assert await refusal(call) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ID")


async def test_an_invalid_database_name_is_refused(client: Client) -> None:
    """The error is INVALID_ARGUMENT, not NOT_FOUND."""
    request = pb.GetDatabaseRequest(name="orders")

    assert await refusal(client.admin.GetDatabase(request)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_NAME",
    )


@pytest.mark.parametrize("name", ["", "operations/1", "databases/orders", "databases/a/operations"])
async def test_an_invalid_operation_name_is_refused(client: Client, name: str) -> None:
    """The error is INVALID_ARGUMENT, not NOT_FOUND."""
    call = client.get(operations_pb2.Operation(name=name))

    assert await refusal(call) == (INVALID, "INVALID_NAME")


@pytest.mark.parametrize("request_id", ["1", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"])
async def test_a_request_id_that_is_not_a_version_4_uuid_is_refused(
    client: Client, request_id: str
) -> None:
    """AIP-155 requires a UUID of version 4."""
    request = pb.CreateDatabaseRequest(database_id="orders", request_id=request_id)

    call = client.admin.CreateDatabase(request)

    assert await refusal(call) == (INVALID, "INVALID_REQUEST_ID")

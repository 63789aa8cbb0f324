"""Pages of operations: their sizes and their tokens."""

from lro_gateway.demo.v1 import database_admin_pb2 as pb
from tests.demo.client import INVALID, Client, names, refusal


async def test_pages_stay_as_they_are_when_operations_come_and_go(client: Client) -> None:
    """A token points at an operation, not at an offset."""
    created = [await client.create(f"d{number}", rows=1) for number in range(5)]
    first = await client.list(page_size=2)
    await client.create("late", rows=1)
    await client.delete(created[4])

    second = await client.list(page_size=2, page_token=first.next_page_token)
    third = await client.list(page_size=2, page_token=second.next_page_token)

    expected = [operation.name for operation in reversed(created)]
    assert names(first) + names(second) + names(third) == expected
    assert third.next_page_token == ""


async def test_a_token_of_another_list_is_refused(client: Client) -> None:
    """A token is valid only for the list and the filter that it came from."""
    for database_id in ("a", "b"):
        await client.create(database_id, rows=1)
    token = (await client.list(page_size=1)).next_page_token

    refused = (INVALID, "INVALID_PAGE_TOKEN")
    assert await refusal(client.list(filter="done", page_token=token)) == refused
    assert await refusal(client.list(page_token="no token")) == refused  # noqa: S106 (no password)
    request = pb.ListDatabasesRequest(page_token=token)
    assert await refusal(client.admin.ListDatabases(request)) == refused


async def test_a_negative_page_size_is_refused_and_a_large_one_is_not(client: Client) -> None:
    """Page sizes follow AIP-158."""
    assert await refusal(client.list(page_size=-1)) == (INVALID, "INVALID_PAGE_SIZE")
    assert names(await client.list(page_size=1_000_000)) == []

"""Chapter 2: list operations.

A caller that has no name can list the operations: those of one parent, such as a database, or all
operations. A long list comes in pages. Each page except the last has a token for the next page.
"""

from __future__ import annotations

from lro_gateway.demo.pace import Gate
from tests.demo.client import Client as Owner
from tests.gateways import Face


async def test_a_list_has_all_operations(owner: Owner, rest: Face) -> None:
    """Each has the JSON that `get` returns. The service sets the order, here the newest first."""
    orders = await owner.create("orders")
    archive = await owner.create("archive")

    page = await rest.list()

    assert page == {"operations": [await rest.get(archive.name), await rest.get(orders.name)]}


async def test_a_list_can_be_limited_to_one_parent(owner: Owner, rest: Face) -> None:
    """The parent is the part of a name before `/operations`."""
    orders = await owner.create("orders")
    await owner.create("archive")

    page = await rest.list(name="databases/orders")

    assert [operation["name"] for operation in page["operations"]] == [orders.name]


async def test_a_filter_is_in_the_services_own_language(
    owner: Owner, gate: Gate, rest: Face
) -> None:
    """The gateway passes the filter on, and this service has a filter for `done`."""
    await owner.create("orders")
    async with gate:
        running = await owner.begin("archive")

        page = await rest.list(filter="done=false")

    assert [operation["name"] for operation in page["operations"]] == [running.name]


async def test_pages_are_followed_by_their_tokens(owner: Owner, rest: Face) -> None:
    """The last page is the one without a token."""
    started = [await owner.create(database) for database in ("orders", "archive", "warehouse")]

    first = await rest.list(pageSize=2)
    second = await rest.list(pageSize=2, pageToken=first["nextPageToken"])

    names = [operation["name"] for page in (first, second) for operation in page["operations"]]
    assert names == [operation.name for operation in reversed(started)]
    assert "nextPageToken" not in second

"""Chapter 2: list operations.

Who has no name at hand lists what there is: of one parent, such as a database, or all. Long lists
come in pages. A page has a token for the next one, until there is no more.
"""

from __future__ import annotations

from lro_gateway.demo.pace import Gate
from tests.demo.client import Client as Owner
from tests.gateways import Face


async def test_a_list_has_all_operations(owner: Owner, rest: Face) -> None:
    """Each is as `get` would give it, in the order of the service: here, the newest first."""
    orders = await owner.create("orders")
    archive = await owner.create("archive")

    page = await rest.list()

    assert page == {"operations": [await rest.get(archive.name), await rest.get(orders.name)]}


async def test_a_list_can_be_of_one_parent(owner: Owner, rest: Face) -> None:
    """The parent is what stands before `/operations` in a name."""
    orders = await owner.create("orders")
    await owner.create("archive")

    page = await rest.list(name="databases/orders")

    assert [operation["name"] for operation in page["operations"]] == [orders.name]


async def test_a_filter_is_in_the_services_own_language(
    owner: Owner, gate: Gate, rest: Face
) -> None:
    """The gateway passes it on; this service understands `done`."""
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

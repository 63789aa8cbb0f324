"""Chapter 6: several backends.

One gateway stands in front of any number of services, its backends. The gateway finds the backend
of a name by the backends' patterns, by the parameter `backend`, or by a full name,
`//backend/name`. If none of these decides, the gateway refuses the name and lists the backends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from lro_gateway.demo.server import DemoServer
from tests.demo.client import Client as Owner
from tests.gateways import Face, RefusedError, face, serving


@pytest.fixture
async def other_service(tmp_path: Path) -> AsyncIterator[DemoServer]:
    """Run a second service of the same kind, as in another region."""
    async with DemoServer.open(tmp_path / "west") as server:
        yield server


@pytest.fixture
async def other_owner(other_service: DemoServer) -> AsyncIterator[Owner]:
    """Open a gRPC client that starts operations at the second service."""
    async with grpc.aio.insecure_channel(other_service.target) as channel:
        yield Owner(channel)


@pytest.fixture
async def both(service: DemoServer, other_service: DemoServer) -> AsyncIterator[Face]:
    """Run a gateway in front of both services, which differ only in the backend's name."""
    east = {"name": "east", "target": service.target}
    west = {"name": "west", "target": other_service.target}
    async with serving(east, west) as url, face("rest", url) as client:
        yield client


async def test_a_list_is_of_all_backends(owner: Owner, other_owner: Owner, both: Face) -> None:
    """The gateway merges their pages, and each full name shows the backend."""
    here = await owner.create("orders")
    there = await other_owner.create("orders")

    page = await both.list()

    assert [operation["name"] for operation in page["operations"]] == [
        f"//east/{here.name}",
        f"//west/{there.name}",
    ]


async def test_a_name_from_a_list_leads_to_its_backend(other_owner: Owner, both: Face) -> None:
    """A caller can use the full name as it is, or the short name together with `backend`."""
    there = await other_owner.create("orders")

    by_full_name = await both.get(f"//west/{there.name}")
    by_backend = await both.get(there.name, backend="west")

    assert by_full_name["name"] == f"//west/{there.name}"
    assert by_backend == by_full_name


async def test_a_name_that_both_backends_may_have_is_refused(
    other_owner: Owner, both: Face
) -> None:
    """The error lists the backends, so that the caller can choose one."""
    there = await other_owner.create("orders")

    with pytest.raises(RefusedError, match="there are: east, west") as caught:
        await both.get(there.name)

    assert caught.value.reason == "AMBIGUOUS_NAME"


async def test_patterns_give_each_backend_names_of_its_own(
    owner: Owner, other_owner: Owner, service: DemoServer, other_service: DemoServer
) -> None:
    """A pair of patterns maps names of the service to names that callers use, and back."""
    east, west = (
        {
            "name": name,
            "target": target,
            "operations": {"databases/{d}/operations/{id}": f"{name}/{{d}}/operations/{{id}}"},
        }
        for name, target in (("east", service.target), ("west", other_service.target))
    )
    await owner.create("orders")
    there = await other_owner.create("orders")
    name = there.name.replace("databases/", "west/")

    async with serving(east, west) as url, face("rest", url) as rest:
        operation = await rest.get(name)
        page = await rest.list(name="west/orders")

    assert operation["name"] == name
    assert page == {"operations": [operation]}


async def test_a_list_has_the_other_operations_if_a_backend_is_down(
    owner: Owner, service: DemoServer
) -> None:
    """With `returnPartialSuccess` the list succeeds, and names the backend in `unreachable`."""
    here = await owner.create("orders")
    east = {"name": "east", "target": service.target, "operations": ["databases/*/operations/*"]}
    down = {"name": "down", "target": "127.0.0.1:1"}

    async with serving(east, down) as url, face("rest", url) as rest:
        page = await rest.list(returnPartialSuccess=True)

    assert [operation["name"] for operation in page["operations"]] == [here.name]
    assert page["unreachable"] == ["//down"]

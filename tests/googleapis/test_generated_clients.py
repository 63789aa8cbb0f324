"""Google's generated Python clients start operations over REST, and await their results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import alloydb_v1, automl_v1, dataproc_v1, discoveryengine_v1, netapp_v1
from google.longrunning import operations_pb2

from lro_gateway.records.location import Location
from tests.gateways import serving
from tests.googleapis.published import pool
from tests.stub import Stub

PARENT = "projects/p/locations/l"
STARTS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "google.cloud.alloydb.v1.AlloyDBAdmin": (
        alloydb_v1.AlloyDBAdminClient,
        lambda client: client.create_cluster(
            parent=PARENT, cluster_id="c", cluster=alloydb_v1.Cluster(network="n")
        ),
    ),
    "google.cloud.automl.v1.AutoMl": (
        automl_v1.AutoMlClient,
        lambda client: client.create_dataset(
            parent=PARENT, dataset=automl_v1.Dataset(display_name="d")
        ),
    ),
    "google.cloud.dataproc.v1.ClusterController": (
        dataproc_v1.ClusterControllerClient,
        lambda client: client.create_cluster(
            project_id="p", region="r", cluster=dataproc_v1.Cluster(cluster_name="c")
        ),
    ),
    "google.cloud.discoveryengine.v1.DataStoreService": (
        discoveryengine_v1.DataStoreServiceClient,
        lambda client: client.create_data_store(
            parent=f"{PARENT}/collections/c",
            data_store=discoveryengine_v1.DataStore(display_name="d"),
            data_store_id="d",
        ),
    ),
    "google.cloud.netapp.v1.NetApp": (
        netapp_v1.NetAppClient,
        lambda client: client.create_volume(
            parent=PARENT, volume=netapp_v1.Volume(share_name="s"), volume_id="v"
        ),
    ),
}
"""The client and a start of each package, by the service."""
NAMES = {
    "google.cloud.dataproc.v1.ClusterController": "projects/p/regions/r/operations/1",
    "google.cloud.discoveryengine.v1.DataStoreService": f"{PARENT}/collections/c/operations/1",
}


@pytest.mark.parametrize("service", STARTS)
async def test_a_generated_client_awaits_the_result_of_its_start(service: str) -> None:
    """The result has the announced type, and the start was one call."""
    client_class, start = STARTS[service]
    name = NAMES.get(service, f"{PARENT}/operations/1")
    stub = Stub(pool(), reads=1, naming=lambda _: name.removesuffix("/operations/1"))
    async with stub.open(service) as backend:
        settings = {"name": "google", "target": backend.target}
        async with serving(settings, sync_grace="0s") as url:
            client = client_of(client_class, url)
            operation = await asyncio.to_thread(start, client)
            result = await asyncio.to_thread(operation.result, timeout=60)
    assert operation.operation.name == name
    assert type(result).pb().DESCRIPTOR.full_name in stub.responses[name].type_url
    assert (
        type(operation.metadata).pb().DESCRIPTOR.full_name
        in stub.operations[name].metadata.type_url
    )
    [started, *read] = [call.method for call in backend.answered]
    assert started.startswith("Create")
    assert read == ["GetOperation"] * 2


async def test_a_generated_client_lists_cancels_and_deletes_operations() -> None:
    """The client has the methods of the Operations service beside its own."""
    service = "google.cloud.netapp.v1.NetApp"
    client_class, start = STARTS[service]
    stub = Stub(pool(), reads=100, naming=lambda _: PARENT)
    async with stub.open(service) as backend:
        settings = {"name": "google", "target": backend.target}
        async with serving(settings, sync_grace="0s") as url:
            client = client_of(client_class, url)
            await asyncio.to_thread(start, client)
            name = f"{PARENT}/operations/1"
            request = operations_pb2.ListOperationsRequest(name=PARENT)
            listed = await asyncio.to_thread(client.list_operations, request)
            await asyncio.to_thread(client.cancel_operation, {"name": name})
            got = await asyncio.to_thread(client.get_operation, {"name": name})
            await asyncio.to_thread(client.delete_operation, {"name": name})
    assert [each.name for each in listed.operations] == [name]
    assert got.error.code == 1
    assert stub.operations == {}


def client_of(client_class: Any, url: str) -> Any:
    """Return a client that sends its calls to a gateway over plain HTTP."""
    transport = client_class.get_transport_class("rest")(
        host=url.removeprefix("http://"),
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]  # published without types
        url_scheme="http",
    )
    return client_class(transport=transport)


async def test_a_generated_client_repeats_a_start_with_its_key(tmp_path: Path) -> None:
    """The client puts a new request_id into each call, which makes it no other request."""
    service = "google.cloud.alloydb.v1.AlloyDBAdmin"
    stub = Stub(pool(), reads=9, naming=lambda _: PARENT)
    store = Location(tmp_path / "store.sqlite3")
    async with stub.open(service) as backend:
        settings = {"name": "google", "target": backend.target}
        async with serving(settings, store=store, sync_grace="0s") as url:
            client = client_of(alloydb_v1.AlloyDBAdminClient, url)

            def start() -> str:
                started = client.create_cluster(
                    parent=PARENT,
                    cluster_id="c",
                    cluster=alloydb_v1.Cluster(network="n"),
                    metadata=[("idempotency-key", "nightly")],
                )
                return str(started.operation.name)

            names = [await asyncio.to_thread(start) for _ in range(2)]
    assert names[0] == names[1]
    assert backend.count("CreateCluster") == 1

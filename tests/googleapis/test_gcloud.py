"""gcloud, unmodified, starts, awaits, reads, lists and cancels operations through the gateway.

These tests exist only where gcloud is installed. Everywhere, `tests/rest/test_retries.py` repeats
requests as gcloud's HTTP library does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.contrary import Answer, ContraryBackend
from tests.gateways import serving
from tests.googleapis.gcloud import Gcloud
from tests.googleapis.published import message, pool
from tests.googleapis.test_shared_routes import PATTERNS, both
from tests.stub import Stub, first_name

SPANNER = tuple(
    f"google.spanner.admin.{each}"
    for each in ("instance.v1.InstanceAdmin", "database.v1.DatabaseAdmin")
)
INSTANCE = "projects/p/instances/i"
DATABASE = f"{INSTANCE}/databases/d"
SHARE = "--file-share=name=v,capacity=1TB --network=name=default"
CREATE_INSTANCE = (
    *("spanner", "instances", "create", "i"),
    *("--config=regional-us1", "--description=d", "--nodes=1"),
)


def resource(request: Any) -> str:
    """Return the resource that a request of Spanner changes, as Spanner names operations by it."""
    match request.DESCRIPTOR.name:
        case "CreateInstanceRequest":
            return f"{request.parent}/instances/{request.instance_id}"
        case "CreateDatabaseRequest":
            return DATABASE
        case _:
            return first_name(request)


@asynccontextmanager
async def gcloud_to(
    stub: Stub, directory: Path, api: str, *services: str
) -> AsyncIterator[tuple[Gcloud, ContraryBackend]]:
    """Serve a gateway to services of a stub; yield gcloud with the gateway as its endpoint."""
    async with stub.open(*services) as backend:
        settings = {"name": "google", "target": backend.target, "methods": ["*/*"]}
        async with serving(settings, sync_grace="0s") as url:
            yield Gcloud(url, directory, (api,)), backend


async def test_a_start_that_gcloud_awaits_is_one_call(tmp_path: Path) -> None:
    """It would send the start again if its answer had a Retry-After."""
    stub = Stub(pool(), reads=2, naming=resource)
    async with gcloud_to(stub, tmp_path, "SPANNER", *SPANNER) as (gcloud, backend):
        await gcloud(*CREATE_INSTANCE)
    methods = [call.method for call in backend.answered]
    assert methods == ["CreateInstance", *["GetOperation"] * 3, "GetInstance"]


async def test_gcloud_manages_the_operations_of_databases(tmp_path: Path) -> None:
    """Each command is one call, and gcloud reads every answer."""
    stub = Stub(pool(), reads=100, naming=resource)
    name = f"{DATABASE}/operations/1"
    where = ("--instance=i", "--database=d")
    async with gcloud_to(stub, tmp_path, "SPANNER", *SPANNER) as (gcloud, backend):
        ddl = "--ddl=CREATE TABLE t (a INT64) PRIMARY KEY(a)"
        await gcloud("spanner", "databases", "ddl", "update", "d", "--instance=i", ddl, "--async")
        described = await gcloud("spanner", "operations", "describe", "1", *where)
        assert (described["name"], described.get("done", False)) == (name, False)
        listed = await gcloud("spanner", "operations", "list", "--type=DATABASE", *where)
        assert [each["name"] for each in listed] == [name]
        await gcloud("spanner", "operations", "cancel", "1", *where)
        described = await gcloud("spanner", "operations", "describe", "1", *where)
    assert described["error"]["code"] == 1
    assert [(call.method, call.request.name) for call in backend.answered[1:]] == [
        ("GetOperation", name),
        ("ListOperations", DATABASE),
        ("CancelOperation", name),
        ("GetOperation", name),
    ]


async def running_cluster(request: Any, _context: Any) -> Answer:
    """Answer with a cluster of Dataproc that runs, for which gcloud looks after a creation."""
    cluster: Any = message("google.cloud.dataproc.v1.Cluster")
    cluster.cluster_name = request.cluster_name
    cluster.status.state = 2  # RUNNING
    cluster.config.gce_cluster_config.zone_uri = "us-1-c"
    answer: Answer = cluster
    return answer


@pytest.mark.parametrize(
    ("api", "service", "start", "command"),
    [
        (
            "REDIS",
            "google.cloud.redis.v1.CloudRedis",
            "CreateInstance",
            "redis instances create r --region=us-1 --size=1",
        ),
        (
            "FILE",
            "google.cloud.filestore.v1.CloudFilestoreManager",
            "CreateInstance",
            f"filestore instances create f --zone=us-1-c --tier=BASIC_HDD {SHARE}",
        ),
        (
            "DATAPROC",
            "google.cloud.dataproc.v1.ClusterController",
            "CreateCluster",
            "dataproc clusters create c --region=us-1 --single-node --zone=us-1-c",
        ),
        (
            "COMPOSER",
            "google.cloud.orchestration.airflow.service.v1.Environments",
            "CreateEnvironment",
            "composer environments create e --location=us-1",
        ),
        (
            "EVENTARC",
            "google.cloud.eventarc.v1.Eventarc",
            "CreateChannel",
            "eventarc channels create ch --location=us-1",
        ),
    ],
)
async def test_commands_that_wait_in_other_ways_start_one_operation(
    tmp_path: Path, api: str, service: str, start: str, command: str
) -> None:
    """The commands of these APIs share no code of gcloud for their waits."""
    answers = {"google.cloud.dataproc.v1.ClusterController/GetCluster": running_cluster}
    stub = Stub(pool(), reads=1, naming=lambda _: "projects/p/locations/us-1", answers=answers)
    async with gcloud_to(stub, tmp_path, api, service) as (gcloud, backend):
        await gcloud(*command.split())
    assert backend.count(start) == 1
    assert backend.count("GetOperation") >= 2


async def test_patterns_send_a_command_to_one_of_two_services(tmp_path: Path) -> None:
    """Filestore has the same routes, and gcloud sends no `backend`."""
    async with both(PATTERNS) as gateway:
        gcloud = Gcloud(gateway.url, tmp_path, ("REDIS",))
        await gcloud("redis", "instances", "create", "r", "--region=us-1", "--size=1")
        methods = [call.method for call in gateway.redis.answered]
        assert methods == ["CreateInstance", *["GetOperation"] * 2, "GetInstance"]
        assert gateway.started == ["redis"]

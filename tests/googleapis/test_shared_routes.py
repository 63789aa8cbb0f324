"""Redis and Filestore, which share routes and names, behind one gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.contrary import ContraryBackend
from tests.gateways import serving
from tests.googleapis.published import pool
from tests.stub import Stub

REDIS = "google.cloud.redis.v1.CloudRedis"
FILESTORE = "google.cloud.filestore.v1.CloudFilestoreManager"
REGION = "projects/p/locations/us-1"
ZONE = "projects/p/locations/us-1-c"
PATTERNS = {
    "redis": ["projects/*/locations/us-1/**"],
    "filestore": ["projects/*/locations/us-1-c/**"],
}
"""An instance of Redis is in a region, and most instances of Filestore are in a zone."""


@dataclass(frozen=True)
class Both:
    """A gateway to both services, and a client of it."""

    url: str
    client: httpx.AsyncClient
    redis: ContraryBackend
    filestore: ContraryBackend

    @property
    def started(self) -> list[str]:
        """The services that got a start, by the names of their backends."""
        backends = {"redis": self.redis, "filestore": self.filestore}
        return [
            name for name, each in backends.items() for _ in range(each.count("CreateInstance"))
        ]

    async def create(self, parent: str, **query: str) -> Any:
        """Create an instance; return the answer's JSON."""
        path = f"/v1/{parent}/instances"
        return (await self.client.post(path, params={"instanceId": "i", **query}, json={})).json()


@asynccontextmanager
async def both(patterns: dict[str, list[str]] | None = None) -> AsyncIterator[Both]:
    """Serve a gateway to both services, each on a backend of its own."""
    owned = patterns or {}
    async with (
        Stub(pool(), reads=1).open(REDIS) as redis,
        Stub(pool(), reads=1).open(FILESTORE) as filestore,
    ):
        settings = [
            {"name": name, "target": backend.target, "methods": ["*/*"]}
            | {"operations": owned.get(name, [])}
            for name, backend in (("redis", redis), ("filestore", filestore))
        ]
        async with (
            serving(*settings, sync_grace="0s") as url,
            httpx.AsyncClient(base_url=url, timeout=60) as client,
        ):
            yield Both(url, client, redis, filestore)


async def test_patterns_of_names_send_each_call_to_its_service() -> None:
    """A client that sends no `backend` needs nothing else, and names have no backend in front."""
    async with both(PATTERNS) as gateway:
        for parent, backend in ((REGION, gateway.redis), (ZONE, gateway.filestore)):
            name = f"{parent}/operations/1"
            assert (await gateway.create(parent))["name"] == name
            for path in (name, f"{parent}/operations", f"{parent}/instances/i"):
                assert (await gateway.client.get(f"/v1/{path}")).status_code == 200
            assert (await gateway.client.post(f"/v1/{name}:cancel")).json() == {}
            assert [call.method for call in backend.answered] == [
                "CreateInstance",
                "GetOperation",
                "ListOperations",
                "GetInstance",
                "CancelOperation",
            ]


async def test_a_call_that_no_pattern_decides_is_refused_with_the_choices() -> None:
    """Nothing is started. The parameter `backend`, or the path of the method, chooses."""
    async with both() as gateway:
        error = (await gateway.create(REGION))["error"]
        assert error["details"][0]["reason"] == "AMBIGUOUS_ROUTE"
        assert f"{REDIS}/CreateInstance on redis" in error["message"]
        assert f"{FILESTORE}/CreateInstance on filestore" in error["message"]
        assert gateway.started == []
        started = await gateway.create(REGION, backend="filestore")
        assert started["name"] == f"//filestore/{REGION}/operations/1"
        request = {"parent": REGION, "instanceId": "i", "instance": {}}
        await gateway.client.post(f"/v1/{REDIS}/CreateInstance", json=request)
        assert gateway.started == ["redis", "filestore"]

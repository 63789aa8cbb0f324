"""A gateway, on loopback, some of whose calls need an approval, and people who ask and approve."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from google.longrunning import operations_pb2
from pydantic import SecretBytes

from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.principal import Principal
from lro_gateway.records.location import Location
from lro_gateway.serving.http import serve_http
from tests import factory
from tests.access.policed import ByClaims, rest
from tests.contrary import REQUESTS, ContraryBackend, acknowledging, answering

AGENT: Final = Principal("agent", "https://id", "data")
ANA: Final = Principal("ana", "https://id", "data", frozenset({"oncall"}))
BEN: Final = Principal("ben", "https://id", "data", frozenset({"oncall"}))
EVE: Final = Principal("eve", "https://id", "web")
BUILD: Final = "/v1/machines:build"
GET: Final = "/v1/lines/1/machines/2"
RULES: Final[Sequence[Mapping[str, Any]]] = (
    {"allow": ["approve", "get"], "groups": ["oncall"]},
    {"allow": ["get", "wait", "cancel", "delete", "list", "start", "call"], "tenants": ["data"]},
    {"allow": ["get", "wait", "cancel", "start", "call"], "tenants": ["web"]},
)
KEY: Final = bytes(range(32))
RUNNING: Final = operations_pb2.Operation(name="jobs/1")
DONE: Final = operations_pb2.Operation(name="jobs/1", done=True)


def backend_of(address: str = "127.0.0.1:0", **handlers: Any) -> Any:
    """Open a backend whose BuildMachine starts `jobs/1`, which is done at the first read."""
    methods = {
        f"{factory.SERVICE}/BuildMachine": answering(RUNNING),
        f"{factory.SERVICE}/GetMachine": answering(factory.message("Machine", title="Press")),
    }
    operations = {"GetOperation": answering(DONE), "CancelOperation": acknowledging()}
    operations |= {name: handlers.pop(name) for name in [*handlers] if name in REQUESTS}
    given = {f"{factory.SERVICE}/{name}": each for name, each in handlers.items()}
    return ContraryBackend.open(
        operations,
        methods={**methods, **given},
        pool=factory.pool(),
        reflection_versions=("v1",),
        address=address,
    )


@dataclass
class Office:
    """A gateway that people call over REST."""

    url: str
    gateway: Gateway

    async def call(
        self, who: Principal, method: str, path: str, body: Any = None, key: str = "", **query: Any
    ) -> httpx.Response:
        headers = {"idempotency-key": key} if key else {}
        async with rest(self.url, who) as client:
            return await client.request(method, path, json=body, params=query, headers=headers)

    async def ask(self, who: Principal = AGENT, **machine: Any) -> Any:
        """Ask for a machine, and return the answer."""
        order = {**factory.ORDER, "machine": {"title": "Press", **machine}}
        answer = await self.call(who, "POST", BUILD, order)
        assert answer.is_success, answer.text
        return answer.json()

    async def get(self, who: Principal, name: str) -> Any:
        return (await self.call(who, "GET", f"/v1/{name}")).json()

    async def decide(self, who: Principal, name: str, verb: str = "approve", **body: Any) -> Any:
        """Approve or refuse; return the answer, or the reason of the refusal."""
        answer = await self.call(who, "POST", f"/v1/{name}:{verb}", body)
        return answer.json() if answer.is_success else reason_of(answer)


def reason_of(answer: httpx.Response) -> str:
    """Return the reason of an error."""
    return str(answer.json()["error"]["details"][0]["reason"])


def settings(
    location: Location,
    backend: ContraryBackend,
    rules: Sequence[Mapping[str, Any]] = RULES,
    key: bytes | None = KEY,
    **more: Any,
) -> GatewayConfig:
    """Return the configuration of an office."""
    config = GatewayConfig.model_validate(
        {
            "server": {"port": 0, "sync_grace": "0s"},
            "store": {"url": location},
            "policy": rules,
            "backends": [
                {
                    "name": "east",
                    "target": backend.target,
                    "freshness": "0s",
                    "methods": ["*/GetMachine"],
                    "approval": ["*/BuildMachine"],
                    **more,
                }
            ],
        }
    )
    keys = (SecretBytes(key),) if key is not None else ()
    server = config.server.model_copy(update={"keys": keys})
    return config.model_copy(update={"server": server})


@asynccontextmanager
async def opened(config: GatewayConfig) -> AsyncIterator[Office]:
    """Open an office."""
    async with (
        Gateway.open(config, authenticator=ByClaims()) as gateway,
        serve_http(gateway) as server,
    ):
        yield Office(server.url, gateway)


@asynccontextmanager
async def office(
    directory: Path | Location, backend: ContraryBackend, **more: Any
) -> AsyncIterator[Office]:
    """Open an office with a store in a directory, or at a location."""
    location = directory if isinstance(directory, Location) else _store(directory)
    async with opened(settings(location, backend, **more)) as found:
        yield found


def left_by_a_kill(directory: Path) -> Path:
    """Copy the store as it is, into a directory of its own: the next process finds it so."""
    copy = directory / "killed"
    copy.mkdir()
    with closing(sqlite3.connect(directory / "store.sqlite3")) as store:
        store.execute("VACUUM INTO ?", (str(copy / "store.sqlite3"),))
    return copy


def audited(file: Path) -> Iterator[tuple[str, ...]]:
    """Yield who has done what to approvals, and for whom, from an audit."""
    for line in file.read_text().splitlines():
        entry = json.loads(line)
        if entry["event"] == "approval":
            yield (entry["subject"], entry["outcome"], entry["name"], entry.get("for", ""))


def _store(directory: Path) -> Location:
    return Location(directory / "store.sqlite3")

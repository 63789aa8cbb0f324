"""A served gateway with a visibility, whose callers have static tokens of a real file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import httpx

from lro_gateway.access.identity.static_tokens import new_token
from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.mcp.answers import TaskKey
from lro_gateway.mcp.tasks.ids import TaskIds
from lro_gateway.principal import Principal
from lro_gateway.records.location import Location
from lro_gateway.serving.http import serve_http
from tests import factory
from tests.mcp.wire import Wire
from tests.stub import Stub

ALICE: Final = "alice"
TENANTS: Final[Mapping[str, str]] = {ALICE: "acme", "amy": "acme", "eve": "evil", "lone": ""}
"""The tenants of the callers. Alice starts everything."""
NOBODY: Final = "nobody"
"""A caller without a token."""


def stub() -> Stub:
    """Return a backend whose operations run until they are cancelled."""
    return Stub(factory.pool(), reads=10**9)


class Tokens:
    """Static tokens, and the file that has their hashes."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "tokens.toml"
        made = {who: new_token(who, tenant=tenant) for who, tenant in TENANTS.items()}
        self.of = {who: token for who, (token, _) in made.items()}
        self.principals = {who: entry.principal for who, (_, entry) in made.items()}
        self.file.write_text("".join(f"{entry.line}\n" for _, entry in made.values()))


@dataclass
class Caller:
    """A caller of one gateway over each face."""

    http: httpx.AsyncClient
    principal: Principal
    gateway: Gateway

    @cached_property
    def modern(self) -> Wire:
        """The client of MCP 2026-07-28."""
        return Wire(self.http, "/mcp")

    @cached_property
    def legacy(self) -> Wire:
        """The client of MCP 2025-11-25."""
        return Wire(self.http, "/mcp", "2025-11-25")

    def task(self, name: str) -> str:
        """Return the id that a task of an operation has for this caller."""
        key = TaskKey("operation", "build_machine", ("east", name))
        return TaskIds(self.gateway.sealer).seal(self.principal, key)

    async def start(self) -> str:
        """Start an operation, and return its name."""
        answer = await self.http.post("/v1/machines:build", json=dict(factory.ORDER))
        assert answer.status_code == 200, answer.text
        name: str = answer.json()["name"]
        return name

    async def ended(self) -> str:
        """Start an operation and cancel it."""
        name = await self.start()
        await self.http.post(f"/v1/{name}:cancel")
        return name


@dataclass
class Owned:
    """A gateway, and its callers by their names."""

    gateway: Gateway
    callers: Mapping[str, Caller]

    def __getitem__(self, who: str) -> Caller:
        return self.callers[who]


def configured(
    target: str,
    tokens: Path,
    location: Location | str,
    visibility: str,
    tables: Mapping[str, Any] = MappingProxyType({}),
    **backend: Any,
) -> GatewayConfig:
    """Return a configuration, as a file has it, with these tables and keys of its backend."""
    settings = {"name": "east", "target": target, "visibility": visibility, "freshness": "0s"}
    return GatewayConfig.model_validate(
        {
            "server": {"port": 0, "sync_grace": "0s"},
            "store": {"url": location},
            "auth": {"tokens": str(tokens)},
            "backends": [{**settings, **backend}],
            **tables,
        }
    )


@asynccontextmanager
async def owned(config: GatewayConfig, tokens: Tokens) -> AsyncIterator[Owned]:
    """Serve a gateway to callers with these tokens, and to one without a token."""
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(Gateway.open(config))
        server = await stack.enter_async_context(serve_http(gateway))
        callers = {}
        for who in (*TENANTS, NOBODY):
            token = tokens.of.get(who)
            headers = {"authorization": f"Bearer {token}"} if token else {}
            http = httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60)
            client = await stack.enter_async_context(http)
            principal = tokens.principals.get(who, Principal())
            callers[who] = Caller(client, principal, gateway)
        yield Owned(gateway, callers)

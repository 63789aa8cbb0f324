"""A served gateway under rules of its configuration, whose callers name themselves in a header."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.datastructures import Headers

from lro_gateway.access.authentication import Scope
from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.principal import Principal
from lro_gateway.records.location import NOWHERE, Location
from lro_gateway.serving.http import serve_http

HEADER = "x-principal"


class ByClaims:
    """Takes the claims of a caller from a header, as tests of rules need many callers."""

    async def of_request(self, scope: Scope) -> Principal:
        claims = json.loads(Headers(raw=scope["headers"]).get(HEADER, "{}"))
        for key in ("groups", "scopes"):
            claims[key] = frozenset(claims.get(key, ()))
        return Principal(**claims)

    def of_process(self) -> Principal:
        return Principal("process", "test")


def claims(caller: Principal) -> dict[str, str]:
    """Return the header with the claims of a caller."""
    found = {
        "subject": caller.subject,
        "issuer": caller.issuer,
        "tenant": caller.tenant,
        "groups": sorted(caller.groups),
        "scopes": sorted(caller.scopes),
        "client": caller.client,
    }
    return {HEADER: json.dumps(found)}


@asynccontextmanager
async def policed(
    rules: list[dict[str, Any]],
    *backends: Mapping[str, Any],
    store: Location = NOWHERE,
    limits: Mapping[str, Any] | None = None,
    **server: Any,
) -> AsyncIterator[str]:
    """Serve a gateway to these backends under these rules; yields its URL."""
    config = GatewayConfig.model_validate(
        {
            "server": {"port": 0, "sync_grace": "0s", **server},
            "store": {"url": store},
            "limits": limits or {},
            "policy": rules,
            "backends": [{"freshness": "0s", **backend} for backend in backends],
        }
    )
    async with (
        Gateway.open(config, authenticator=ByClaims()) as gateway,
        serve_http(gateway) as http_server,
    ):
        yield f"http://{http_server.address}"


def rest(url: str, caller: Principal) -> httpx.AsyncClient:
    """Return a REST client whose requests have this caller."""
    return httpx.AsyncClient(base_url=url, headers=claims(caller), timeout=60)


@asynccontextmanager
async def mcp(url: str, caller: Principal, mode: Any = "2026-07-28") -> AsyncIterator[Client]:
    """Open an MCP client whose requests have this caller."""
    async with (
        httpx2.AsyncClient(headers=claims(caller), timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client

"""A served gateway that identifies its callers by a configuration, as a user writes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from lro_gateway.access.policy import Policy
from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.serving.http import serve_http
from tests.access.authorization_server import AUDIENCE, AuthorizationServer

RESOURCE = AUDIENCE.removesuffix("/mcp")


def issuer_settings(server: AuthorizationServer, **settings: Any) -> dict[str, Any]:
    """Return an entry of `[[auth.issuers]]` for a server."""
    return {
        "issuer": server.issuer,
        "ca": str(server.ca),
        "claims": {"tenant": "org_id"},
        **settings,
    }


@asynccontextmanager
async def identifying(
    auth: Mapping[str, Any],
    *backends: Mapping[str, Any],
    directory: Path | None = None,
    deciding: Policy | None = None,
    server: Mapping[str, Any] | None = None,
    **tables: Any,
) -> AsyncIterator[tuple[Gateway, str]]:
    """Serve a gateway with this table `[auth]`; yields it and its URL.

    Paths in the settings are relative to the directory.
    """
    settings: dict[str, Any] = {
        "server": {"port": 0, "sync_grace": "0s", **(server or {})},
        "auth": {"resource": RESOURCE, **auth},
        "backends": [{"freshness": "0s", **backend} for backend in backends],
        **tables,
    }
    config = GatewayConfig.model_validate(settings, context={"base": directory or Path()})
    async with Gateway.open(config, policy=deciding) as gateway, serve_http(gateway) as http_server:
        yield gateway, f"http://{http_server.address}"


def bearing(url: str, token: str = "") -> httpx.AsyncClient:
    """Return a REST client whose requests have this token, if it is not empty."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=60)


class Bearing(httpx2.Auth):
    """Gives each request the present token, which may change."""

    def __init__(self, token: str) -> None:
        self.token = token

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response]:
        """Send the request once, with the token."""
        request.headers["authorization"] = f"Bearer {self.token}"
        yield request


@asynccontextmanager
async def agent(url: str, token: str | Bearing, mode: Any = "2026-07-28") -> AsyncIterator[Client]:
    """Open an MCP client whose requests have this token."""
    bearing = token if isinstance(token, Bearing) else Bearing(token)
    async with (
        httpx2.AsyncClient(auth=bearing, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client

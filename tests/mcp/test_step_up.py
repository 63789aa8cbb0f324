"""A call that needs other scopes is answered with HTTP status 403, over MCP and over REST."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lro_gateway.access.policy import Action
from lro_gateway.errors import Code, status_error
from lro_gateway.principal import Principal
from tests.access.authorization_server import AuthorizationServer
from tests.access.callers_of import bearing, identifying, issuer_settings
from tests.access.guarded import Recording

CHALLENGE = (
    'Bearer error="insufficient_scope", scope="read start", error_description="you need scopes",'
    ' resource_metadata="https://gateway.test/.well-known/oauth-protected-resource'
)


@dataclass
class NeedsScopes(Recording):
    """A policy that refuses a caller without the scopes, as the rules of a configuration do."""

    async def authorize(self, caller: Principal, action: Action, /) -> str:
        needed = {"scopes": "read start"}
        if not caller.scopes >= {"read", "start"}:
            raise status_error(
                Code.PERMISSION_DENIED, "you need scopes", "INSUFFICIENT_SCOPE", metadata=needed
            )
        return await super().authorize(caller, action)


@asynccontextmanager
async def refusing(directory: Path) -> AsyncIterator[tuple[str, AuthorizationServer]]:
    """Serve a gateway whose policy needs two scopes; yields its URL and the issuer."""
    async with AuthorizationServer.open(directory) as issuer:
        backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": []}
        auth = {"issuers": [issuer_settings(issuer)]}
        async with identifying(auth, backend, deciding=NeedsScopes()) as (_, url):
            yield url, issuer


def message(method: str, **params: Any) -> dict[str, Any]:
    """Return a request of a method."""
    return {"jsonrpc": "2.0", "id": "seven", "method": method, "params": params}


def tool(name: str, /, **arguments: Any) -> dict[str, Any]:
    """Return a call of a tool."""
    return message("tools/call", name=name, arguments=arguments)


META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
CALLS: dict[str, dict[str, Any]] = {
    "get": tool("get_operation", name="jobs/1"),
    "list": tool("list_operations"),
    "cancel": tool("cancel_operation", name="jobs/1"),
    "resource": message("resources/read", uri="operation://b/jobs/1"),
}


@pytest.mark.parametrize("version", ["2026-07-28", "2025-11-25"])
@pytest.mark.parametrize("name", CALLS)
async def test_a_post_gets_403_and_all_scopes_in_one_challenge(
    name: str, version: str, tmp_path: Path
) -> None:
    """The body is a JSON-RPC error with the id of the request."""
    call = CALLS[name]
    headers = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": version,
        "mcp-method": call["method"],
    }
    params = call["params"]
    if version == "2026-07-28":
        params = {**params, "_meta": META}
        headers["mcp-name"] = params.get("name", params.get("uri", ""))
    async with refusing(tmp_path) as (url, issuer):
        async with bearing(url, issuer.signer.token(scope="read")) as client:
            refused = await client.post("/mcp", json={**call, "params": params}, headers=headers)
        async with bearing(url, issuer.signer.token(scope="read start")) as client:
            allowed = await client.post("/mcp", json={**call, "params": params}, headers=headers)
    assert refused.status_code == 403, refused.text
    assert refused.headers["www-authenticate"] == f'{CHALLENGE}/mcp"'
    assert refused.headers["content-type"] == "application/json"
    body = refused.json()
    assert (body["id"], body["error"]["message"]) == ("seven", "you need scopes")
    assert body["error"]["data"]["details"][0]["reason"] == "INSUFFICIENT_SCOPE"
    assert allowed.status_code != 403
    assert "www-authenticate" not in allowed.headers


async def test_rest_gets_the_same_challenge(tmp_path: Path) -> None:
    """The body is Google's."""
    async with (
        refusing(tmp_path) as (url, issuer),
        bearing(url, issuer.signer.token()) as client,
    ):
        refused = await client.get("/v1/jobs/1")
    assert refused.status_code == 403
    assert refused.headers["www-authenticate"] == f'{CHALLENGE}"'
    assert refused.json()["error"]["status"] == "PERMISSION_DENIED"

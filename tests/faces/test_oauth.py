"""The OAuth flow of the MCP client, from the first 401 to a call, against a real issuer."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from pydantic import AnyUrl

from tests.access.authorization_server import AuthorizationServer
from tests.access.callers_of import identifying, issuer_settings
from tests.mcp.test_step_up import NeedsScopes

CALLBACK = "http://localhost:1/callback"


class Storage:
    """Keeps the tokens and the registration of a client in memory."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Person:
    """A person who agrees in a browser, which follows the redirect to the client."""

    def __init__(self, browser: httpx2.AsyncClient) -> None:
        self._browser = browser
        self._answer: dict[str, list[str]] = {}
        self.asked: list[dict[str, list[str]]] = []

    async def open(self, url: str) -> None:
        self.asked.append(parse_qs(urlsplit(url).query))
        redirect = await self._browser.get(url)
        self._answer = parse_qs(urlsplit(redirect.headers["location"]).query)

    async def return_to_client(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult(code=self._answer["code"][0], state=self._answer["state"][0])


async def test_a_client_signs_in_and_asks_for_more_scopes_when_a_call_needs_them(
    tmp_path: Path,
) -> None:
    """It finds the issuer by the gateway's metadata, and registers itself.

    The token is for this gateway, whose address nobody has configured. The first token has the
    scope that the gateway announces. A call needs another one, so the client signs in again.
    """
    policy = NeedsScopes()
    backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": []}
    async with AuthorizationServer.open(tmp_path) as issuer:
        auth = {"resource": "", "scopes": ["read"], "issuers": [issuer_settings(issuer)]}
        async with (
            identifying(auth, backend, deciding=policy) as (_, url),
            httpx2.AsyncClient(verify=issuer.trust()) as browser,
        ):
            person, storage = Person(browser), Storage()
            provider = OAuthClientProvider(
                server_url=f"{url}/mcp",
                client_metadata=OAuthClientMetadata(
                    redirect_uris=[AnyUrl(CALLBACK)], client_name="test"
                ),
                storage=storage,
                redirect_handler=person.open,
                callback_handler=person.return_to_client,
            )
            async with (
                httpx2.AsyncClient(auth=provider, verify=issuer.trust(), timeout=60) as http,
                Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
            ):
                listed = await client.list_tools()
                result = await client.call_tool("get_operation", {"name": "jobs/1"})
    assert "get_operation" in {tool.name for tool in listed.tools}
    assert [asked["scope"] for asked in person.asked] == [["read"], ["read start"]]
    assert {asked["resource"][0] for asked in person.asked} == {f"{url}/mcp"}
    assert storage.tokens is not None
    claims = issuer.verified(storage.tokens.access_token)
    assert (claims["sub"], claims["aud"], claims["scope"]) == ("alice", f"{url}/mcp", "read start")
    assert result.is_error
    assert "cannot be reached" in str(result.content)
    assert {(caller.issuer, caller.subject) for caller, _ in policy.actions} == {
        (issuer.issuer, "alice")
    }

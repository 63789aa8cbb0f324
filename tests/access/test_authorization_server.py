"""The authorization server of the tests does what its clients rely on."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.access.authorization_server import AUDIENCE, AuthorizationServer
from tests.access.oauth_grants import ACCESS_TOKEN, EXCHANGE

CALLER = ("backend-caller", "let-me-in")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AuthorizationServer]:
    """Yield a running server."""
    async with AuthorizationServer.open(tmp_path) as opened:
        yield opened


@pytest.fixture
async def client(server: AuthorizationServer) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that trusts the server."""
    async with httpx.AsyncClient(base_url=server.issuer, verify=server.trust()) as opened:
        yield opened


async def test_client_credentials(server: AuthorizationServer, client: httpx.AsyncClient) -> None:
    """A client with a secret gets a token of its own. A wrong secret is refused."""
    form = {"grant_type": "client_credentials", "scope": "read", "audience": "db"}
    answer = (await client.post("/token", data=form, auth=CALLER)).json()
    claims = server.verified(answer["access_token"])
    assert (claims["sub"], claims["aud"], claims["scope"]) == ("backend-caller", "db", "read")
    refused = await client.post("/token", data=form, auth=("backend-caller", "wrong"))
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


async def test_token_exchange(server: AuthorizationServer, client: httpx.AsyncClient) -> None:
    """The new token has the subject of the old one, and another audience."""
    form = {
        "grant_type": EXCHANGE,
        "subject_token": server.signer.token(org_id="data"),
        "subject_token_type": ACCESS_TOKEN,
        "audience": "billing",
    }
    answer = (await client.post("/token", data=form, auth=CALLER)).json()
    claims = server.verified(answer["access_token"])
    assert (claims["sub"], claims["org_id"], claims["aud"]) == ("alice", "data", "billing")
    assert claims["act"] == {"sub": "backend-caller"}
    assert answer["issued_token_type"] == ACCESS_TOKEN
    for change, error in (
        ({"subject_token": server.signer.expired()}, "invalid_grant"),
        ({"subject_token": server.signer.forged()}, "invalid_grant"),
        ({"audience": "refused"}, "invalid_target"),
    ):
        refused = await client.post("/token", data={**form, **change}, auth=CALLER)
        assert (refused.status_code, refused.json()["error"]) == (400, error)


async def test_code_with_pkce(server: AuthorizationServer, client: httpx.AsyncClient) -> None:
    """A client registers, gets a code for Alice, and changes it for a token of the resource."""
    callback = "http://localhost:1/callback"
    metadata = {"redirect_uris": [callback], "token_endpoint_auth_method": "none"}
    registered = (await client.post("/register", json=metadata)).json()
    verifier = "v" * 64
    digest = hashlib.sha256(verifier.encode()).digest()
    query = {
        "response_type": "code",
        "client_id": registered["client_id"],
        "redirect_uri": callback,
        "scope": "read",
        "state": "s",
        "resource": AUDIENCE,
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    redirect = await client.get("/authorize", params=query)
    found: dict[str, Any] = parse_qs(urlsplit(redirect.headers["location"]).query)
    assert found["state"] == ["s"]
    form = {
        "grant_type": "authorization_code",
        "code": found["code"][0],
        "client_id": registered["client_id"],
        "redirect_uri": callback,
        "code_verifier": verifier,
    }
    refused = await client.post("/token", data={**form, "code_verifier": "w" * 64})
    assert refused.json()["error"] == "invalid_grant"
    answer = (await client.post("/token", data=form)).json()
    claims = server.verified(answer["access_token"])
    assert (claims["sub"], claims["aud"], claims["scope"]) == ("alice", AUDIENCE, "read")
    assert (await client.post("/token", data=form)).json()["error"] == "invalid_grant"


async def test_keys_rotate_and_the_server_goes_away(
    server: AuthorizationServer, client: httpx.AsyncClient
) -> None:
    """A test can publish another key, take one back, and switch the server off and on."""
    first = server.signer.key
    server.signer.rotate("RSA")
    document = (await client.get("/.well-known/openid-configuration")).json()
    assert document["issuer"] == server.issuer
    jwks = (await client.get(document["jwks_uri"])).json()
    assert [key["kty"] for key in jwks["keys"]] == ["EC", "RSA"]
    assert not any({"d", "p", "q"} & set(key) for key in jwks["keys"])
    server.signer.published.remove(first)
    assert len((await client.get(document["jwks_uri"])).json()["keys"]) == 1
    server.is_down = True
    assert (await client.get(document["jwks_uri"])).status_code == 503
    server.is_down, server.has_no_keys = False, True
    assert (await client.get(document["jwks_uri"])).status_code == 503
    assert (await client.get("/.well-known/openid-configuration")).status_code == 200
    assert server.count("/jwks") == 4

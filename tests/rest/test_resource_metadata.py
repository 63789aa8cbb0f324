"""The metadata of the gateway for OAuth clients (RFC 9728), and the pages that need no token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lro_gateway.access.identity.static_tokens import new_token
from tests.access.callers_of import bearing, identifying

ISSUER = {"issuer": "http://127.0.0.1:1"}
PLACE = "/.well-known/oauth-protected-resource"


@pytest.mark.parametrize(("path", "end"), [("", ""), ("/mcp", "/mcp")])
async def test_the_metadata_is_at_both_places(path: str, end: str) -> None:
    """No token is needed."""
    auth = {"issuers": [ISSUER], "scopes": ["read"]}
    rules: Any = [{"allow": ["start"], "scopes": ["start"]}, {"allow": ["get"], "scopes": ["read"]}]
    async with identifying(auth, policy=rules) as (_, url), bearing(url) as client:
        found = await client.get(PLACE + path)
        assert found.status_code == 200
        assert found.headers["cache-control"] == "max-age=300"
        assert found.json() == {
            "resource": f"https://gateway.test{end}",
            "authorization_servers": ["http://127.0.0.1:1"],
            "bearer_methods_supported": ["header"],
            "resource_name": "lro-gateway",
            "scopes_supported": ["read", "start"],
        }
        assert (await client.head(PLACE + path)).status_code == 200


async def test_behind_a_proxy_the_addresses_are_the_public_ones() -> None:
    """This holds for the metadata and for the challenge, with a prefix too."""
    server = {"trusted_proxies": ["127.0.0.1"], "allowed_hosts": ["lro.test"], "root_path": "/lro"}
    headers = {
        "host": "127.0.0.1",
        "x-forwarded-host": "lro.test",
        "x-forwarded-proto": "https",
        "x-forwarded-for": "192.0.2.7",
    }
    auth = {"resource": "", "issuers": [ISSUER]}
    async with identifying(auth, server=server) as (_, url), bearing(url) as client:
        client.headers.update(headers)
        refused = await client.post("/mcp", json={})
        assert refused.status_code == 401
        place = f"https://lro.test/lro{PLACE}/mcp"
        assert refused.headers["www-authenticate"] == f'Bearer resource_metadata="{place}"'
        for path in (f"{PLACE}/mcp", f"/lro{PLACE}/mcp", f"{PLACE}/lro/mcp"):
            found = await client.get(path)
            assert found.json()["resource"] == "https://lro.test/lro/mcp"
        assert (await client.get(PLACE)).json()["resource"] == "https://lro.test/lro"


async def test_static_tokens_alone_have_no_metadata(tmp_path: Path) -> None:
    """There is no authorization server that a client could ask."""
    token, entry = new_token("ci")
    (tmp_path / "tokens.toml").write_text(entry.line)
    auth = {"tokens": "tokens.toml"}
    async with identifying(auth, directory=tmp_path) as (_, url):
        async with bearing(url) as client:
            refused = await client.get("/openapi.json")
            assert refused.headers["www-authenticate"] == "Bearer"
        async with bearing(url, token) as client:
            assert (await client.get(PLACE)).status_code == 404


OPEN: dict[str, int] = dict.fromkeys(("/", "/console.js", "/console.css", "/docs", "/livez"), 200)
CLOSED = ("/v1/operations", "/openapi.json", "/metrics", "/mcp", "/other", "/v1/a/b:watch")


async def test_only_pages_without_data_need_no_token() -> None:
    """The pages at `/` and `/docs` load their files, so that a person can enter a token."""
    async with identifying({"issuers": [ISSUER]}) as (_, url), bearing(url) as client:
        found: dict[str, Any] = {p: (await client.get(p)).status_code for p in (*OPEN, *CLOSED)}
    assert found == {**OPEN, **dict.fromkeys(CLOSED, 401)}


async def test_only_identified_callers_see_the_addresses_of_backends(tmp_path: Path) -> None:
    """`/readyz` needs no token, because probes have none."""
    token, entry = new_token("ci")
    (tmp_path / "tokens.toml").write_text(entry.line)
    backend = {"name": "east", "target": "127.0.0.1:1", "descriptors": []}
    async with identifying({"tokens": "tokens.toml"}, backend, directory=tmp_path) as (_, url):
        for sent, sees in (("", False), (new_token("ci")[0], False), (token, True)):
            async with bearing(url, sent) as client:
                found = await client.get("/readyz")
            (east,) = found.json()["backends"]
            assert found.status_code == 503
            assert (east["name"], east["status"]) == ("east", "UNREACHABLE")
            assert ("127.0.0.1:1" in found.text) is sees
            assert set(east) - {"name", "status"} == ({"target", "message"} if sees else set())

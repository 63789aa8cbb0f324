"""Bearer tokens of requests, against a real authorization server and through a served gateway."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from lro_gateway.access.identity.bearer import LONGEST_TOKEN, VerifiedTokens
from lro_gateway.access.identity.static_tokens import new_token
from lro_gateway.principal import Principal
from tests.access.authorization_server import AuthorizationServer
from tests.access.callers_of import bearing, identifying, issuer_settings
from tests.access.token_signer import TokenSigner

PATH = "/openapi.json"


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[AuthorizationServer]:
    """Yield a running authorization server."""
    async with AuthorizationServer.open(tmp_path) as server:
        yield server


async def answer(url: str, headers: Any, path: str = PATH) -> tuple[int, str, str]:
    """Return the status, the reason and the challenge of an answer."""
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        response = await client.get(path)
    if response.is_success:
        return response.status_code, "", ""
    info, *_ = response.json()["error"]["details"]
    return response.status_code, info["reason"], response.headers.get("www-authenticate", "")


async def with_token(url: str, token: str) -> str:
    """Return the reason of the answer to a request with a token, or `""` for a success."""
    return (await answer(url, {"authorization": f"Bearer {token}"}))[1]


REASONS: dict[str, tuple[Callable[[TokenSigner], str], str]] = {
    "valid": (TokenSigner.token, ""),
    "expired": (TokenSigner.expired, "TOKEN_EXPIRED"),
    "not yet valid": (TokenSigner.not_yet_valid, "TOKEN_NOT_YET_VALID"),
    "wrong audience": (lambda s: s.token(aud="https://other.test"), "TOKEN_WRONG_AUDIENCE"),
    "wrong issuer": (lambda s: s.token(iss="https://other.test"), "TOKEN_WRONG_ISSUER"),
    "issuer that is no text": (lambda s: s.unsigned(iss=["a"]), "TOKEN_WRONG_ISSUER"),
    "unsigned": (TokenSigner.unsigned, "TOKEN_WRONG_ALGORITHM"),
    "HS256": (TokenSigner.signed_with_public_key, "TOKEN_WRONG_ALGORITHM"),
    "unknown key": (TokenSigner.of_unknown_key, "TOKEN_UNKNOWN_KEY"),
    "forged": (TokenSigner.forged, "TOKEN_WRONG_SIGNATURE"),
    "nested": (lambda s: s.token(deep="[" * 10_000), ""),
    "endless": (lambda s: s.token(exp=1e300), ""),
    "too large an end": (lambda s: s.token(exp=math.inf), "TOKEN_MALFORMED"),
    "no JWT": (lambda _: "opaque", "TOKEN_MALFORMED"),
    "three parts": (lambda _: "a.b.c", "TOKEN_MALFORMED"),
    "static": (lambda _: new_token("a")[0], "TOKEN_MALFORMED"),
}


async def test_each_bad_token_is_refused_and_none_is_echoed(
    issuer: AuthorizationServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer and the log say why, and have no part of the token."""
    caplog.set_level(logging.DEBUG, "lro_gateway")
    found = {}
    async with identifying({"issuers": [issuer_settings(issuer)]}) as (_, url):
        for name, (make, _) in REASONS.items():
            token = make(issuer.signer)
            async with bearing(url, token) as client:
                response = await client.get(PATH)
            error = response.json().get("error", {"details": [{"reason": ""}]})
            found[name] = error["details"][0]["reason"]
            texts = response.text + str(response.headers) + caplog.text
            assert not any(part in texts for part in token.split(".") if len(part) > 6)
            assert error.get("message", "") in caplog.text
    assert found == {name: reason for name, (_, reason) in REASONS.items()}


FACES = (
    ("GET", "/v1/jobs/1"),
    ("GET", "/v1/jobs/1:watch"),
    ("GET", "/v1/operations?summary=true"),
    ("POST", "/v1/factory.v1.Factory/BuildMachine"),
    ("POST", "/v1:explain"),
    ("POST", "/mcp"),
    ("GET", "/openapi.json"),
    ("GET", "/metrics"),
)


async def test_each_bad_token_is_refused_over_each_face(issuer: AuthorizationServer) -> None:
    """With 401, the same reason and a challenge, before the face reads the request."""
    wrong = []
    async with identifying({"issuers": [issuer_settings(issuer)]}) as (_, url):
        for name, (make, reason) in REASONS.items():
            if not reason:
                continue
            async with bearing(url, make(issuer.signer)) as client:
                for method, path in FACES:
                    response = await client.request(method, path)
                    told = response.json()["error"]["details"][0]["reason"]
                    challenge = response.headers.get("www-authenticate", "")
                    found = (response.status_code, told, challenge.partition(" ")[0])
                    if found != (401, reason, "Bearer"):
                        wrong.append((name, method, path, found))
    assert wrong == []


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([], "CREDENTIALS_MISSING"),
        ([("authorization", "Bearer a"), ("authorization", "Bearer b")], "CREDENTIALS_MALFORMED"),
        ([("authorization", "Basic YTpi")], "CREDENTIALS_MALFORMED"),
        ([("authorization", "Bearer")], "CREDENTIALS_MALFORMED"),
        ([("authorization", "")], "CREDENTIALS_MALFORMED"),
        ([("authorization", "Bearer a b")], "CREDENTIALS_MALFORMED"),
        ([("authorization", b"Bearer \xff\xfe")], "CREDENTIALS_MALFORMED"),
        ([("authorization", "Bearer " + "a" * (LONGEST_TOKEN + 1))], "CREDENTIALS_MALFORMED"),
        ([("authorization", "Bearer " + "a" * LONGEST_TOKEN)], "TOKEN_MALFORMED"),
        ([("authorization", "bearer   a.b.c")], "TOKEN_MALFORMED"),
    ],
)
async def test_a_header_that_cannot_be_read_is_refused(
    headers: Any, reason: str, issuer: AuthorizationServer
) -> None:
    """The name of the scheme has no case (RFC 9110)."""
    async with identifying({"issuers": [issuer_settings(issuer)]}) as (_, url):
        status, found, challenge = await answer(url, headers)
    assert (status, found) == (401, reason)
    metadata = "https://gateway.test/.well-known/oauth-protected-resource"
    assert challenge.endswith(f'resource_metadata="{metadata}"')
    kinds = {"CREDENTIALS_MALFORMED": "invalid_request", "TOKEN_MALFORMED": "invalid_token"}
    kind = kinds.get(reason)
    assert challenge.startswith(f'Bearer error="{kind}"' if kind else "Bearer resource_metadata=")


@pytest.mark.parametrize(
    "query",
    [
        *("access_token=x", "a=b&access_token=x", "access_token", "oauth_token=x"),
        *("access%5ftoken=x", "a=b&%61ccess_token=x", "$access_token=x", "%24oauth%5Ftoken=x"),
    ],
)
async def test_a_token_in_the_query_is_refused(query: str, issuer: AuthorizationServer) -> None:
    """This holds although the header has a valid token too, and however the name is encoded."""
    async with identifying({"issuers": [issuer_settings(issuer)]}) as (_, url):
        headers = {"authorization": f"Bearer {issuer.signer.token()}"}
        assert (await answer(url, headers, f"{PATH}?{query}"))[:2] == (401, "TOKEN_IN_QUERY")
        for other in ("my_access_token=x", "key=%26access_token=x", "key=access_token"):
            assert (await answer(url, headers, f"{PATH}?{other}"))[1] != "TOKEN_IN_QUERY"


async def test_a_new_key_is_used_at_once_and_a_removed_one_ends_its_tokens(
    issuer: AuthorizationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that was verified before is refused too."""
    monkeypatch.setattr("lro_gateway.access.identity.key_cache._BETWEEN_LOOKS", 3600.0)
    auth = {"issuers": [issuer_settings(issuer)]}
    async with identifying(auth) as (gateway, url):
        old = issuer.signer.token()
        assert await with_token(url, old) == ""
        issuer.signer.rotate(keep_old=False)
        assert await with_token(url, issuer.signer.token()) == ""
        assert await with_token(url, old) == "TOKEN_UNKNOWN_KEY"
        fetches = issuer.count("/jwks")
        await asyncio.gather(*(with_token(url, issuer.signer.of_unknown_key()) for _ in range(20)))
        assert issuer.count("/jwks") == fetches
        (keys,) = gateway.callers.keys
        await keys.refresh()
        assert await with_token(url, issuer.signer.token()) == ""


async def test_an_outage_of_the_issuer_hurts_only_before_the_first_keys(
    issuer: AuthorizationServer,
) -> None:
    """Then the status is 503, without a challenge, so that no client signs in again."""
    auth = {"issuers": [issuer_settings(issuer)]}
    issuer.is_down = True
    headers = {"authorization": f"Bearer {issuer.signer.token()}"}
    async with identifying(auth) as (gateway, url):
        assert await answer(url, headers) == (503, "ISSUER_UNAVAILABLE", "")
        issuer.is_down = False
        (keys,) = gateway.callers.keys
        await keys.refresh()
        assert await answer(url, headers) == (200, "", "")
        issuer.is_down = True
        await keys.refresh()
        other = {"authorization": f"Bearer {issuer.signer.token(sub='bob')}"}
        assert await answer(url, headers) == (200, "", "")
        assert await answer(url, other) == (200, "", "")


async def test_without_a_resource_the_audience_is_the_url_of_the_request(
    issuer: AuthorizationServer,
) -> None:
    """A token for one host of the gateway is not valid at another."""
    auth = {"resource": "", "issuers": [issuer_settings(issuer)]}
    async with identifying(auth, server={"allowed_hosts": ["gw.test"]}) as (_, url):
        for audience in (url, f"{url}/", f"{url}/mcp"):
            assert await with_token(url, issuer.signer.token(aud=audience)) == ""
        token = issuer.signer.token(aud="http://gw.test/mcp")
        assert await with_token(url, token) == "TOKEN_WRONG_AUDIENCE"
        headers = {"authorization": f"Bearer {token}", "host": "GW.test"}
        assert (await answer(url, headers))[0] == 200
        status, _, challenge = await answer(url, {"host": "gw.test"})
        assert status == 401
        assert 'resource_metadata="http://gw.test/.well-known/' in challenge


async def test_static_tokens_and_issuers_go_together(
    issuer: AuthorizationServer, tmp_path: Path
) -> None:
    """Each token is looked up where it belongs."""
    token, entry = new_token("ci")
    (tmp_path / "tokens.toml").write_text(entry.line)
    auth = {"issuers": [issuer_settings(issuer)], "tokens": "tokens.toml"}
    async with identifying(auth, directory=tmp_path) as (_, url):
        assert await with_token(url, token) == ""
        assert await with_token(url, issuer.signer.token()) == ""
        assert await with_token(url, new_token("ci")[0]) == "TOKEN_UNKNOWN"


def test_verified_tokens_are_kept_until_they_end() -> None:
    """They are kept for one address of the gateway, and by a digest."""
    verified = VerifiedTokens()
    alice, bob = Principal("alice", "i", expires=10.0), Principal("bob", "j", expires=10.0)
    verified.put(b"secret", "https://a", alice)
    verified.put(b"other", "https://a", bob)
    assert verified.get(b"secret", "https://a", 9.9) is alice
    assert verified.get(b"secret", "https://a", 10.0) is None
    assert verified.get(b"secret", "https://b", 0.0) is None
    assert "secret" not in repr(vars(verified))
    verified.forget("i")
    assert verified.get(b"secret", "https://a", 0.0) is None
    assert verified.get(b"other", "https://a", 0.0) is bob

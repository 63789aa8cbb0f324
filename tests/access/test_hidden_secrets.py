"""Secrets of the configuration and of requests are in no text that the gateway writes."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from lro_gateway.access.identity.static_tokens import new_token
from lro_gateway.commands import check as checking
from lro_gateway.commands.check_words import lines
from lro_gateway.gateway import Gateway
from tests.access.authorization_server import AuthorizationServer
from tests.access.callers_of import bearing, identifying, issuer_settings
from tests.backends.credentials.recording import oauth, recording, shown

_METADATA = "planted-metadata"
_BEARER_FILE = "planted-bearer-of-a-file"
_JUNK = "planted-junk-token"
_IN_QUERY = "planted-token-in-a-query"
_TESTS_OWN = frozenset({"authlib", "httpx"})
_KEY = b"planted-key-of-the-gateway-00000"
_PATHS = ("/v1/jobs/1", "/v1/operations", "/openapi.json", "/readyz", "/metrics", "/docs", "/nope")


@pytest.fixture
async def issuer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AuthorizationServer]:
    """Yield a running authorization server, whose client has a secret."""
    monkeypatch.setenv("TEST_CLIENT_SECRET", "let-me-in")
    async with AuthorizationServer.open(tmp_path) as server:
        yield server


async def _answers(url: str, tokens: Iterable[str]) -> list[str]:
    """Return all that the gateway answers to these tokens, on each face."""
    texts = []
    for token in tokens:
        async with bearing(url, token) as client:
            answers = [await client.get(path) for path in _PATHS]
            answers.append(await client.get("/v1/jobs/1", params={"access_token": _IN_QUERY}))
            answers.append(await client.post("/v1/jobs/1:cancel"))
            answers.append(await client.get("/v1/-", params={"name": "//away/jobs/1"}))
            call = {"name": "get_operation", "arguments": {"name": "//away/jobs/1"}}
            answers.append(await client.post("/mcp", json={"method": "tools/call", "params": call}))
        texts += [f"{each.status_code} {each.headers} {each.text}" for each in answers]
    return texts


async def _checked(gateway: Gateway) -> str:
    found = await checking.check(gateway, listens=False)
    return "\n".join(line.text for line in lines(found))


async def test_no_secret_is_in_any_text(
    issuer: AuthorizationServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log, the audit, answers, metrics, documents, `check` and each repr have none."""
    caplog.set_level(logging.DEBUG)
    static, entry = new_token("ci")
    (tmp_path / "tokens.toml").write_text(entry.line)
    (tmp_path / "bearer").write_text(_BEARER_FILE)
    (tmp_path / "key").write_text(base64.b64encode(_KEY).decode())
    tokens = [
        *(issuer.signer.token(sub="alice"), issuer.signer.expired(), issuer.signer.forged()),
        *(static, static.replace("lro_", "lro_x"), _JUNK),
    ]
    auth = {"issuers": [issuer_settings(issuer)], "tokens": "tokens.toml"}
    async with recording() as backend:
        near = {
            "name": "near",
            "target": backend.target,
            "operations": ["jobs/*"],
            "metadata": {"x-api-key": _METADATA},
            "credentials": {"token_exchange": oauth(issuer, audience="jobs")},
        }
        away = {
            "name": "away",
            "target": "127.0.0.1:1",
            "operations": ["away/*"],
            "deadline": "0.2s",
            "credentials": {"bearer_file": "bearer"},
        }
        async with identifying(
            auth,
            near,
            away,
            directory=tmp_path,
            server={"keys": ["key"]},
            audit={"to": f"file:{tmp_path / 'audit'}"},
        ) as (gateway, url):
            texts = await _answers(url, tokens)
            texts.append(await _checked(gateway))
            texts += [repr(gateway), repr(gateway.config), str(gateway.config)]
        exchanged = {str(each).removeprefix("Bearer ") for each in shown(backend, "GetOperation")}
    # The authorization server and the client of the test have logs of their own.
    written = [each for each in caplog.records if each.name.partition(".")[0] not in _TESTS_OWN]
    texts += map(logging.Formatter().format, written)
    texts.append(await asyncio.to_thread((tmp_path / "audit").read_text))
    assert exchanged
    secrets = {
        *(_METADATA, _BEARER_FILE, _JUNK, _IN_QUERY, "let-me-in", _KEY.decode()),
        base64.b64encode(_KEY).decode(),
        *(part for token in (*tokens, *exchanged) for part in token.split(".")[1:]),
        *(static, static.rpartition("_")[2]),
    }
    found = [(secret, text[:200]) for secret in secrets for text in texts if secret in text]
    assert found == []
    assert "alice" in texts[-1]

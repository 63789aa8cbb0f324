"""Google's Application Default Credentials, with a service account whose tokens the test issues."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lro_gateway.backends.credentials.failures import CredentialsError
from lro_gateway.backends.credentials.google_tokens import GoogleTokens
from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.verb_requests import NameRequest
from tests.backends.credentials.recording import recording, shown


class TokenServer:
    """Answers each request of a token over HTTP with the same status and JSON."""

    def __init__(self) -> None:
        self.status = "200 OK"
        self.answer: dict[str, Any] = {"access_token": "ya29.sesame", "expires_in": 3600}
        self.assertions: list[dict[str, Any]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].split()[0])
        form = parse_qs((await reader.readexactly(length)).decode())
        assertion = jwt.decode(form["assertion"][0], options={"verify_signature": False})
        self.assertions.append(assertion)
        body = json.dumps(self.answer)
        writer.write(
            f"HTTP/1.1 {self.status}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode()
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def account(file: Path) -> AsyncIterator[TokenServer]:
    """Write the key of a service account, and serve its token server."""
    answering = TokenServer()
    async with await asyncio.start_server(answering, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
        content = {
            "type": "service_account",
            "client_email": "jobs@acme.test",
            "private_key": pem,
            "private_key_id": "1",
            "token_uri": f"http://127.0.0.1:{port}/token",
        }
        await asyncio.to_thread(file.write_text, json.dumps(content))
        yield answering


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TokenServer]:
    """Yield the token server of the service account that the environment names."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    async with account(tmp_path / "account.json") as running:
        yield running


async def test_an_access_token_has_the_scopes_of_the_configuration(server: TokenServer) -> None:
    """The backend gets it with each call."""
    google = {"google": {"scopes": ["https://scopes.test/jobs"]}}
    async with recording() as backend:
        table = {"name": "b", "target": backend.target, "descriptors": [], "credentials": google}
        async with Gateway.open(GatewayConfig.model_validate({"backends": [table]})) as gateway:
            await gateway.service.get(ANONYMOUS, NameRequest("jobs/1"))
    assert shown(backend, "GetOperation") == ["Bearer ya29.sesame"]
    assert [each["scope"] for each in server.assertions] == ["https://scopes.test/jobs"]


async def test_an_id_token_is_for_the_audience_and_lasts_as_it_says(server: TokenServer) -> None:
    """Services behind an identity-aware proxy want ID tokens."""
    issued = jwt.encode({"exp": int(time.time()) + 3000, "aud": "jobs"}, "s" * 32)
    server.answer = {"id_token": issued}
    token = await GoogleTokens((), "jobs").fetch()
    assert token.value == issued
    assert server.assertions[0]["target_audience"] == "jobs"
    assert 2900 < token.ends_in < 3000


async def test_a_refusal_is_told_without_the_answer(server: TokenServer) -> None:
    """The text is Google's own, on one line."""
    server.status = "400 Bad Request"
    server.answer = {"error": "invalid_grant", "error_description": "the account\nis disabled"}
    with pytest.raises(CredentialsError) as caught:
        await GoogleTokens(("s",)).fetch()
    text = "Google issued no token: invalid_grant: the account is disabled"
    assert (str(caught.value), caught.value.passes) == (text, False)


async def test_missing_credentials_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names a file that does not exist."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/none/account.json")
    with pytest.raises(CredentialsError, match="there are no Application Default Credentials"):
        await GoogleTokens(("s",)).fetch()

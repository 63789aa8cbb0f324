"""Token exchange: each caller's identity reaches the backend, and no caller's token does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import jwt
import pytest

from lro_gateway.access.identity.static_tokens import new_token
from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from tests.access.authorization_server import AuthorizationServer
from tests.access.callers_of import bearing, identifying, issuer_settings
from tests.backends.credentials.recording import DONE, RUNNING, oauth, recording, shown
from tests.contrary import ContraryBackend, Handler, refusing
from tests.counting import Counting


@pytest.fixture
async def server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AuthorizationServer]:
    """Yield a running authorization server."""
    monkeypatch.setenv("TEST_CLIENT_SECRET", "let-me-in")
    async with AuthorizationServer.open(tmp_path) as running:
        yield running


@asynccontextmanager
async def exchanging(
    server: AuthorizationServer,
    handlers: dict[str, Handler] | None = None,
    auth: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[tuple[ContraryBackend, Gateway, str]]:
    """Serve a gateway that exchanges its callers' tokens for those of one backend."""
    exchange = {"token_exchange": oauth(server, audience="jobs")}
    async with recording(handlers) as backend:
        table = {"name": "b", "target": backend.target, "credentials": exchange, **settings}
        callers = {"issuers": [issuer_settings(server)], **(auth or {})}
        async with identifying(callers, table) as (gateway, url):
            yield backend, gateway, url


def claims_of(authorization: Any) -> dict[str, Any]:
    """Return the claims of a token that the backend was shown."""
    token = str(authorization).removeprefix("Bearer ")
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


async def get(url: str, token: str) -> Any:
    """Read the operation with a token, and return the reason of a refusal, or the operation."""
    async with bearing(url, token) as client:
        answer = (await client.get("/v1/jobs/1")).json()
    return answer["error"]["details"][0]["reason"] if "error" in answer else answer


@pytest.mark.usefixtures("_ends_stay_fresh")
async def test_each_caller_reaches_the_backend_under_its_own_identity(
    server: AuthorizationServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The exchanged token is for the backend, and is kept for later calls of the caller."""
    caplog.set_level(logging.DEBUG)
    alice, bob = server.signer.token(sub="alice"), server.signer.token(sub="bob")
    async with exchanging(server, descriptors=[], freshness="5s") as (backend, gateway, url):
        for token in (alice, alice, bob):
            assert (await get(url, token))["done"]
        assert gateway.service.reads.memory > 0
    calls = [claims_of(each) for each in shown(backend, "GetOperation")]
    # The second read of Alice is answered by the first one, and that of Bob is not.
    assert [(each["sub"], each["aud"]) for each in calls] == [("alice", "jobs"), ("bob", "jobs")]
    assert {each["act"]["sub"] for each in calls} == {"backend-caller"}
    assert not {f"Bearer {alice}", f"Bearer {bob}"} & set(shown(backend, "GetOperation"))
    subjects = [f["subject_token"] for _, f in server.asked if f.get("subject_token")]
    assert subjects == [alice, bob]
    for secret in (alice, bob, "let-me-in", *shown(backend, "GetOperation")):
        # Authlib logs what the authorization server of the test does.
        told = [each.getMessage() for each in caplog.records if "authlib" not in each.name]
        assert not [each for each in told if str(secret).removeprefix("Bearer ") in each]


async def test_calls_for_no_caller_show_the_gateways_own_token(server: AuthorizationServer) -> None:
    """Those are reflection and health checks."""
    async with exchanging(server) as (backend, gateway, _):
        await gateway.service.catalog.discovered()
        for check in gateway.health_checks:
            await check.report()
    assert shown(backend, "reflection.v1")
    for each in (*shown(backend, "reflection.v1"), *shown(backend, "Check")):
        assert claims_of(each)["sub"] == "backend-caller"
        assert "act" not in claims_of(each)


async def test_a_caller_without_a_token_to_exchange_is_told_what_the_backend_needs(
    server: AuthorizationServer, tmp_path: Path
) -> None:
    """A static token identifies a caller, and no other server knows it."""
    token, entry = new_token("ci")
    file = tmp_path / "tokens.toml"
    file.write_text(entry.line)
    async with exchanging(server, auth={"tokens": str(file)}, descriptors=[]) as (backend, _, url):
        assert await get(url, token) == "CALLER_TOKEN_NEEDED"
    assert not backend.count("GetOperation")


async def test_a_refused_exchange_is_told_and_nothing_is_sent(server: AuthorizationServer) -> None:
    """The authorization server decides who may reach the backend."""
    exchange = {"token_exchange": oauth(server, audience="refused-jobs")}
    async with exchanging(server, credentials=exchange, descriptors=[]) as (backend, _, url):
        assert await get(url, server.signer.token()) == "CREDENTIALS_REFUSED"
        server.is_down = True
        assert await get(url, server.signer.token(sub="bob")) == "CREDENTIALS_UNAVAILABLE"
    assert not backend.count("GetOperation")


async def test_readers_of_two_callers_have_two_watches_and_a_lost_right_ends_one(
    server: AuthorizationServer,
) -> None:
    """At the next look the backend refuses Bob, and Alice reads on until the end."""
    refused, ends = asyncio.Event(), asyncio.Event()

    async def answer(_request: Any, context: Any) -> Any:
        metadata = dict(context.invocation_metadata() or ())
        if claims_of(metadata["authorization"])["sub"] == "bob" and refused.is_set():
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "bob may not read this any more")
        return DONE if ends.is_set() else RUNNING

    async def events(client: httpx.AsyncClient) -> AsyncIterator[str]:
        async with client.stream("GET", "/v1/jobs/1:watch") as response:
            async for line in response.aiter_lines():
                yield line

    handlers: dict[str, Handler] = {"GetOperation": answer, "WaitOperation": answer}
    intervals: Any = {"poll_intervals": ["0.05s", "0.05s", "0.05s"], "descriptors": []}
    async with (
        exchanging(server, handlers, **intervals) as (_, gateway, url),
        bearing(url, server.signer.token(sub="alice")) as alice,
        bearing(url, server.signer.token(sub="bob")) as bob,
    ):
        of_alice, of_bob = events(alice), events(bob)
        await anext(of_alice), await anext(of_bob)
        assert len(gateway.service.watches) == 2
        refused.set()
        text = "\n".join([line async for line in of_bob])
        assert "bob may not read this any more" in text
        ends.set()
        text = "\n".join([line async for line in of_alice])
        assert '"done":true' in text.replace(" ", "")


async def test_client_credentials_go_with_every_call(server: AuthorizationServer) -> None:
    """One token serves all callers, also those without an identity."""
    own = {"client_credentials": oauth(server, scopes=["read"])}
    async with recording() as backend:
        table = {"name": "b", "target": backend.target, "credentials": own}
        settings = {"backends": [table], "server": {"port": 0}}
        config = GatewayConfig.model_validate(settings)
        async with Gateway.open(config) as gateway:
            await gateway.service.catalog.discovered()
            await asyncio.gather(*(check.report() for check in gateway.health_checks))
        assert "let-me-in" not in repr(config)
    tokens = {call.metadata["authorization"] for call in backend.calls}
    assert len(tokens) == 1
    assert claims_of(tokens.pop())["scope"] == "read"
    assert server.count("/token") == 1


async def test_a_repeat_of_a_start_is_under_the_identity_of_its_caller(
    server: AuthorizationServer, tmp_path: Path
) -> None:
    """Each caller has its own keys, and a repeat of an unknown start is sent as its caller."""
    losing = refusing(grpc.StatusCode.INTERNAL, "the connection broke")
    exchange = {"token_exchange": oauth(server, audience="jobs")}
    callers = {"issuers": [issuer_settings(server)]}
    names = []
    async with Counting().open() as backend:
        table = {"name": "b", "target": backend.target, "credentials": exchange}
        store = {"url": f"sqlite:///{tmp_path}/store.sqlite3"}
        async with identifying(callers, table, store=store) as (_, url):
            for subject, lost in (
                ("alice", losing),
                ("alice", None),
                ("alice", None),
                ("bob", None),
            ):
                backend.lost = lost
                async with bearing(url, server.signer.token(sub=subject)) as client:
                    answer = await client.post(
                        "/v1/lines/1/machines",
                        json={"title": "Press"},
                        headers={"idempotency-key": "k"},
                    )
                    names.append(answer.json().get("name"))
    assert names == [None, *["lines/1/operations/1"] * 2, "lines/1/operations/2"]
    calls = [claims_of(each)["sub"] for each in shown(backend.served, "BuildMachine")]
    assert calls == ["alice", "alice", "bob"]
    reads = [claims_of(each)["sub"] for each in shown(backend.served, "GetOperation")]
    assert reads == ["alice"]

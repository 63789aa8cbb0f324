"""Waits and streams end when the token of their caller ends, and not later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from google.longrunning import operations_pb2
from mcp.shared.exceptions import MCPError

from lro_gateway.access.expiry import until_expiry
from lro_gateway.errors import StatusError
from lro_gateway.principal import Principal
from tests.access.authorization_server import AuthorizationServer
from tests.access.callers_of import Bearing, agent, bearing, identifying, issuer_settings
from tests.contrary import ContraryBackend, answering

RUNNING = operations_pb2.Operation(name="jobs/1")
PAGE = operations_pb2.ListOperationsResponse(operations=[RUNNING])


@asynccontextmanager
async def watched(directory: Path) -> AsyncIterator[tuple[str, AuthorizationServer]]:
    """Serve an operation that never ends; yields the URL of the gateway, and the issuer."""
    handlers = {"GetOperation": answering(RUNNING), "ListOperations": answering(PAGE)}
    async with (
        AuthorizationServer.open(directory) as issuer,
        ContraryBackend.open(handlers) as backend,
    ):
        auth = {"issuers": [issuer_settings(issuer, clock_skew="0s")]}
        settings = {"name": "b", "target": backend.target, "descriptors": []}
        async with identifying(auth, settings) as (_, url):
            yield url, issuer


def brief(issuer: AuthorizationServer) -> tuple[str, float]:
    """Return a token that ends in seven to eight seconds, and its end.

    A request with it must follow at once, because a busy machine takes long to prepare one.
    """
    end = int(time.time()) + 8
    return issuer.signer.token(exp=end), end


@pytest.mark.parametrize("path", ["/v1/jobs/1:watch", "/v1/operations:watch"])
async def test_a_stream_of_events_ends_with_the_token(path: str, tmp_path: Path) -> None:
    """The last event says why, and when to connect again. The body ends as it should."""
    async with watched(tmp_path) as (url, issuer), asyncio.timeout(60):
        token, end = brief(issuer)
        async with bearing(url, token) as client:
            text = (await client.get(path)).text
            first, last = text.split("\n\n")[0], text.split("\n\n")[-2]
            assert first.startswith("event: operation")
            assert last.startswith("retry: 1000\nevent: status\ndata: ")
            assert '"TOKEN_EXPIRED"' in last
            assert time.time() >= end
            refused = await client.get(path)
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]


async def test_a_wait_ends_with_the_token(tmp_path: Path) -> None:
    """REST answers 401 with a challenge, and the tool fails."""
    async with watched(tmp_path) as (url, issuer), asyncio.timeout(60):
        bearer = Bearing(issuer.signer.token())
        async with agent(url, bearer) as tools:
            bearer.token, end = brief(issuer)
            async with bearing(url, bearer.token) as client:
                waited, result = await asyncio.gather(
                    client.post("/v1/jobs/1:wait", json={"timeout": "50s"}),
                    tools.call_tool("wait_operation", {"name": "jobs/1", "timeout": "50s"}),
                )
    assert time.time() >= end
    assert (waited.status_code, waited.json()["error"]["message"]) == (
        401,
        "the token has expired; get a new one",
    )
    assert 'error="invalid_token"' in waited.headers["www-authenticate"]
    assert result.is_error
    assert "TOKEN_EXPIRED" in str(result.content)


async def test_a_subscription_ends_with_the_token(tmp_path: Path) -> None:
    """The error says why."""
    async with watched(tmp_path) as (url, issuer), asyncio.timeout(60):
        params = types.SubscriptionsListenRequestParams(
            notifications=types.SubscriptionFilter(resource_subscriptions=["operation://b/jobs/1"])
        )
        request = types.SubscriptionsListenRequest(params=params)
        bearer = Bearing(issuer.signer.token())
        async with agent(url, bearer) as client:
            bearer.token, end = brief(issuer)
            with pytest.raises(MCPError, match="the token has expired"):
                await client.session.send_request(request, types.SubscriptionsListenResult)
    assert time.time() >= end


async def test_only_the_end_of_the_credentials_is_translated() -> None:
    """Other time-outs of the body are its own, and a caller without an end has no limit."""
    with pytest.raises(TimeoutError):
        async with until_expiry(Principal("a", expires=time.time() + 60)):
            raise TimeoutError
    with pytest.raises(StatusError) as caught:
        async with until_expiry(Principal("a", expires=time.time() - 1)):
            await asyncio.Event().wait()
    assert caught.value.reason == "TOKEN_EXPIRED"
    done: Any = None
    async with until_expiry(Principal("a")):
        done = True
    assert done

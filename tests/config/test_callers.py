"""What identifies the callers is constructed from the configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mcp import Client

from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.principal import ANONYMOUS, Principal
from lro_gateway.serving.app import create_mcp_server
from tests.access.authorization_server import AuthorizationServer
from tests.access.callers_of import bearing, identifying, issuer_settings
from tests.access.guarded import Recording


async def test_without_auth_nobody_is_identified() -> None:
    """There is no metadata either."""
    async with Gateway.open(GatewayConfig()) as gateway:
        assert gateway.callers.resource is None
        assert await gateway.authenticator.of_request({}) is ANONYMOUS
        assert gateway.authenticator.of_process() is ANONYMOUS


async def test_the_caller_over_stdio_has_the_identity_of_the_configuration() -> None:
    """The policy sees it."""
    stdio = {"subject": "agent", "tenant": "infra", "groups": ["bots"], "scopes": "read"}
    config = GatewayConfig.model_validate(
        {
            "auth": {"stdio": stdio},
            "backends": [{"name": "b", "target": "127.0.0.1:1", "descriptors": []}],
        }
    )
    policy = Recording()
    async with (
        Gateway.open(config, policy=policy) as gateway,
        Client(create_mcp_server(gateway).server) as client,
    ):
        await client.call_tool("get_operation", {"name": "jobs/1"})
        assert gateway.callers.resource is None
    ((caller, _),) = policy.actions
    assert caller == Principal(
        "agent", "stdio", "infra", groups=frozenset({"bots"}), scopes=frozenset({"read"})
    )


async def test_keys_may_be_in_a_file_or_at_a_url(tmp_path: Path) -> None:
    """Discovery is the third way, which most tests use."""
    async with AuthorizationServer.open(tmp_path) as server:
        (tmp_path / "jwks.json").write_text(json.dumps(server.signer.jwks()))
        for source in ({"jwks_file": "jwks.json"}, {"jwks_url": f"{server.issuer}/jwks"}):
            auth = {"issuers": [issuer_settings(server, **source)]}
            async with (
                identifying(auth, directory=tmp_path) as (_, url),
                bearing(url, server.signer.token()) as client,
            ):
                assert (await client.get("/openapi.json")).status_code == 200
        assert {path for path, _ in server.asked} == {"/jwks"}


async def test_a_broken_file_of_tokens_stops_the_start(tmp_path: Path) -> None:
    """The mistake names the setting and the file."""
    (tmp_path / "tokens.toml").write_text("x = 1")
    with pytest.raises(ConfigError, match=r"auth\.tokens: .*tokens\.toml: 'x' is no entry"):
        async with identifying({"tokens": "tokens.toml"}, directory=tmp_path):
            raise AssertionError("it has started")

"""Authentication: each face takes the caller of its request from the authenticator."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from lro_gateway.access.authentication import Scope
from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.principal import Principal
from lro_gateway.serving.app import create_mcp_server
from lro_gateway.serving.http import serve_http
from tests.access.guarded import ALICE, BOB, ByHeader, Recording, mcp, rest
from tests.access.test_policy import served

PACKAGE = Path(__file__).parents[2] / "lro_gateway"

REQUESTS: dict[str, tuple[str, str, Any]] = {
    "get": ("GET", "/v1/team/main/ops/1", None),
    "list": ("GET", "/v1/operations", None),
    "wait": ("POST", "/v1/team/main/ops/1:wait", {}),
    "cancel": ("POST", "/v1/team/main/ops/1:cancel", {}),
    "delete": ("DELETE", "/v1/team/main/ops/1", None),
    "watch": ("GET", "/v1/team/main/ops/1:watch", None),
    "start": ("POST", "/v1/machines:build", {"parent": "lines/1", "machine": {"title": "t"}}),
    "call": ("GET", "/v1/lines/1/machines/2", None),
    "openapi": ("GET", "/openapi.json", None),
}


@pytest.mark.parametrize("request_name", REQUESTS)
async def test_every_rest_request_has_its_own_caller(request_name: str) -> None:
    """The policy sees the caller of each request, and no other."""
    method, path, body = REQUESTS[request_name]
    async with served(policy := Recording()) as (url, _):
        for caller in (ALICE, BOB):
            async with rest(url, caller) as client:
                response = await client.request(method, path, json=body)
                assert response.status_code == 200, response.text
    callers = [*(caller for caller, _ in policy.actions), *policy.filtered_for]
    assert list(dict.fromkeys(callers)) == [ALICE, BOB]


async def use_mcp(client: Client) -> None:
    """Use every part of the MCP face that reads or changes something."""
    await client.list_tools()
    await client.call_tool("get_operation", {"name": "team/main/ops/1"})
    await client.call_tool("list_operations", {})
    await client.call_tool("build_machine", {"parent": "lines/1", "machine": {"title": "t"}})
    await client.list_resources()
    await client.read_resource("operation://demo/team/main/ops/1")


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_every_mcp_request_has_its_own_caller(mode: str) -> None:
    """This holds for both revisions of the protocol."""
    async with served(policy := Recording()) as (url, _):
        for caller in (ALICE, BOB):
            async with mcp(url, caller, mode) as client:
                await use_mcp(client)
    assert {caller for caller, _ in policy.actions} == {ALICE, BOB}
    assert set(policy.filtered_for) == {ALICE, BOB}


async def test_the_caller_on_stdio_is_the_process() -> None:
    """Over stdio there is no HTTP request that could identify a caller."""
    policy = Recording()
    config = GatewayConfig.model_validate(
        {"backends": [{"name": "b", "target": "127.0.0.1:1", "descriptors": []}]}
    )
    async with (
        Gateway.open(config, policy=policy, authenticator=ByHeader()) as gateway,
        Client(create_mcp_server(gateway).server) as client,
    ):
        await client.call_tool("get_operation", {"name": "jobs/1"})
    assert [caller for caller, _ in policy.actions] == [Principal("process", "test")]


@pytest.mark.parametrize("path", ["/v1/team/main/ops/1", "/mcp", "/openapi.json"])
async def test_a_request_without_credentials_reaches_no_face(path: str) -> None:
    """The authenticator refuses it before any face sees it."""
    async with served(policy := Recording()) as (url, backend), rest(url) as client:
        del client.headers["x-subject"]
        response = await client.post(path, json={})
        assert response.status_code == 401
        assert response.json()["error"]["status"] == "UNAUTHENTICATED"
        assert (policy.actions, backend.answered) == ([], [])


class Faulty(ByHeader):
    """An authenticator with a fault."""

    async def of_request(self, scope: Scope) -> Principal:
        raise ZeroDivisionError(scope["path"], "a detail of the fault")


async def test_a_fault_of_the_authenticator_is_internal_and_probes_do_not_need_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The body is Google's, without the detail, and /livez and /readyz have no credentials."""
    config = GatewayConfig.model_validate({"server": {"port": 0}})
    async with (
        Gateway.open(config, authenticator=Faulty()) as gateway,
        serve_http(gateway) as server,
        rest(f"http://{server.address}") as client,
    ):
        response = await client.get("/v1/jobs/1")
        probes = [(await client.get(path)).status_code for path in ("/livez", "/readyz")]
    assert (response.status_code, response.json()["error"]["status"]) == (500, "INTERNAL")
    assert "a detail of the fault" not in response.text
    assert "a detail of the fault" in caplog.text
    assert probes == [200, 200]


def test_only_the_authenticator_makes_a_principal() -> None:
    """No other module calls `Principal` or uses `ANONYMOUS`.

    An explanation supposes a caller, which makes no call. A call that waits for its approval, and a
    webhook, outlive the request of their caller, so the store has what identified it.
    """
    makers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Principal")
        or (isinstance(node, ast.Name) and node.id == "ANONYMOUS")
    }
    assert makers == {
        "principal.py",
        "access/authentication.py",
        "access/identity/callers.py",
        "access/identity/claims.py",
        "access/identity/static_tokens.py",
        "config/callers.py",
        "access/identity/certificates.py",
        "access/identity/proxy_headers.py",
        "service/explaining.py",
        "records/approvals.py",
        "deliveries/deliveries.py",
    }

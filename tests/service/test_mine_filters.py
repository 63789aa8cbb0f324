"""A mistyped filter of what a caller has started is an error, and not an empty list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from mcp import Client

from lro_gateway.config.models import GatewayConfig
from lro_gateway.demo.server import DemoServer
from lro_gateway.gateway import Gateway
from lro_gateway.records.location import Location
from lro_gateway.serving.http import serve_http
from tests.access.guarded import HEADER, ByHeader
from tests.gateways import serving

PATH = "/v1/operations:mine"
CREATE = "lro_gateway.demo.v1.DatabaseAdmin/CreateDatabase"
RULES = [
    {"allow": ["start"], "methods": ["*/CreateDatabase"], "backends": ["east"]},
    {"allow": ["get", "list", "wait"], "backends": ["east"]},
]


@asynccontextmanager
async def opened(
    location: Location, targets: Mapping[str, str], rules: list[Any]
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve these backends, and yield a client."""
    config = GatewayConfig.model_validate(
        {
            "server": {"port": 0},
            "store": {"url": location},
            "policy": rules,
            "backends": [{"name": name, "target": each} for name, each in targets.items()],
        }
    )
    async with (
        Gateway.open(config, authenticator=ByHeader()) as gateway,
        serve_http(gateway) as server,
        httpx.AsyncClient(base_url=server.url, headers={HEADER: "alice"}) as client,
    ):
        yield client


async def refusal(client: httpx.AsyncClient, **query: str) -> tuple[str, str]:
    """Return the reason and the message of a refused list."""
    async with asyncio.timeout(60):
        # A list waits only a second for the first discovery of methods, and refuses none before.
        while (answer := await client.get(PATH, params=query)).status_code == 200:
            pass
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    return error["details"][0]["reason"], error["message"]


async def methods(client: httpx.AsyncClient, **query: str) -> list[str]:
    """Return the methods of the operations that a list has."""
    answer = await client.get(PATH, params=query)
    assert answer.is_success, answer.text
    return [each["method"] for each in answer.json()["operations"]]


async def test_a_filter_that_nothing_can_match_is_refused(
    location: Location, tmp_path: Path
) -> None:
    """The error names what there is. The name of a tool and a part of a path select."""
    async with (
        DemoServer.open(tmp_path / "demo") as demo,
        opened(location, {"east": demo.target}, []) as client,
    ):
        await client.post("/v1/databases", json={"databaseId": "a"})
        assert await methods(client, backend="east") == [CREATE]
        for known in ("create_database", "createdata", CREATE, "DatabaseAdmin.CreateDatabase"):
            assert await methods(client, method=known) == [CREATE]
        assert await methods(client, method="BackupDatabase", backend="east") == []
        reason, message = await refusal(client, backend="esat")
        assert (reason, "there are: east" in message) == ("UNKNOWN_BACKEND", True)
        reason, message = await refusal(client, method="CraeteDatabase")
        assert (reason, f"there are: {CREATE}" in message) == ("UNKNOWN_METHOD", True)


async def test_what_a_model_mistypes_is_refused_over_mcp_too(tmp_path: Path) -> None:
    """It would believe otherwise that it has started nothing, and start it again."""
    store = Location(tmp_path / "store.sqlite3")
    async with DemoServer.open(tmp_path / "demo") as demo:
        backend = {"name": "east", "target": demo.target}
        async with serving(backend, store=store) as url, Client(f"{url}/mcp") as client:
            await client.call_tool("create_database", {"databaseId": "a"})
            for query, said in (
                ({"method": "crate_database"}, CREATE),
                ({"backend": "west"}, "east"),
            ):
                wrong = await client.call_tool("list_my_operations", query)
                assert wrong.is_error
                assert f"there are: {said}" in str(wrong.content[0])
            found = await client.call_tool("list_my_operations", {"method": "create_database"})
    assert found.structured_content is not None
    assert [each["method"] for each in found.structured_content["operations"]] == [CREATE]


async def test_hidden_backends_and_methods_are_refused_like_missing_ones(
    location: Location, tmp_path: Path
) -> None:
    """The texts differ in nothing but what the caller has written."""
    async with DemoServer.open(tmp_path / "demo") as demo:
        targets = {"east": demo.target, "west": demo.target}
        async with opened(location, targets, []) as client:
            await client.post("/v1/databases?backend=west", json={"databaseId": "a"})
        async with opened(location, targets, RULES) as client:
            for argument, hidden, missing in (
                ("backend", "west", "none"),
                ("method", "BackupDatabase", "BackwpDatabase"),
            ):
                reason, message = await refusal(client, **{argument: hidden})
                other = await refusal(client, **{argument: missing})
                assert (reason, message.replace(hidden, missing)) == other


async def test_what_was_started_at_a_backend_that_is_gone_can_still_be_selected(
    location: Location, tmp_path: Path
) -> None:
    """The caller has started it, and may look for it by the backend and the method."""
    async with DemoServer.open(tmp_path / "demo") as demo:
        async with opened(location, {"old": demo.target}, []) as client:
            await client.post("/v1/databases", json={"databaseId": "a"})
        async with opened(location, {"east": "127.0.0.1:1"}, []) as client:
            assert await methods(client, backend="old") == [CREATE]
            assert await methods(client, backend="old", state="failed") == []
            assert await methods(client, method="create", state="failed") == []
            assert await methods(client, method="of a backend that is down") == []
            assert (await refusal(client, backend="new"))[0] == "UNKNOWN_BACKEND"

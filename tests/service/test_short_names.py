"""A short name that the gateway has returned leads to its backend when there are several."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from mcp import Client

from lro_gateway.config.models import GatewayConfig
from lro_gateway.demo.pace import Gate, Pace, unpaced
from lro_gateway.demo.server import DemoServer
from lro_gateway.gateway import Gateway
from lro_gateway.records.location import Location
from lro_gateway.serving.http import serve_http
from tests.access.guarded import HEADER, ByHeader
from tests.gateways import serving

READERS: Any = [
    {"allow": ["start"]},
    {"allow": ["*"], "subjects": ["alice", "eve"]},
    {"allow": ["get"], "backends": ["other"]},
    {"allow": ["list"]},
]
"""Rules by which only some callers see the operations of the backend `demo`."""


@asynccontextmanager
async def opened(
    directory: Path, location: Location, *backends: Any, rules: Any = ()
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve these backends, and yield a client."""
    tokens = directory / "tokens.toml"
    tokens.touch()
    config = GatewayConfig.model_validate(
        {
            "server": {"port": 0},
            "store": {"url": location},
            "auth": {"tokens": str(tokens)},
            "policy": rules,
            "backends": backends,
        }
    )
    async with (
        Gateway.open(config, authenticator=ByHeader()) as gateway,
        serve_http(gateway) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60) as client,
    ):
        yield client


@asynccontextmanager
async def two_demos(directory: Path, pace: Pace = unpaced) -> AsyncIterator[tuple[Any, Any]]:
    """Run two demos, and yield the settings of both as backends."""
    async with (
        DemoServer.open(directory / "demo", pace=pace) as demo,
        DemoServer.open(directory / "other") as other,
    ):
        yield {"name": "demo", "target": demo.target}, {"name": "other", "target": other.target}


async def started(client: httpx.AsyncClient, subject: str) -> str:
    """Start an operation; return its name."""
    body = {"databaseId": subject}
    answer = await client.post("/v1/databases", json=body, headers={HEADER: subject})
    name: str = answer.json()["name"]
    return name


async def read_by(client: httpx.AsyncClient, subject: str, name: str, path: str = "") -> Any:
    """Read a name as somebody; return the name in the answer, or the error."""
    answer = await client.get(f"/v1/{name}{path}", headers={HEADER: subject})
    body = answer.json()
    return body.get("name") or body["error"]


async def test_a_name_from_before_leads_to_its_operation_in_every_verb(
    location: Location, tmp_path: Path
) -> None:
    """The answer has the name of now. Reads, waits, streams and changes take the old one."""
    gate = Gate()
    async with gate, two_demos(tmp_path, gate) as (demo, other):
        async with opened(tmp_path, location, demo) as client:
            before = await started(client, "alice")
        async with opened(tmp_path, location, demo, other) as client:
            headers = {HEADER: "alice"}
            assert await read_by(client, "alice", before) == f"//demo/{before}"
            async with client.stream("GET", f"/v1/{before}:watch", headers=headers) as stream:
                lines = stream.aiter_lines()
                assert await anext(lines) == "event: operation"
            cancelled = await client.post(f"/v1/{before}:cancel", headers=headers)
            assert cancelled.status_code == 200
            gate.release()
            waited = await client.post(f"/v1/{before}:wait", headers=headers)
            assert waited.json()["error"]["code"] == 1
            assert (await client.delete(f"/v1/{before}", headers=headers)).status_code == 200
            gone = await client.get(f"/v1/{before}", headers=headers)
            assert gone.json()["error"]["details"][0]["reason"] in {"AMBIGUOUS_NAME", "NOT_FOUND"}


async def test_a_name_from_before_leads_to_its_operation_after_its_state_was_written(
    location: Location, tmp_path: Path
) -> None:
    """The store then has the operation under its name of now."""
    gate, headers = Gate(), {HEADER: "alice"}
    async with gate, two_demos(tmp_path, gate) as (demo, other):
        async with opened(tmp_path, location, demo) as client:
            before = await started(client, "alice")
        for ends in (False, True, True):
            async with opened(tmp_path, location, demo, other) as client:
                assert await read_by(client, "alice", before) == f"//demo/{before}"
                if ends:
                    gate.release()
                    waited = await client.post(f"/v1/{before}:wait", headers=headers)
                    assert waited.json()["done"] is True


async def test_what_is_hidden_stays_as_ambiguous_as_what_does_not_exist(
    location: Location, tmp_path: Path
) -> None:
    """This holds for ownership and for rules. The errors differ in nothing but the name."""
    async with two_demos(tmp_path) as (demo, other):
        owned = {**demo, "visibility": "owner"}
        async with opened(tmp_path, location, owned) as client:
            before = await started(client, "alice")
        missing = before[:-1] + ("0" if before[-1] != "0" else "1")
        for backend, rules, hidden_from in ((owned, [], "eve"), (demo, READERS, "bob")):
            async with opened(tmp_path, location, backend, other, rules=rules) as client:
                assert await read_by(client, "alice", before) == f"//demo/{before}"
                hidden = await read_by(client, hidden_from, before)
                none = await read_by(client, hidden_from, missing)
                assert str(hidden).replace(before, missing) == str(none)
                assert hidden["details"][0]["reason"] == "AMBIGUOUS_NAME"
                for path in (":wait", ":cancel"):
                    answers = [
                        await client.post(f"/v1/{name}{path}", headers={HEADER: hidden_from})
                        for name in (before, missing)
                    ]
                    first, second = (each.text for each in answers)
                    assert first.replace(before, missing) == second


async def test_a_name_that_both_backends_have_told_stays_ambiguous(
    location: Location, tmp_path: Path
) -> None:
    """No choice between the two would be right for both of their callers."""
    async with two_demos(tmp_path) as (demo, _):
        renamed = {**demo, "name": "renamed"}
        body = {"databaseId": "a", "requestId": "5f0c7a52-3f0c-4a35-9a0e-0a6f0a8f1b11"}
        names = set()
        for backend in (demo, renamed):
            async with opened(tmp_path, location, backend) as client:
                answer = await client.post("/v1/databases", json=body, headers={HEADER: "alice"})
                names.add(answer.json()["name"])
        (name,) = names
        async with opened(tmp_path, location, demo, renamed) as client:
            error = await read_by(client, "alice", name)
            assert error["details"][0]["reason"] == "AMBIGUOUS_NAME"
            assert error["details"][0]["metadata"]["backends"] == "demo,renamed"


async def test_models_use_old_names_too(location: Location, tmp_path: Path) -> None:
    """A model may have kept the name in a conversation."""
    async with two_demos(tmp_path) as (demo, other):
        async with serving(demo, store=location) as url, Client(f"{url}/mcp") as client:
            made = await client.call_tool("create_database", {"databaseId": "a"})
            assert made.structured_content is not None
            before = made.structured_content["name"]
        async with serving(demo, other, store=location) as url, Client(f"{url}/mcp") as client:
            for tool in ("get_operation", "wait_operation", "cancel_operation"):
                answer = await client.call_tool(tool, {"name": before})
                assert not answer.is_error, answer.content


async def test_a_webhook_of_an_old_name_gets_the_name_of_now(
    location: Location, tmp_path: Path
) -> None:
    """Its events have the name of now too."""
    async with two_demos(tmp_path) as (demo, other):
        async with opened(tmp_path, location, demo) as client:
            before = await started(client, "alice")
        async with opened(tmp_path, location, demo, other) as client:
            body = {"url": "https://hooks.acme.example", "operation": before}
            answer = await client.post("/v1/webhooks", json=body, headers={HEADER: "alice"})
            webhook = answer.json()
    assert (webhook["operation"], webhook["backend"]) == (f"//demo/{before}", "demo")

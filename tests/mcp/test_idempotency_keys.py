"""Idempotency keys in `_meta` of tools/call, from clients of each revision."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lro_gateway.records.location import NOWHERE, Location
from tests import factory
from tests.access.guarded import ALICE, BOB, Recording, guarded, mcp
from tests.counting import Counting
from tests.gateways import serving
from tests.mcp.wire import Wire, wire

pytestmark = pytest.mark.anyio

REPLAYED = "lro-gateway/idempotency_replayed"
ORDER = dict(factory.ORDER)
CORE, MODERN = "2025-11-25", "2026-07-28"


@asynccontextmanager
async def opened(location: Location, **mcp_settings: Any) -> AsyncIterator[tuple[str, Counting]]:
    """Serve a gateway with a store to a backend that counts; yields its URL and the backend."""
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(Counting().open())
        served = {"name": "b", "target": backend.target, "methods": ["*/*"]}
        opening = serving(served, store=location, mcp=mcp_settings, sync_grace="0s")
        yield await stack.enter_async_context(opening), backend


@pytest.fixture
def file(tmp_path: Path) -> Location:
    """Return the location of a file of SQLite that does not exist yet."""
    return Location(tmp_path / "store.sqlite3")


async def start(client: Wire, key: Any, title: str = "Press", **params: Any) -> Any:
    """Call the tool of BuildMachine with a key."""
    arguments = {**ORDER, "machine": {"title": title}}
    return await client(
        "tools/call",
        name="build_machine",
        arguments=arguments,
        _meta={"idempotency_key": key},
        **params,
    )


@pytest.mark.parametrize("mode", [MODERN, "legacy"])
async def test_a_client_of_each_era_repeats_a_start(file: Location, mode: str) -> None:
    """A model reads that nothing new was started, and another caller has keys of its own."""
    async with Counting().open() as backend:
        served = {"name": "b", "target": backend.target}
        async with guarded(Recording(), served, store={"url": file}) as url:
            found = []
            for caller in (ALICE, ALICE, BOB):
                async with mcp(url, caller, mode) as client:
                    meta: Any = {"idempotency_key": "k"}
                    result: Any = await client.call_tool("build_machine", ORDER, meta=meta)
                found.append(result)
    names = [each.structured_content["name"] for each in found]
    assert names[0] == names[1] != names[2]
    assert [bool((each.meta or {}).get(REPLAYED)) for each in found] == [False, True, False]
    assert found[1].content[1].text.startswith("This call repeats an earlier one")
    assert backend.begun["Press"] == 2


@pytest.mark.parametrize("version", [CORE, MODERN])
async def test_a_repeat_is_a_task_of_the_same_operation(file: Location, version: str) -> None:
    """The new task says that it is a repeat."""
    task: Any = {"task": {"ttl": 60_000}} if version == CORE else {}
    async with opened(file) as (url, backend), wire(f"{url}/mcp", version) as client:
        created = [await start(client, "k", **task) for _ in range(2)]
        assert [REPLAYED in each["_meta"] for each in created] == [False, True]
        assert created[0]["_meta"]["lro-gateway/request_id"]
        ids = [(each.get("task") or each)["taskId"] for each in created]
        states = [await client("tasks/get", taskId=each) for each in ids]
        assert [each["status"] for each in states] == ["working", "working"]
        assert backend.begun == {"Press": 1}


async def test_a_key_reaches_a_method_through_call_method(file: Location) -> None:
    """A gateway with many methods lists this tool in place of theirs."""
    async with opened(file, tool_budget=1) as (url, backend), wire(f"{url}/mcp", CORE) as client:
        inner = {"name": "build_machine", "arguments": ORDER}
        for _ in range(2):
            meta = {"idempotency_key": "k"}
            await client("tools/call", name="call_method", arguments=inner, _meta=meta)
        assert backend.begun == {"Press": 1}


async def refusal(client: Wire, key: Any, title: str = "Press") -> tuple[str, str]:
    """Return the status of a refused start and the next step."""
    answer = await start(client, key, title)
    assert answer["isError"]
    status, step = (each["text"] for each in answer["content"])
    return status, step


async def test_a_model_learns_what_to_do_after_a_refusal(file: Location) -> None:
    """It may use a new key, or none."""
    async with opened(file) as (url, backend), wire(f"{url}/mcp", CORE) as client:
        await start(client, "k")
        status, step = await refusal(client, "k", "Lathe")
        assert "IDEMPOTENCY_KEY_REUSED" in status
        assert step.endswith("Call again with a new idempotency_key.")
        for malformed in ("", 7, "k" * 256, "tab\t"):
            status, _ = await refusal(client, malformed)
            assert "IDEMPOTENCY_KEY_MALFORMED" in status
        assert backend.begun == {"Press": 1}


async def test_without_a_store_a_key_is_refused() -> None:
    """A key that were ignored would make a client believe that a repeat is safe."""
    async with opened(NOWHERE) as (url, backend), wire(f"{url}/mcp", MODERN) as client:
        status, _ = await refusal(client, "k")
        assert "NO_STORE" in status
        assert backend.calls == {}

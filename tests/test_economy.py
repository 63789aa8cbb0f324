"""What a model pays stays within its goals, as `scripts/bench economy` measures it in bytes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest
from grpc_tools import protoc  # type: ignore[import-untyped]  # published without types
from mcp import Client

from scripts.benchmark.economy import CATALOGS, INPUTS, WAYS, measure_catalog, measure_ways
from tests.gateways import serving
from tests.googleapis.published import INSTALLED

_SPANNER = "google/spanner/admin"


async def test_following_an_operation_for_ten_minutes_fits_its_budget() -> None:
    """A model that follows the advice of each answer pays far less than the goal.

    A model that polls when it is advised to, and reads the whole operation each time, pays no more
    than the goal.
    """
    tokens = {way.name: way.tokens for way in await measure_ways()}
    assert {name for name, most in WAYS.items() if tokens[name] <= most} == set(tokens)
    assert tokens["get_operation as advised"] <= tokens["get_operation in full"] / 3


@pytest.mark.parametrize("name", ["demo", "Spanner admin", "Dataproc"])
async def test_the_tools_of_a_catalog_fit_their_budget(name: str) -> None:
    """The names, descriptions and input schemas count, because a model reads these."""
    catalog = await measure_catalog(name)
    assert catalog.tools > 5
    assert catalog.tokens <= CATALOGS[name][1]
    assert catalog.input_bytes <= INPUTS.get(name, catalog.input_bytes)


async def test_the_inputs_of_a_commented_service_fit_their_budget(tmp_path: Path) -> None:
    """With all comments, Spanner's inputs have half of the bytes that they once had."""
    compiled = tmp_path / "spanner.binpb"
    await asyncio.to_thread(_compile, compiled)
    backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": [str(compiled)]}
    async with (
        serving(backend, mcp={"tool_budget": 0}) as url,
        Client(f"{url}/mcp", mode="2026-07-28") as client,
    ):
        inputs = [tool.input_schema for tool in (await client.list_tools()).tools]
    described = [each["properties"]["parent"] for each in inputs if "parent" in each["properties"]]
    assert all('"' in parent["description"] for parent in described)
    assert sum(len(orjson.dumps(each)) for each in inputs) <= 88_563 // 2


def _compile(target: Path) -> None:
    root = INSTALLED / "node_modules" / "google-proto-files"
    common = Path(protoc.__file__).parent / "_proto"
    files = [str(path) for path in (root / _SPANNER).glob("*/v1/*.proto")]
    options = [f"-I{root}", f"-I{common}", "--include_imports", "--include_source_info"]
    assert protoc.main(["protoc", *options, f"-o{target}", *files]) == 0

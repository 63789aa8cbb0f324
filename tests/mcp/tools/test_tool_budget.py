"""Tests of the budget for the tools of methods."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mcp_types as types
import orjson
import pytest
from mcp import Client

from lro_gateway.descriptors.hints import Hints
from lro_gateway.mcp.tools.tool_budget import exceeds
from lro_gateway.service.catalog import Offer
from tests import factory
from tests.descriptors.test_source_list import service_file
from tests.gateways import serving
from tests.mcp.tool_client import MODES
from tests.reflecting import ReflectingBackend

CATALOG = ["search_methods", "describe_method", "call_method"]


async def listed(url: str, mode: Any) -> list[types.Tool]:
    """Return the tools after those of operations."""
    async with Client(f"{url}/mcp", mode=mode) as client:
        return (await client.list_tools()).tools[5:]


def tokens(tools: list[types.Tool]) -> float:
    """Return the size of what a model sees of the tools, at four bytes for a token."""
    seen = [[tool.name, tool.description, tool.input_schema] for tool in tools]
    return sum(map(len, map(orjson.dumps, seen))) / 4


@pytest.mark.parametrize("mode", MODES)
async def test_tools_are_listed_if_they_keep_to_the_budget(tmp_path: Path, mode: str) -> None:
    """The budget counts names, descriptions and input schemas. Without a limit, all are listed."""
    path = tmp_path / "factory.binpb"
    path.write_bytes(factory.descriptor_set().SerializeToString())
    backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": [str(path)]}
    async with serving(backend, mcp={"tool_budget": 0}) as url:
        tools = await listed(url, mode)
    names = [tool.name for tool in tools]
    assert len(names) == 4
    enough = math.ceil(tokens(tools))
    for budget, expected in ((enough, names), (enough - 1, CATALOG), (1, CATALOG)):
        async with serving(backend, mcp={"tool_budget": budget}) as url:
            assert [tool.name for tool in await listed(url, mode)] == expected


@pytest.mark.parametrize("needed", [1, 2])
async def test_a_list_without_methods_does_not_wait_until_all_are_known(
    needed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """One or two of three services exceed the budget. The server does not tell the third."""
    packages = ("a", "b", "c")
    files = [service_file(f"{package}.proto", package) for package in packages]
    async with (
        ReflectingBackend.open(files[:1], "a.Builds") as backend,
        serving({"name": "b", "target": backend.target}) as url,
    ):
        one = math.ceil(tokens(await listed(url, "auto")))
    caplog.set_level("INFO")
    caplog.clear()
    async with (
        ReflectingBackend.open(
            files, *(f"{package}.Builds" for package in packages), together=asyncio.Barrier(2)
        ) as backend,
        serving(
            {"name": "b", "target": backend.target},
            mcp={"tool_budget": one if needed > 1 else 1},
        ) as url,
    ):
        assert [tool.name for tool in await listed(url, "auto")] == CATALOG
        assert "methods are offered" not in caplog.text


async def test_the_tools_that_are_always_listed_take_few_tokens(tmp_path: Path) -> None:
    """A list of any number of methods takes at most 3000 tokens."""
    path = tmp_path / "factory.binpb"
    path.write_bytes(factory.descriptor_set().SerializeToString())
    backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": [str(path)]}
    async with (
        serving(backend, mcp={"tool_budget": 1}) as url,
        Client(f"{url}/mcp") as client,
    ):
        assert tokens((await client.list_tools()).tools) < 2000


def test_the_count_ends_as_soon_as_the_budget_is_exceeded() -> None:
    """It makes the schemas of a few methods, and reads no comments."""
    method, types_ = factory.method("BuildMachine"), factory.types()
    hints = Hints(reads=False, destroys=False, idempotent=False)
    offers = [Offer(f"m{number}", method, ("b",), types_, hints) for number in range(10_000)]

    def counted() -> Iterator[bool | None]:
        exceeded = yield from exceeds(offers, 10_000)
        yield exceeded

    steps = list(counted())
    assert steps[-1] is True
    assert 10 < len(steps) < 100

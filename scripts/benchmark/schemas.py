"""Measures the time to make the JSON Schemas of many methods, and to list their MCP tools.

As a program, this makes the schemas of all methods in a FileDescriptorSet. The process does nothing
more.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

import orjson
import uvloop
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.mcp.tools.method_tools import MethodTool
from lro_gateway.mcp.tools.verb_tools import TOOLS
from lro_gateway.service.catalog import RESERVED_NAMES, Offer
from lro_gateway.service.offer_rules import OfferRules
from lro_gateway.service.tool_names import tool_names
from scripts.benchmark.processes import SCRATCH, Message, answer_lines, gateway_with, program
from scripts.benchmark.report import Part, at_most, spread, table
from scripts.benchmark.requests import Exchange, WrongAnswerError, mcp_message
from scripts.benchmark.services import METHODS, write_descriptors

FIRST_TARGET_SECONDS: Final = 2.0
_LATER: Final = 3
"""The number of later lists from each gateway. The benchmark reports their median."""


async def measure_schemas(times: int) -> Part:
    """Make the schemas, then list the tools of a new gateway; repeat this `times` times.

    For the first list a gateway finds the methods and makes their schemas. It keeps the schemas in
    memory for later lists.
    """
    made, first, later = [], [], []
    kilobytes = 0.0
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as directory:
        descriptors = write_descriptors(Path(directory))
        async with program("backend") as backend, program("schemas", str(descriptors)) as maker:
            configured = {
                "name": "b0",
                "target": backend.address,
                "operations": ["b0/**"],
                "descriptors": [str(descriptors)],
            }
            for _ in range(times):
                answer = await maker.ask()
                made.append(answer["seconds"])
                kilobytes = answer["bytes"] / answer["tools"] / 1024
                async with gateway_with(configured, mcp={"tool_budget": 0}) as running:
                    first.append(await _list(running.address))
                    later.append(median([await _list(running.address) for _ in range(_LATER)]))
    return _part(kilobytes, made, first, later)


async def _list(address: str) -> float:
    """Return the seconds for all pages of `tools/list`; check that no method is missing."""
    listed: set[str] = set()
    begin = time.perf_counter()
    async with Exchange.open(address) as exchange:
        cursor: str | None = ""
        while cursor is not None:
            params = {"cursor": cursor} if cursor else {}
            body = await exchange.ask(mcp_message(address, "tools/list", params))
            result = orjson.loads(body).get("result")
            if not result:
                raise WrongAnswerError(body.decode())
            listed.update(tool["name"] for tool in result["tools"])
            cursor = result.get("nextCursor")
    seconds = time.perf_counter() - begin
    if len(listed) != len(TOOLS) + METHODS:
        raise WrongAnswerError(f"{len(listed)} tools in the list")
    return seconds


def _part(kilobytes: float, made: list[float], first: list[float], later: list[float]) -> Part:
    of_first = [of_later / of_first for of_later, of_first in zip(later, first, strict=True)]
    document = {
        "methods": METHODS,
        "kilobytes_of_schema": kilobytes,
        "schemas": made,
        "first": first,
        "later": later,
        "of_first": of_first,
    }
    figures = {
        "making the schemas, s": made,
        "tools/list, first, s": first,
        "tools/list, later, s": later,
        "later / first": of_first,
    }
    title = f"{METHODS:,} methods, {kilobytes:.1f} kB of schema each"
    rows = [(name, f"{median(values):.2f}", spread(values)) for name, values in figures.items()]
    name = f"first tools/list of {METHODS:,} methods, median of {len(first)}"
    target = at_most(name, FIRST_TARGET_SECONDS, "s", median(first), spread(first))
    return Part({"listing": document}, [table(title, ("", "median", "spread"), rows)], [target])


def _offers(files: Any) -> list[Offer]:
    types = TypeSet()
    if problems := types.add(files):
        raise ValueError("; ".join(problems))
    methods = [
        method
        for file in files
        for service in file.service
        for method in types.methods_of(f"{file.package}.{service.name}")
    ]
    names, rules = tool_names(methods, RESERVED_NAMES), OfferRules()
    return [
        Offer(names[method.full_name], method, ("backend",), types, rules.hints_of(method))
        for method in methods
    ]


async def main(descriptors: str) -> None:
    """Make the tools for each line of stdin, each time from a new pool of descriptors."""
    files = FileDescriptorSet.FromString(Path(descriptors).read_bytes()).file  # noqa: ASYNC240 - nothing else runs yet

    async def make(_order: Message) -> Message:
        offers = _offers(files)
        begin = time.perf_counter()
        tools = [MethodTool(offer).tool for offer in offers]
        seconds = time.perf_counter() - begin
        schemas = sum(len(orjson.dumps([each.input_schema, each.output_schema])) for each in tools)
        return {"tools": len(tools), "seconds": seconds, "bytes": schemas}

    await answer_lines(make)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))

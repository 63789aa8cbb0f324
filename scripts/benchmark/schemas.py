"""A program: makes the tools of all methods in a FileDescriptorSet, and tells how long it took."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import orjson
import uvloop
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.mcp.tools.method_tools import MethodTool
from lro_gateway.service.catalog import RESERVED_NAMES, Offer, OfferRules, tool_names
from scripts.benchmark.lines import Message, answer_lines, say


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


async def main(files: Any) -> None:
    """Make the tools once for each line, each time from a pool of their own."""
    say({"ready": True})

    async def make(_message: Message) -> Message:
        offers = _offers(files)
        begin = time.perf_counter()
        tools = [MethodTool(offer).tool for offer in offers]
        seconds = time.perf_counter() - begin
        schemas = sum(len(orjson.dumps([each.input_schema, each.output_schema])) for each in tools)
        return {"tools": len(tools), "seconds": seconds, "bytes": schemas}

    await answer_lines(make)


if __name__ == "__main__":
    uvloop.run(main(FileDescriptorSet.FromString(Path(sys.argv[1]).read_bytes()).file))

"""The tools of a gateway to the demo, to Google's services, and to messages of every shape.

Many tests of providers of models and of agent frameworks read them.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import mcp_types as types
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from mcp import Client

from lro_gateway.demo.server import DemoServer
from tests.gateways import serving
from tests.mcp.test_published_services import descriptor_set, every_tool
from tests.protos import compiled

_MESSAGES = ("shapes.v1.Everything", "odd.v1.Legacy", "odd.v1.Tree")
"""Types that hold themselves, with maps, oneofs, enums and every well-known type."""


async def offered_tools(directory: Path, *settings: dict[str, Any]) -> list[types.Tool]:
    """Return all tools of each gateway, which have these settings of `mcp`.

    The demo writes into the directory.
    """
    google, shapes = directory / "google.binpb", directory / "shapes.binpb"
    await asyncio.to_thread(google.write_bytes, descriptor_set().SerializeToString())
    await asyncio.to_thread(shapes.write_bytes, _services_of_shapes().SerializeToString())
    found: list[types.Tool] = []
    async with DemoServer.open(directory) as demo:
        backends = (
            {"name": "demo", "target": demo.target, "methods": ["*"]},
            {"name": "google", "target": "127.0.0.1:1", "descriptors": [str(google)]},
            {
                "name": "shapes",
                "target": "127.0.0.1:1",
                "methods": ["*"],
                "descriptors": [str(shapes)],
            },
        )
        for mcp in settings:
            async with serving(*backends, mcp=mcp) as url, Client(f"{url}/mcp") as client:
                found += [tool async for tool in every_tool(client)]
    return found


def _services_of_shapes() -> FileDescriptorSet:
    """Return the factory, and a service whose methods start operations with these messages."""
    files = FileDescriptorSet()
    files.CopyFrom(compiled("factory", "odd", "shapes"))
    made = files.file.add(name="every.proto", package="every.v1", syntax="proto3")
    made.dependency.extend(["shapes.proto", "odd.proto", "google/longrunning/operations.proto"])
    service = made.service.add(name="Every")
    for message in _MESSAGES:
        service.method.add(
            name=f"Take{message.rpartition('.')[2]}",
            input_type=f".{message}",
            output_type=".google.longrunning.Operation",
        )
    return files

"""Every long-running method of googleapis is offered, and every start arrives as it was sent."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor

from tests.gateways import serving
from tests.googleapis.calls import is_long_running, path_of, request_of
from tests.googleapis.published import INSTALLED, apis, pool
from tests.mcp.wire import Wire, wire
from tests.stub import Stub

METHODS = {path_of(each): each for api in apis() for each in api.methods if is_long_running(each)}


@pytest.mark.timeout(600)  # a busy machine needs more than the 120 s of other tests
async def test_every_start_arrives_over_mcp() -> None:
    """One gateway offers all methods of all packages as tools, and each name is of one tool."""
    services = [service for api in apis() for service in api.services]
    async with Stub(pool()).open(*services) as backend:
        settings = {
            "name": "b",
            "target": backend.target,
            "descriptors": [str(INSTALLED / "all.binpb")],
            # A list of tools waits for all methods, also on a busy machine.
            "discovery_wait": "300s",
        }
        async with serving(settings, mcp={"tool_budget": 0}) as url, wire(f"{url}/mcp") as client:
            tools = {method: tool async for method, tool in offered(client)}
            assert tools.keys() == METHODS.keys()
            assert len(set(tools.values())) == len(METHODS) > 2600
            for path, method in METHODS.items():
                sent, arguments = request_and_arguments(method)
                backend.calls.clear()
                result = await client("tools/call", name=tools[path], arguments=arguments)
                assert not result.get("isError"), (path, json.dumps(arguments), result)
                assert [(call.path, call.request) for call in backend.calls] == [(path, sent)]


async def offered(client: Wire) -> AsyncIterator[tuple[str, str]]:
    """Yield the path of each offered method and the name of its tool.

    The descriptors have no comments, so the description of a tool names the method.
    """
    cursor: dict[str, str] = {}
    while True:
        page = await client("tools/list", **cursor)
        for tool in page["tools"]:
            if found := re.match(r"Calls (\S+/\w+)\.", tool["description"]):
                yield found[1], tool["name"]
        if not page.get("nextCursor"):
            return
        cursor = {"cursor": page["nextCursor"]}


def request_and_arguments(method: MethodDescriptor) -> tuple[Any, dict[str, Any]]:
    """Return a request and its arguments, by JSON names or by the names of the fields."""
    request = request_of(method)
    own_names = method.index % 2 == 0
    return request, json_format.MessageToDict(request, preserving_proto_field_name=own_names)

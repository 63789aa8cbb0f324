"""The argument that chooses a backend, and the descriptions of the backends."""

from __future__ import annotations

import json
from typing import Any

from google.longrunning import operations_pb2
from mcp import Client

from lro_gateway.mcp.tools.backend_argument import backend_schema
from tests import factory
from tests.contrary import ContraryBackend, answering
from tests.gateways import serving


def test_a_description_follows_the_name_of_its_backend() -> None:
    """A backend without a description is only in the enum."""
    schema = backend_schema(["east", "west", "test"], "Choose.", {"east": "Europe", "west": "US."})
    assert schema == {
        "type": "string",
        "enum": ["east", "west", "test"],
        "description": "Choose. east: Europe. west: US.",
    }


async def test_the_descriptions_stand_wherever_a_caller_must_choose() -> None:
    """They are in the schemas of all tools with the argument, and in the errors."""
    async with ContraryBackend.open(
        {},
        methods={"factory.v1.Factory/BuildMachine": answering(operations_pb2.Operation())},
        pool=factory.pool(),
        reflection_versions=("v1",),
    ) as backend:
        east = {"name": "east", "target": backend.target, "description": "Machines in Europe."}
        west = {"name": "west", "target": backend.target}
        async with serving(east, west) as url, Client(f"{url}/mcp") as client:
            tools = {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}
            request = {"parent": "lines/1", "machine": {"title": "t"}}
            method = await client.call_tool("build_machine", request)
            verb = await client.call_tool("get_operation", {"name": "lines/1/operations/1"})
        async with serving(east, west, mcp={"tool_budget": 1}) as url, Client(url + "/mcp") as few:
            tools |= {tool.name: tool.input_schema for tool in (await few.list_tools()).tools}
    for name in ("get_operation", "list_operations", "build_machine", "search_methods"):
        described = tools[name]["properties"]["backend"]["description"]
        assert described.endswith(" east: Machines in Europe."), name
    assert "name one of them: east (Machines in Europe), west" in message(method)
    assert "there are: east (Machines in Europe), west" in message(verb)


def message(result: Any) -> str:
    """Return the message of a refused call."""
    assert result.is_error
    return str(json.loads(result.content[0].text)["message"])

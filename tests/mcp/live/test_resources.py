"""Tests of operations as MCP resources."""

from __future__ import annotations

import json
from typing import Any

import grpc
import mcp_types as types
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from tests.contrary import refusing
from tests.steps import Steps


async def test_an_operation_is_a_resource(steps_url: str, steps: Steps) -> None:
    """A client can list the resource, read it as ProtoJSON, and complete its URI."""
    del steps
    async with Client(f"{steps_url}/mcp", mode="2026-07-28") as client:
        (template,) = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "operation://{backend}/{+name}"
        read = await client.read_resource("operation://b/jobs/1")
        (content,) = read.contents
        assert json.loads(getattr(content, "text", "")) == {
            "name": "jobs/1",
            "metadata": {"@type": "type.googleapis.com/progress.v1.Percent"},
            "done": False,
        }
        (listed,) = (await client.list_resources()).resources
        assert (str(listed.uri), listed.name) == ("operation://b/jobs/1", "jobs/1")
        assert listed.description == "Running, 0% done."
        reference = types.ResourceTemplateReference(uri=template.uri_template)
        values = [
            (await client.complete(reference, {"name": name, "value": prefix})).completion.values
            for name, prefix in (("backend", ""), ("backend", "x"), ("name", "jo"), ("name", "k"))
        ]
        assert values == [["b"], [], ["jobs/1"], []]


@pytest.mark.parametrize(("era", "code"), [("2026-07-28", -32602), ("legacy", -32002)])
@pytest.mark.parametrize(
    "uri",
    ["operation://b/none", "operation://b", "operation:///x", "a://b/c"],
)
async def test_the_uri_of_a_missing_resource_is_not_found(
    steps_url: str, steps: Steps, era: Any, code: int, uri: str
) -> None:
    """The error code is -32602 on 2026-07-28, and -32002 on earlier revisions."""
    steps.instead = refusing(grpc.StatusCode.NOT_FOUND, "no such job")
    async with Client(f"{steps_url}/mcp", mode=era) as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource(uri)
    assert (caught.value.code, caught.value.error.data) == (code, {"uri": uri})


async def test_a_uri_that_is_not_utf_8_is_not_found(steps_url: str, steps: Steps) -> None:
    """The gateway does not replace the invalid bytes, which could name another operation."""
    del steps
    async with Client(f"{steps_url}/mcp", mode="2026-07-28") as client:
        with pytest.raises(MCPError, match="Resource not found"):
            await client.read_resource("operation://b/%FF")

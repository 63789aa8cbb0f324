"""Methods with unusual descriptors do not hinder the other methods of their backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import mcp_types as types
import pytest
from google.api import field_behavior_pb2
from jsonschema import Draft202012Validator
from mcp import Client

from tests.gateways import serving
from tests.strange import Strange


@asynccontextmanager
async def tools(path: Path, content: bytes, *backends: str) -> AsyncIterator[dict[str, types.Tool]]:
    """List the method tools, by name, of backends that are down but have descriptors in a file."""
    await asyncio.to_thread(path.write_bytes, content)
    configured = [
        {"name": name, "target": "127.0.0.1:1", "descriptors": [str(path)]}
        for name in backends or ("b",)
    ]
    async with serving(*configured) as url, Client(f"{url}/mcp", mode="2026-07-28") as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools[5:]}
        for tool in listed.values():
            Draft202012Validator.check_schema(tool.input_schema)
            assert tool.input_schema["type"] == "object"
        yield listed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the descriptor set."""
    return tmp_path / "strange.binpb"


async def test_a_tool_that_cannot_be_made_is_left_out_and_logged(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Here the JSON name of a field is not UTF-8, which the descriptor pool accepts."""
    strange = Strange()
    strange.message("Good", "name")
    strange.message("Bad", "name").field[0].json_name = "~~~"
    strange.method("Begin", "strange.Good")
    strange.method("Break", "strange.Bad")
    content = strange.descriptor_set().replace(b"~~~", b"\xff\xff\xff")
    async with tools(path, content) as listed:
        assert list(listed) == ["begin"]
    assert "tools/list omits the tool break, because its schemas cannot be made" in caplog.messages


async def test_only_a_request_id_that_the_gateway_fills_in_is_described_so(
    path: Path,
) -> None:
    """The fields are OUTPUT_ONLY, renamed in JSON, and part of the path, in this order."""
    strange = Strange()
    given = strange.message("Given", "request_id", "name").field[0]
    given.options.Extensions[field_behavior_pb2.field_behavior].append(
        field_behavior_pb2.OUTPUT_ONLY
    )
    strange.message("Renamed", "request_id").field[0].json_name = "once"
    strange.message("Replayed", "request_id")
    strange.method("Give", "strange.Given")
    strange.method("Rename", "strange.Renamed")
    strange.method("Replay", "strange.Replayed", post="/v1/requests/{request_id}:replay")
    async with tools(path, strange.descriptor_set()) as listed:
        assert list(listed["give"].input_schema["properties"]) == ["name"]
        assert listed["replay"].input_schema["properties"] == {"requestId": {"type": "string"}}
        assert "requestId" not in (listed["give"].description or "")
        assert "requestId" not in (listed["replay"].description or "")
        assert "Choose your own once (a UUID)" in (listed["rename"].description or "")


async def test_a_request_that_is_a_struct_has_the_argument_backend(path: Path) -> None:
    """The schema of a Struct has no other properties, and `backend` chooses the backend."""
    strange = Strange()
    strange.method("Begin", "google.protobuf.Struct")
    async with tools(path, strange.descriptor_set(), "b", "c") as listed:
        assert listed["begin"].input_schema["properties"]["backend"]["enum"] == ["b", "c"]

"""Descriptors of tens of thousands of methods never hold up the event loop of the real server.

`/livez` must answer within 50 ms on an idle machine. The tests measure how much the gateway
computes meanwhile. Their bound is larger, because processors differ and share their caches.
"""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from tests import factory
from tests.descriptors.made_types import file
from tests.descriptors.test_source_list import service_file
from tests.mcp.wire import wire
from tests.reflecting import ReflectingBackend, answer
from tests.stalls import gateway_process, stalls

LONGEST = 0.6
"""Seconds. Before the work was done in slices, `/livez` took 2.7 to 8.2 s."""
METHODS = 20_000
GOOGLEAPIS = Path(__file__).parents[2] / ".venv" / "googleapis" / "all.binpb"


def large(services: int, methods: int) -> list[FileDescriptorProto]:
    """Make files with a service each, whose RPCs start operations."""
    files = []
    for number in range(services):
        package = f"large{number}.v1"
        made = file(f"large{number}.proto", package=package)
        made.dependency.extend(
            ["google/longrunning/operations.proto", "google/api/annotations.proto"]
        )
        service = made.service.add(name=f"Large{number}")
        for index in range(methods):
            message = made.message_type.add(name=f"Do{index}Request")
            message.field.add(name="title", number=1, type=9, label=1)
            method = service.method.add(
                name=f"Do{index}",
                input_type=f".{package}.{message.name}",
                output_type=".google.longrunning.Operation",
            )
            rule = http_pb2.HttpRule(post=f"/v1/things{number}/{index}:do", body="*")
            method.options.Extensions[annotations_pb2.http].CopyFrom(rule)
        files.append(made)
    return [*factory.descriptor_set().file[:-1], *files]


def descriptor_set(kind: str, directory: Path) -> Path:
    """Return the path of a large descriptor set of a kind."""
    if kind == "googleapis":
        return GOOGLEAPIS
    files = large(20, METHODS // 20)
    path = directory / "large.binpb"
    path.write_bytes(FileDescriptorSet(file=files).SerializeToString())
    return path


@pytest.mark.parametrize("kind", ["20,000 methods", "googleapis"])
async def test_large_descriptors_do_not_stall_the_server(kind: str, tmp_path: Path) -> None:
    """This holds while they are read, and for the tools, the OpenAPI document and the routes."""
    path = descriptor_set(kind, tmp_path)
    backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": [str(path)]}
    async with (
        # Without a limit, the gateway makes the schemas of a whole page of tools.
        gateway_process(
            tmp_path, {**backend, "discovery_wait": "120s"}, mcp={"tool_budget": 0}
        ) as gateway,
        httpx.AsyncClient(base_url=gateway.url, timeout=300) as client,
        wire(f"{gateway.url}/mcp") as mcp,
        stalls(gateway) as found,
    ):
        mcp.http.timeout = httpx.Timeout(300)
        document = await client.get("/openapi.json")
        first = await mcp("tools/list")
        unknown = await client.post("/v1/no/such:path", json={})
    assert found.longest < LONGEST
    assert document.status_code == 200
    assert len(document.content) < 1_000_000
    assert unknown.status_code == 404
    assert "nextCursor" in first


@pytest.mark.parametrize("kind", ["20,000 methods", "googleapis"])
async def test_a_model_finds_one_of_many_methods(kind: str, tmp_path: Path) -> None:
    """The list has at most 3000 tokens, and no search and no wrong name stalls the server."""
    path = descriptor_set(kind, tmp_path)
    backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": [str(path)]}
    query = "large19 do999" if kind == "20,000 methods" else "create dataproc cluster"
    async with (
        gateway_process(tmp_path, {**backend, "discovery_wait": "120s"}) as gateway,
        wire(f"{gateway.url}/mcp") as mcp,
        stalls(gateway) as found,
    ):
        mcp.http.timeout = httpx.Timeout(300)
        listed = (await mcp("tools/list"))["tools"]
        searched = await mcp("tools/call", name="search_methods", arguments={"query": query})
        (method,) = searched["structuredContent"]["methods"]
        name = {"name": method["name"]}
        described = await mcp("tools/call", name="describe_method", arguments=name)
        misspelt = {"name": f"{method['name']}x"}
        refused = await mcp("tools/call", name="call_method", arguments=misspelt)
    assert found.longest < LONGEST
    seen = [[tool["name"], tool["description"], tool["inputSchema"]] for tool in listed]
    assert len(json.dumps(seen)) < 4 * 3000
    assert described["structuredContent"]["name"] == method["name"]
    assert method["name"] in refused["content"][0]["text"]


async def test_more_methods_than_the_limit_are_left_out(tmp_path: Path) -> None:
    """A backend with 60,000 methods offers the first 20,000 of them, and the log says so."""
    path = tmp_path / "large.binpb"
    path.write_bytes(FileDescriptorSet(file=large(60, 1_000)).SerializeToString())
    backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": [str(path)]}
    async with (
        gateway_process(tmp_path, {**backend, "discovery_wait": "120s"}) as gateway,
        httpx.AsyncClient(base_url=gateway.url, timeout=300) as client,
        stalls(gateway) as found,
    ):
        parts = (await client.get("/openapi.json")).json()["x-documents"]
        await gateway.logged("raise max_methods")
    assert found.longest < LONGEST
    assert sum(part["methods"] for part in parts) == METHODS


@pytest.mark.parametrize("is_nested", [False, True])
async def test_a_file_of_100_000_messages_is_refused(is_nested: bool, tmp_path: Path) -> None:
    """The other services of the backend are served, and the log has the reason."""
    hostile = service_file("hostile.proto", "hostile")
    outer = hostile.message_type[0].nested_type if is_nested else hostile.message_type
    for number in range(100_000):
        outer.add(name=f"M{number}")
    sound = service_file("sound.proto", "sound")
    services = ["hostile.Builds", "sound.Builds"]
    answers = {"file_containing_symbol hostile.Builds": answer(hostile)}
    async with (
        ReflectingBackend.open([sound], *services, answers=answers) as backend,
        gateway_process(
            tmp_path, {"name": "b", "target": backend.target, "discovery_wait": "120s"}
        ) as gateway,
        httpx.AsyncClient(base_url=gateway.url, timeout=300) as client,
        stalls(gateway) as found,
    ):
        paths = (await client.get("/openapi.json")).json()["paths"]
        await gateway.logged("has more than 20000 declarations")
    assert found.longest < LONGEST
    assert [path for path in paths if "Builds" in path] == ["/v1/sound.Builds/Build"]

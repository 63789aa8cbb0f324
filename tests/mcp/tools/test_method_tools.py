"""Tests of methods as tools, on 2026-07-28 and on earlier revisions of MCP."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from google.longrunning import operations_pb2
from jsonschema import Draft202012Validator
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ToolsListChanged

from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from lro_gateway.mcp.tools.fields_argument import FIELDS_SCHEMA
from tests import factory
from tests.contrary import ContraryBackend, answering
from tests.gateways import serving
from tests.strange import Strange

FIXED = [f"{verb}_operation" for verb in ("get", "wait", "cancel", "delete")]
ERAS = ("2026-07-28", "legacy")


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> Any:
    """Return the protocol mode of the client."""
    return request.param


@pytest.fixture
def gate() -> Gate:
    """Return a gate, which can hold the demo's operations."""
    return Gate()


@pytest.fixture
def grace() -> str:
    """Return how long a start waits for the end of its operation."""
    return "0.1s"


@pytest.fixture
async def client(tmp_path: Path, gate: Gate, era: Any, grace: str) -> AsyncIterator[Client]:
    """Open a client of a gateway to the demo backend."""
    async with (
        DemoServer.open(tmp_path, pace=gate) as demo,
        serving(
            {"name": "demo", "target": demo.target, "methods": ["*/Get*"]}, sync_grace=grace
        ) as url,
        Client(f"{url}/mcp", mode=era) as client,
    ):
        yield client


async def tools_of(client: Client) -> dict[str, types.Tool]:
    """Return the tools that `tools/list` returns, by name."""
    return {tool.name: tool for tool in (await client.list_tools()).tools}


async def called(client: Client, tool: str, **arguments: Any) -> tuple[Any, str]:
    """Call a tool that must succeed; return its JSON and its text.

    The JSON must be valid by the tool's output schema.
    """
    result = await client.call_tool(tool, arguments)
    first, text = (block.text for block in result.content if isinstance(block, types.TextContent))
    assert not result.is_error, text
    assert json.loads(first) == result.structured_content
    Draft202012Validator((await tools_of(client))[tool].output_schema or {}).validate(
        result.structured_content
    )
    return result.structured_content, text


@pytest.mark.parametrize("grace", ["30s"])  # a busy machine needs more than the default
async def test_the_tools_create_back_up_check_and_export_a_database(client: Client) -> None:
    """Each step is one call, because each operation ends within the grace."""
    created, text = await called(client, "create_database", databaseId="orders", rowCount=20)
    assert created["done"]
    assert created["response"]["name"] == "databases/orders"
    assert text.startswith("Done: it succeeded, and response holds the result. A retry with")
    name = "databases/orders"
    backup, _ = await called(client, "backup_database", name=name, backupId="first")
    assert backup["response"]["name"] == "databases/orders/backups/first"
    checked, _ = await called(client, "check_database", name=name)
    assert checked["response"]["tables"]
    query = "select * from orders"
    exported, _ = await called(
        client, "export_query", database=name, query=query, format="JSON_LINES"
    )
    assert exported["response"]["rowCount"] == "20"
    database, text = await called(client, "get_database", name=name)
    assert (database["name"], text) == (name, "Done.")


async def test_a_longer_operation_is_returned_while_it_runs(client: Client, gate: Gate) -> None:
    """The text names wait_operation and the requestId; a retry returns the same operation."""
    gate.hold()
    result = await client.call_tool("create_database", {"databaseId": "orders"})
    assert result.structured_content is not None
    name = result.structured_content["name"]
    assert result.structured_content["done"] is False
    request_id = (result.meta or {})["lro-gateway/request_id"]
    *_, text = (block.text for block in result.content if isinstance(block, types.TextContent))
    assert "Call wait_operation" in text
    assert text.endswith(f"A retry with requestId {request_id} is safe.")
    again = await client.call_tool(
        "create_database", {"databaseId": "orders", "requestId": request_id}
    )
    assert again.structured_content is not None
    assert again.structured_content["name"] == name
    assert "lro-gateway/request_id" not in (again.meta or {})
    gate.release()
    ended, _ = await called(client, "wait_operation", name=name)
    assert ended["done"]


async def test_a_wrong_argument_is_a_tool_error_that_names_the_field(client: Client) -> None:
    """The gateway refuses the first argument, and the backend refuses the second."""
    result = await client.call_tool("create_database", {"databaseId": "a", "rowCount": "many"})
    assert result.is_error
    first, *_ = (block.text for block in result.content if isinstance(block, types.TextContent))
    status = json.loads(first)
    assert status["status"] == "INVALID_ARGUMENT"
    assert status["details"][1]["fieldViolations"][0]["field"] == "rowCount"
    result = await client.call_tool("create_database", {"databaseId": "NOT AN ID"})
    assert result.is_error


async def test_the_tools_of_operations_come_first_and_then_the_methods_by_name(
    client: Client,
) -> None:
    """Each tool has valid schemas, and annotations of its effects."""
    tools = await tools_of(client)
    names = list(tools)
    assert set(names[:5]) == {*FIXED, "list_operations"}
    assert names[5:] == [
        *("backup_database", "check_database", "create_database"),
        *("export_query", "get_database"),
    ]
    for tool in tools.values():
        for schema in (tool.input_schema, tool.output_schema):
            assert schema is not None
            Draft202012Validator.check_schema(schema)
            assert schema["type"] == "object"
    create, get = tools["create_database"], tools["get_database"]
    assert create.annotations == types.ToolAnnotations(
        title="Create database",
        read_only_hint=False,
        destructive_hint=False,
        idempotent_hint=False,
        open_world_hint=False,
    )
    assert create.input_schema == {
        "type": "object",
        "properties": {
            "databaseId": {"type": "string"},
            "rowCount": {"type": "integer"},
            "requestId": {"type": "string"},
        },
        "required": ["databaseId"],
    }
    assert get.input_schema["properties"]["fields"] == FIELDS_SCHEMA
    assert (get.annotations or types.ToolAnnotations()).read_only_hint


@pytest.fixture
def descriptors(tmp_path: Path) -> Path:
    """Write the factory's descriptors, with comments, to a file; return its path."""
    path = tmp_path / "factory.binpb"
    path.write_bytes(factory.descriptor_set().SerializeToString())
    return path


async def test_a_tools_description_has_the_comments_and_the_type_of_the_result(
    descriptors: Path, era: Any
) -> None:
    """The comments come from a file of descriptors, so the backend may be down."""
    backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": [str(descriptors)]}
    full = {"output_schemas": "full"}
    async with serving(backend, mcp=full) as url, Client(f"{url}/mcp", mode=era) as client:
        tools = await tools_of(client)
    build = tools["build_machine"]
    assert build.title == "Build machine"
    assert build.description == (
        'The service says: "Builds a machine. See the machine for what it is made of." Starts an'
        " operation that returns Machine. The service says:"
        ' "A machine: it has a drive. It may have parts, each of which is a machine too, and'
        " however many there are, a machine knows them all by name, for which reason this comment"
        ' is too long to be told as a..." Choose your own requestId (a UUID) and reuse it to'
        " repeat safely."
    )
    assert build.input_schema["properties"]["requestId"] == {"type": "string"}
    assert tools["overhaul"].description == (
        "Calls factory.v1.Factory/Overhaul. Starts an operation. A repeat starts another; list"
        " first. Deprecated."
    )
    output = build.output_schema or {}
    assert sorted(output["$defs"]) == [
        *("factory.v1.Engine", "factory.v1.Machine", "google.rpc.Status")
    ]
    metadata = output["properties"]["metadata"]
    assert metadata["description"] == (
        "Usually a factory.v1.BuildMetadata. The backend may send another type."
    )
    assert list(metadata["anyOf"][0]["properties"]) == ["@type", "progressPercent"]


async def test_an_argument_chooses_one_of_several_backends(era: Any) -> None:
    """The argument is `backend`, or `gateway_backend` if the request has a field `backend`."""
    answers = [operations_pb2.Operation(name=f"operations/{n}", done=True) for n in range(2)]
    async with AsyncExitStack() as stack:
        backends = [
            await stack.enter_async_context(
                ContraryBackend.open(
                    {},
                    methods={
                        "factory.v1.Factory/Overhaul": answering(answer),
                        "factory.v1.Factory/DeleteMachine": answering(answer),
                    },
                    pool=factory.pool(),
                    reflection_versions=("v1",),
                )
            )
            for answer in answers
        ]
        configured = [
            {"name": f"b{index}", "target": each.target} for index, each in enumerate(backends)
        ]
        url = await stack.enter_async_context(serving(*configured))
        client = await stack.enter_async_context(Client(f"{url}/mcp", mode=era))
        tools = await tools_of(client)
        properties = tools["overhaul"].input_schema["properties"]
        assert properties["backend"] == {"type": "string"}
        assert (
            properties["gateway_backend"]
            == tools["delete_machine"].input_schema["properties"]["backend"]
        )
        assert properties["gateway_backend"]["enum"] == ["b0", "b1"]
        await called(client, "overhaul", backend="own", gateway_backend="b1")
        deleted, _ = await called(client, "delete_machine", backend="b0")
        assert deleted["name"] == "//b0/operations/0"
        assert [each.count("Overhaul") for each in backends] == [0, 1]
        (call,) = [call for call in backends[1].calls if call.method == "Overhaul"]
        assert call.request.backend == "own"


async def test_a_short_name_never_leads_to_another_service(era: Any) -> None:
    """If a backend with an RPC of the same name appears, only the longer names work."""
    async with AsyncExitStack() as stack:
        targets = []
        for package in ("one", "two"):
            strange = Strange()
            strange.file.package, strange.file.name = package, f"{package}.proto"
            strange.message("Request", "name")
            strange.method("Run", f"{package}.Request")
            running = answering(operations_pb2.Operation(name=f"{package}/1", done=True))
            backend = ContraryBackend.open(
                {},
                methods={f"{package}.Strange/Run": running},
                pool=strange.pool(),
                reflection_versions=("v1",),
            )
            targets.append((await stack.enter_async_context(backend)).target)
        settings = [{"name": f"b{at}", "target": target} for at, target in enumerate(targets)]
        for backends, expected in ((settings[:1], "one/1"), (settings, "one_strange_run")):
            async with serving(*backends) as url, Client(f"{url}/mcp", mode=era) as client:
                longer = await client.call_tool("one_strange_run", {})
                assert "one/1" in str(longer.structured_content)
                short = await client.call_tool("run", {})
                assert expected in str(short.content)
                assert short.is_error == (len(backends) == 2)
                assert ("AMBIGUOUS_TOOL" in str(short.content)) == short.is_error


async def test_a_listener_is_notified_of_changes_of_the_tools(descriptors: Path) -> None:
    """The tools change after the file of descriptors has changed and the gateway has read it."""
    backend = {
        "name": "b",
        "target": "127.0.0.1:1",
        "descriptors": [str(descriptors)],
        "descriptor_refresh": "0.1s",
    }
    async with serving(backend) as url, Client(f"{url}/mcp", mode="2026-07-28") as client:
        assert "overhaul" in await tools_of(client)
        async with client.listen(tools_list_changed=True) as changes:
            fewer = copy.deepcopy(factory.descriptor_set())
            del fewer.file[-1].service[0].method[1:]
            await asyncio.to_thread(descriptors.write_bytes, fewer.SerializeToString())
            async for change in changes:
                assert isinstance(change, ToolsListChanged)
                break
        assert list(await tools_of(client))[5:] == ["build_machine"]


async def test_a_long_list_of_tools_has_several_pages(descriptors: Path, era: Any) -> None:
    """Each tool is on one page, in order, and an unknown cursor fails with -32602."""
    many = copy.deepcopy(factory.descriptor_set())
    methods = many.file[-1].service[0].method
    for index in range(300):
        methods.add().CopyFrom(methods[0])
        methods[-1].name = f"Build{index}"
    await asyncio.to_thread(descriptors.write_bytes, many.SerializeToString())
    backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": [str(descriptors)]}
    everything = {"tool_budget": 0}
    async with serving(backend, mcp=everything) as url, Client(f"{url}/mcp", mode=era) as client:
        page = await client.list_tools()
        names = [tool.name for tool in page.tools]
        assert page.next_cursor
        while page.next_cursor:
            page = await client.list_tools(cursor=page.next_cursor)
            names += [tool.name for tool in page.tools]
        assert len(names) == len(set(names)) == 5 + 4 + 300
        assert names[5:] == sorted(names[5:])
        with pytest.raises(MCPError) as caught:
            await client.list_tools(cursor="nowhere")
    assert caught.value.code == types.INVALID_PARAMS


async def test_a_names_description_has_an_example_and_a_missing_one_gets_a_next_step(
    client: Client,
) -> None:
    """The example comes from the path of the method's google.api.http rule."""
    backup = (await tools_of(client))["backup_database"]
    assert backup.input_schema["properties"]["name"] == {
        "type": "string",
        "description": "databases/my-database",
    }
    result = await client.call_tool(
        "backup_database", {"name": "databases/none", "backupId": "first"}
    )
    *_, text = (block.text for block in result.content if isinstance(block, types.TextContent))
    assert "A resource that the request names does not exist, or does not exist yet." in text

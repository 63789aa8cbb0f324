"""Tests of the three tools that find, describe and call methods which are not listed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from google.longrunning import operations_pb2
from jsonschema import Draft202012Validator
from mcp import Client
from mcp.shared.exceptions import MCPError

from lro_gateway.config.models import GatewayConfig
from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from lro_gateway.gateway import Gateway
from lro_gateway.serving.app import create_mcp_server
from tests import factory
from tests.access.guarded import ALICE, BOB, Recording, guarded, mcp
from tests.contrary import ContraryBackend, answering
from tests.gateways import serving
from tests.mcp.jobs import GRACE, Jobs
from tests.mcp.tool_client import texts
from tests.mcp.wire import wire
from tests.strange import Strange

ERAS = ("2026-07-28", "legacy")
SMALL = {"tool_budget": 1}
"""A budget that the tools of no method keep to."""
CATALOG = ["search_methods", "describe_method", "call_method"]


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> Any:
    """Return the protocol mode of the client."""
    return request.param


@pytest.fixture
def gate() -> Gate:
    """Return a gate, which can hold the demo's operations."""
    return Gate()


@pytest.fixture
async def demo(tmp_path: Path, gate: Gate) -> AsyncIterator[dict[str, Any]]:
    """Serve the demo backend; yield its entry in a gateway's configuration."""
    async with DemoServer.open(tmp_path, pace=gate) as demo:
        yield {"name": "demo", "target": demo.target, "methods": ["*/Get*", "*/List*"]}


@pytest.fixture
def grace() -> str:
    """Return how long a start waits for the end of its operation."""
    return "1s"


@pytest.fixture
async def client(demo: dict[str, Any], era: Any, grace: str) -> AsyncIterator[Client]:
    """Open a client of a gateway to the demo backend, whose methods exceed the budget."""
    async with (
        serving(demo, mcp=SMALL, sync_grace=grace) as url,
        Client(f"{url}/mcp", mode=era) as client,
    ):
        yield client


async def called(client: Client, tool: str, **arguments: Any) -> tuple[Any, str]:
    """Call a tool that must succeed; return its JSON and its text."""
    result = await client.call_tool(tool, arguments)
    first, text = texts(result)
    assert not result.is_error, text
    assert json.loads(first) == result.structured_content
    return result.structured_content, text


async def refused(client: Client, tool: str, **arguments: Any) -> tuple[Any, str]:
    """Call a tool that must fail; return its status and its text."""
    result = await client.call_tool(tool, arguments)
    first, text = texts(result)
    assert result.is_error
    return json.loads(first), text


async def test_three_tools_stand_for_the_methods_in_the_list(client: Client) -> None:
    """The tools of operations are always listed, and the schemas of all are valid."""
    listed = (await client.list_tools()).tools
    assert [tool.name for tool in listed[5:]] == CATALOG
    assert {tool.name for tool in listed[:5]} == {
        *("get_operation", "list_operations", "wait_operation"),
        *("cancel_operation", "delete_operation"),
    }
    for tool in listed[5:]:
        for schema in filter(None, (tool.input_schema, tool.output_schema)):
            Draft202012Validator.check_schema(schema)
        reads = tool.name != "call_method"
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is reads
        assert tool.annotations.destructive_hint is not reads


async def test_a_model_finds_describes_and_calls_a_method(client: Client) -> None:
    """Each answer is valid by the schema of its tool, and names the next tool."""
    listed = {tool.name: tool for tool in (await client.list_tools()).tools}
    found, text = await called(client, "search_methods", query="create a database")
    Draft202012Validator(listed["search_methods"].output_schema or {}).validate(found)
    name = found["methods"][0]["name"]
    assert name == "create_database"
    assert "describe_method" in text
    described, text = await called(client, "describe_method", name=name)
    Draft202012Validator(listed["describe_method"].output_schema or {}).validate(described)
    assert described["inputSchema"]["required"] == ["databaseId"]
    assert "call_method" in text
    arguments = {"databaseId": "orders", "rowCount": 20}
    Draft202012Validator(described["inputSchema"]).validate(arguments)
    created, _ = await called(client, "call_method", name=name, arguments=arguments)
    Draft202012Validator(described["outputSchema"]).validate(created)
    # The operation may outlast the grace of the start on a busy machine.
    ended, _ = await called(client, "wait_operation", name=created["name"])
    assert ended["response"]["name"] == "databases/orders"


async def test_a_search_has_the_service_and_the_comment_of_each_method(
    tmp_path: Path, era: Any
) -> None:
    """The first sentence of the comment is a text of the service, so it is in quotes."""
    path = tmp_path / "factory.binpb"
    path.write_bytes(factory.descriptor_set().SerializeToString())
    backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": [str(path)]}
    async with serving(backend, mcp=SMALL) as url, Client(f"{url}/mcp", mode=era) as client:
        found, text = await called(client, "search_methods")
    assert found == {
        "methods": [
            {"name": "build_machine", "description": 'factory.v1.Factory: "Builds a machine"'},
            {"name": "delete_machine", "description": "factory.v1.Factory"},
            {"name": "overhaul", "description": "factory.v1.Factory"},
            {"name": "update_machine", "description": "factory.v1.Factory"},
        ],
        "totalSize": 4,
    }
    assert text == (
        "Methods 1 to 4 of 4, the best first. Pass a name to describe_method for the arguments,"
        " then to call_method."
    )


async def test_a_description_is_the_tool_as_a_list_without_a_budget_has_it(
    demo: dict[str, Any], era: Any
) -> None:
    """The title, the description, both schemas and the hints are the same."""
    async with (
        serving(demo, mcp={"tool_budget": 0}) as whole,
        serving(demo, mcp=SMALL) as small,
        Client(f"{whole}/mcp", mode=era) as one,
        Client(f"{small}/mcp", mode=era) as other,
    ):
        tools = (await one.list_tools()).tools[5:]
        assert len(tools) > 5
        for tool in tools:
            described, _ = await called(other, "describe_method", name=tool.name)
            dumped = tool.model_dump(by_alias=True, exclude_none=True, exclude={"execution"})
            assert described == dumped


@pytest.mark.parametrize("grace", ["30s"])  # a busy machine needs more than the default
async def test_a_method_that_is_not_listed_can_be_called_by_its_name(client: Client) -> None:
    """The answer, its text and its `_meta` are those of a call by call_method."""
    own = await client.call_tool("create_database", {"databaseId": "own", "rowCount": 20})
    arguments = {"databaseId": "other", "rowCount": 20}
    other = await client.call_tool(
        "call_method", {"name": "create_database", "arguments": arguments}
    )
    for result in (own, other):
        assert (result.structured_content or {})["done"]
        request_id = (result.meta or {})["lro-gateway/request_id"]
        assert texts(result)[1].endswith(f"A retry with requestId {request_id} is safe.")
    repeated = {**arguments, "requestId": (other.meta or {})["lro-gateway/request_id"]}
    again = await client.call_tool("create_database", repeated)
    assert again.structured_content == other.structured_content


@pytest.mark.parametrize(
    "arguments",
    [
        {"databaseId": "a", "rowCount": "many"},
        {"databaseId": "a", "zoo": 1},
        {"databaseId": "NOT AN ID"},
        {},
    ],
    ids=["wrong", "unknown", "refused by the backend", "missing"],
)
async def test_a_wrong_argument_is_refused_as_by_the_methods_own_tool(
    client: Client, arguments: dict[str, Any]
) -> None:
    """The error names the same field."""
    own = await client.call_tool("create_database", arguments)
    other = await client.call_tool(
        "call_method", {"name": "create_database", "arguments": arguments}
    )
    assert own.is_error
    assert other.is_error
    assert texts(other) == texts(own)


@pytest.mark.parametrize(
    ("tool", "arguments", "field"),
    [
        ("call_method", {}, "name"),
        ("call_method", {"name": ""}, "name"),
        ("call_method", {"name": 1}, "name"),
        ("call_method", {"name": "create_database", "arguments": "{}"}, "arguments"),
        ("call_method", {"name": "create_database", "databaseId": "a"}, "databaseId"),
        ("describe_method", {}, "name"),
        ("describe_method", {"method": "create_database"}, "method"),
        ("search_methods", {"query": ["create"]}, "query"),
        ("search_methods", {"words": "create"}, "words"),
        ("search_methods", {"pageToken": "x"}, "pageToken"),
        ("search_methods", {"pageToken": "9" * 5000}, "pageToken"),
        ("search_methods", {"backend": "west"}, "backend"),
    ],
)
async def test_a_wrong_argument_of_the_three_tools_is_refused(
    client: Client, tool: str, arguments: dict[str, Any], field: str
) -> None:
    """The error names the argument."""
    status, _ = await refused(client, tool, **arguments)
    assert status["status"] == "INVALID_ARGUMENT"
    assert status["details"][1]["fieldViolations"][0]["field"] == field


@pytest.mark.parametrize("tool", ["describe_method", "call_method"])
async def test_an_unknown_name_is_refused_with_names_that_are_spelt_like_it(
    client: Client, tool: str
) -> None:
    """The next step is a search."""
    status, text = await refused(client, tool, name="create_databse")
    assert status["status"] == "NOT_FOUND"
    assert status["details"][0]["reason"] == "UNKNOWN_METHOD"
    assert status["message"] == (
        "there is no method 'create_databse'; did you mean create_database?"
    )
    assert "Call search_methods" in text
    status, _ = await refused(client, tool, name="x" * 10_000)
    assert "did you mean" not in status["message"]


async def test_call_method_does_not_call_itself(client: Client) -> None:
    """It is no method."""
    inner = {"name": "create_database", "arguments": {"databaseId": "a"}}
    status, _ = await refused(client, "call_method", name="call_method", arguments=inner)
    assert status["details"][0]["reason"] == "UNKNOWN_METHOD"


@pytest.mark.parametrize("tool", ["describe_method", "call_method"])
async def test_an_unknown_name_may_belong_to_a_backend_that_is_down(era: Any, tool: str) -> None:
    """The error is UNAVAILABLE, as for a call of the tool, and a search says so too."""
    down = {"name": "b", "target": "127.0.0.1:1"}
    async with serving(down, mcp=SMALL) as url, Client(f"{url}/mcp", mode=era) as client:
        status, _ = await refused(client, tool, name="create_database")
        _, text = await called(client, "search_methods", query="create")
    assert status["details"][0]["reason"] == "METHODS_NOT_KNOWN"
    assert "Methods may be missing: backend 'b' at 127.0.0.1:1 cannot be reached" in text


async def test_a_hidden_method_is_neither_found_nor_described_nor_called(era: Any) -> None:
    """The errors are those of a method that does not exist, and no suggestion names it."""
    policy = Recording(hides=lambda caller, name: caller == BOB and name == "build_machine")
    methods = {
        f"{factory.SERVICE}/{name}": answering(operations_pb2.Operation(name="jobs/1", done=True))
        for name in ("BuildMachine", "Overhaul")
    }
    async with (
        ContraryBackend.open(
            {}, methods=methods, pool=factory.pool(), reflection_versions=("v1",)
        ) as backend,
        guarded(policy, {"name": "b", "target": backend.target}, mcp=SMALL) as url,
    ):
        seen: dict[str, list[str]] = {}
        for caller in (ALICE, BOB, ALICE):
            async with mcp(url, caller, era) as client:
                found, _ = await called(client, "search_methods", query="machine build")
                seen[caller.subject] = [each["name"] for each in found["methods"]]
                if caller == BOB:
                    for tool in ("describe_method", "call_method"):
                        for name in ("build_machine", "build_machines"):
                            status, _ = await refused(client, tool, name=name)
                            assert status["details"][0]["reason"] == "UNKNOWN_METHOD"
                            near = status["details"][0]["metadata"]["methods"]
                            assert "build_machine" not in near.split(", ")
                    with pytest.raises(MCPError):
                        await client.call_tool("build_machine", {})
                else:
                    await called(client, "describe_method", name="build_machine")
        assert backend.count("BuildMachine") == 0
    assert seen["alice"][0] == "build_machine"
    assert "build_machine" not in seen["bob"]


async def test_a_start_by_call_method_becomes_a_task() -> None:
    """On 2026-07-28, the client declares the extension. The task's result is the operation."""
    async with (
        Jobs.open() as jobs,
        serving(jobs.settings, mcp=SMALL, sync_grace=GRACE) as url,
        wire(f"{url}/mcp") as client,
    ):
        arguments = {"name": "slow_compute", "arguments": {"seconds": 1000, "label": "a"}}
        created = await client("tools/call", name="call_method", arguments=arguments)
        assert (created["resultType"], created["status"]) == ("task", "working")
        await client("tasks/cancel", taskId=created["taskId"])
        ended = await client("tasks/get", taskId=created["taskId"])
        assert ended["status"] == "cancelled"
        assert jobs.jobs["operations/1"].cancelled


async def test_call_method_runs_as_a_task_of_the_core_protocol() -> None:
    """The list says so, so a call becomes a task even if it starts nothing or fails."""
    async with Jobs.open() as jobs:
        backend = {**jobs.settings, "methods": ["*"]}
        async with (
            serving(backend, mcp=SMALL, sync_grace=GRACE) as url,
            wire(f"{url}/mcp", "2025-11-25") as client,
        ):
            listed = (await client("tools/list"))["tools"]
            support = {tool["name"]: tool.get("execution", {}) for tool in listed}
            assert support["call_method"] == {"taskSupport": "optional"}
            assert not support["search_methods"]
            started: dict[str, Any] = {}
            for name in ("slow_compute", "test_simple_text", "test_error_handling", "no_such"):
                arguments = {"name": name, "arguments": {"seconds": 1000}}
                if name != "slow_compute":
                    del arguments["arguments"]
                result = await client(
                    "tools/call", name="call_method", arguments=arguments, task={"ttl": 60_000}
                )
                started[name] = result["task"]
            assert {name: task["status"] for name, task in started.items()} == {
                "slow_compute": "working",
                "test_simple_text": "completed",
                "test_error_handling": "failed",
                "no_such": "failed",
            }
            assert list(jobs.jobs) == ["operations/1"]


async def test_a_person_is_asked_before_call_method_calls(demo: dict[str, Any], era: Any) -> None:
    """The question is that of the method's own tool. On both protocols, the answer decides."""
    asked: list[str] = []
    answers: Iterator[Any] = iter(["decline", "accept"])

    async def person(_context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        asked.append(params.message)
        return types.ElicitResult(action=next(answers), content={"agreed": True})

    backend = {**demo, "confirm": ["*/Create*"]}
    call = {"name": "create_database", "arguments": {"databaseId": "orders", "rowCount": 20}}
    async with session(backend, era, person) as client:
        status, _ = await refused(client, "call_method", **call)
        assert status["details"][0]["reason"] == "CONFIRMATION_DECLINED"
        created, _ = await called(client, "call_method", **call)
        assert created["response"]["name"] == "databases/orders"
    async with session(backend, era, None) as client:
        status, _ = await refused(client, "call_method", **call)
        assert status["details"][0]["reason"] == "CONFIRMATION_REQUIRED"
    question = (
        "Call lro_gateway.demo.v1.DatabaseAdmin/CreateDatabase on backend demo? It starts a"
        ' long-running operation with {"databaseId": "orders", "rowCount": 20}.'
    )
    assert asked == [question, question]


@asynccontextmanager
async def session(backend: dict[str, Any], era: Any, person: Any) -> AsyncIterator[Client]:
    """Open a client that can be asked: over HTTP, or in a session on earlier revisions."""
    if era != "legacy":
        async with (
            serving(backend, mcp=SMALL, sync_grace="30s") as url,
            Client(f"{url}/mcp", mode=era, elicitation_callback=person) as client,
        ):
            yield client
        return
    settings = {"server": {"sync_grace": "30s"}, "backends": [backend], "mcp": SMALL}
    config = GatewayConfig.model_validate(settings)
    async with Gateway.open(config) as gateway:
        server = create_mcp_server(gateway).server
        async with Client(server, mode=era, elicitation_callback=person) as client:
            yield client


async def test_a_wait_by_call_method_reports_progress(client: Client, gate: Gate) -> None:
    """A tool of an operation can be called in this way too."""
    gate.hold()
    started, _ = await called(
        client, "call_method", name="create_database", arguments={"databaseId": "orders"}
    )
    reports: list[Any] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, total, message))
        gate.release()

    arguments = {"name": "wait_operation", "arguments": {"name": started["name"]}}
    result = await client.call_tool("call_method", arguments, progress_callback=report)
    assert (result.structured_content or {})["done"]
    assert reports[0][2].startswith("Running")


async def test_a_search_over_many_methods_has_pages(tmp_path: Path, era: Any) -> None:
    """Each method is on one page. A search by words has the same pages."""
    many = Strange()
    many.message("Request", "name")
    for number in range(45):
        many.method(f"Build{number:02}", "strange.Request")
    path = tmp_path / "many.binpb"
    await asyncio.to_thread(path.write_bytes, many.descriptor_set())
    backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": [str(path)]}
    async with serving(backend, mcp=SMALL) as url, Client(f"{url}/mcp", mode=era) as client:
        for query in ({}, {"query": "strange"}):
            names: list[str] = []
            token: dict[str, str] = {}
            for last in (False, False, True):
                page, text = await called(client, "search_methods", **query, **token)
                assert page["totalSize"] == 45
                assert ("nextPageToken" in page) is not last
                assert ("pageToken set to nextPageToken" in text) is not last
                names += [each["name"] for each in page["methods"]]
                token = {"pageToken": page.get("nextPageToken", "")}
            assert sorted(names) == [f"build{number:02}" for number in range(45)]
        beyond, text = await called(client, "search_methods", pageToken="100")
        assert beyond["methods"] == []
        with pytest.raises(MCPError, match="call tools/list again without cursor"):
            await client.list_tools(cursor="build00")


async def test_a_very_long_schema_of_an_answer_is_left_out(tmp_path: Path, era: Any) -> None:
    """The text says so."""
    long = Strange()
    long.message("Request", "name")
    long.message("Response", *(f"a_long_name_of_a_field_{number}" for number in range(2000)))
    long.method("Read", "strange.Request", "strange.Response")
    path = tmp_path / "long.binpb"
    path.write_bytes(long.descriptor_set())
    backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": [str(path)], "methods": ["*"]}
    async with serving(backend, mcp=SMALL) as url, Client(f"{url}/mcp", mode=era) as client:
        described, text = await called(client, "describe_method", name="read")
    assert "outputSchema" not in described
    assert "name" in described["inputSchema"]["properties"]
    assert text.endswith("The schema of its answer is left out, because it is very long.")

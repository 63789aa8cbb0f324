"""Tests of answers that are too long for a model's context: their shape and the whole."""

from __future__ import annotations

import json
from typing import Any

import mcp_types as types
import pytest
from google.longrunning import operations_pb2
from mcp import Client
from mcp.shared.exceptions import MCPError

from tests.contrary import Handler, answering
from tests.mcp.reports import client_of_reports, finished, message, report, serving_reports
from tests.mcp.tool_client import MODES, packed
from tests.mcp.wire import wire

_MIB = 2**20
_TOKENS = 3000
_LARGE: dict[str, Any] = {"max_message_bytes": 16 * _MIB}


def tokens(result: types.CallToolResult) -> float:
    """Return what a result costs a model that sees all of it, at four bytes for each token."""
    return len(result.model_dump_json(by_alias=True, exclude_none=True)) / 4


def texts(result: types.CallToolResult) -> list[str]:
    """Return the texts of a result."""
    return [block.text for block in result.content if isinstance(block, types.TextContent)]


def link(result: types.CallToolResult) -> str:
    """Return the URI of the one link of a result. The words have it too."""
    (uri,) = [str(each.uri) for each in result.content if isinstance(each, types.ResourceLink)]
    assert f"read the resource {uri} in parts" in texts(result)[1]
    return uri


async def read(client: Client, uri: str) -> types.TextResourceContents:
    """Return the content of a resource."""
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, types.TextResourceContents)
    return content


async def whole(client: Client, uri: str) -> Any:
    """Read a resource in parts, and return its JSON."""
    text, total = "", 1
    while len(text) < total:
        part = await read(client, f"{uri}?offset={len(text)}&limit=1000000")
        assert part.mime_type == "text/plain"
        assert part.meta is not None
        total = part.meta["lro-gateway/characters"]
        assert 0 < len(part.text) <= 160_000
        text += part.text
    return json.loads(text)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tool", ["get_operation", "wait_operation", "make_report"])
async def test_a_response_of_5_mb_costs_few_tokens_and_is_in_reach(mode: str, tool: str) -> None:
    """The result has the shape of the operation and a link, and parts of the link are the whole."""
    operation = finished(report(1000, 5300))
    operations: dict[str, Handler] = {
        "GetOperation": answering(operation),
        "WaitOperation": answering(operation),
    }
    methods = {"MakeReport": answering(operation)}
    arguments = {"parent": "p/1", "format": "CSV"} if tool == "make_report" else {"name": "x/1"}
    async with client_of_reports(mode, operations, methods, **_LARGE) as (client, _):
        result = await client.call_tool(tool, arguments)
        uri = link(result)
        read_whole = await whole(client, uri)
    assert len(json.dumps(read_whole)) > 5 * _MIB
    assert tokens(result) <= _TOKENS
    assert read_whole["response"]["rows"][999] == {"id": "row999", "text": "x" * 5300}
    shape = result.structured_content
    assert shape is not None
    assert json.loads(texts(result)[0]) == shape
    assert (shape["name"], shape["done"]) == ("reports/1/operations/1", True)
    assert shape["response"]["name"] == "reports/1"
    assert texts(result)[1].startswith("Done: it succeeded, and response holds the result. The ")
    assert "response.rows has 1000 items, of which 1 is shown" in texts(result)[1]
    assert 'call get_operation with fields such as "response.rows.id"' in texts(result)[1]
    assert f"{uri}?offset=0&limit=20000" in texts(result)[1]


@pytest.mark.parametrize("mode", MODES)
async def test_the_advised_fields_of_a_cut_answer_are_not_cut(mode: str) -> None:
    """The selection is short enough, although the whole is not."""
    operation = finished(report(1000, 5300))
    handlers: dict[str, Handler] = {"GetOperation": answering(operation)}
    async with client_of_reports(mode, handlers, **_LARGE) as (client, _):
        selected = await client.call_tool(
            "get_operation", {"name": "x/1", "fields": "response.rows.id"}
        )
    assert selected.structured_content == {
        "response": {"rows": [{"id": f"row{index}"} for index in range(1000)]}
    }


@pytest.mark.parametrize("mode", MODES)
async def test_a_list_of_a_thousand_and_a_plain_response_are_kept_as_a_whole(mode: str) -> None:
    """They are no operation, so the gateway keeps their JSON for a while under a URI of its own."""
    metadata = packed(message("MakeReportMetadata", step="x" * 100))
    page = operations_pb2.ListOperationsResponse(
        operations=[
            operations_pb2.Operation(name=f"reports/{number}", metadata=metadata)
            for number in range(1000)
        ]
    )
    operations: dict[str, Handler] = {"ListOperations": answering(page)}
    methods = {"ReadReport": answering(report(1000, 5300))}
    async with client_of_reports(mode, operations, methods, **_LARGE) as (client, _):
        listed = await client.call_tool("list_operations", {"pageSize": 1000})
        all_operations = await whole(client, link(listed))
        plain = await client.call_tool("read_report", {"name": "x"})
        all_rows = await whole(client, link(plain))
        with pytest.raises(MCPError, match="Resource not found"):
            await client.read_resource("answer://unknown")
    assert len(all_operations["operations"]) == len(all_rows["rows"]) == 1000
    assert max(tokens(listed), tokens(plain)) <= _TOKENS
    assert texts(listed)[1].startswith("1000 operations on this page: 1000 running. The answer is")
    assert listed.structured_content is not None
    assert listed.structured_content["operations"][0]["name"] == "reports/0"
    assert texts(plain)[1].startswith("Done. The answer is cut, because its JSON has ")


async def test_the_limit_is_a_setting_and_a_result_within_it_is_whole() -> None:
    """A resource of this size can be read at once."""
    operation = finished(report(100, 100))
    handlers: dict[str, Handler] = {"GetOperation": answering(operation)}
    arguments = {"name": "x/1"}
    for limit, is_cut in ((8192, True), (65536, False)):
        async with client_of_reports("2026-07-28", handlers, mcp={"answer_bytes": limit}) as (
            client,
            _,
        ):
            result = await client.call_tool("get_operation", arguments)
            content = await read(client, "operation://b/x/1")
        assert ("is cut" in texts(result)[1]) == is_cut
        assert (json.loads(content.text) == result.structured_content) != is_cut
        assert content.mime_type == "application/json"


@pytest.mark.parametrize("mode", MODES)
async def test_a_resource_that_is_too_long_for_one_message_tells_how_to_read_parts(
    mode: str,
) -> None:
    """Some clients refuse messages of more than a mebibyte."""
    operation = finished(report(1000, 5300))
    handlers: dict[str, Handler] = {"GetOperation": answering(operation)}
    async with client_of_reports(mode, handlers, **_LARGE) as (client, _):
        with pytest.raises(MCPError) as caught:
            await client.read_resource("operation://b/x/1")
        part = await read(client, "operation://b/x/1?offset=2&limit=4")
        assert (await read(client, "operation://b/x/1?offset=99999999")).text == ""
    assert caught.value.message.endswith("such as operation://b/x/1?offset=0&limit=160000")
    assert part.text == "name"


async def test_the_result_of_a_task_is_cut_as_well() -> None:
    """tasks/get returns what the tool would return."""
    operation = finished(report(1000, 5300))
    running = operations_pb2.Operation(name=operation.name)
    states = [running]

    async def get(_request: Any, _context: Any) -> Any:
        return states[-1]

    operations: dict[str, Handler] = {"GetOperation": get}
    methods = {"MakeReport": answering(running)}
    server = {"sync_grace": "0s"}
    async with (
        serving_reports(operations, methods, server=server, **_LARGE) as (url, _),
        wire(url) as client,
    ):
        task = await client(
            "tools/call", name="make_report", arguments={"parent": "p/1", "format": "CSV"}
        )
        states.append(operation)
        ended = await client("tasks/get", taskId=task["taskId"])
    assert ended["status"] == "completed"
    assert len(json.dumps(ended)) / 4 <= _TOKENS
    assert ended["result"]["structuredContent"]["name"] == operation.name


@pytest.mark.parametrize(
    ("revision", "links"), [("2025-03-26", True), ("2025-06-18", False), ("2026-07-28", False)]
)
async def test_a_result_without_a_link_has_the_uri_in_its_text(revision: str, links: bool) -> None:
    """The oldest revision has no links, and an operator may switch them off."""
    operation = finished(report(1000, 100))
    handlers: dict[str, Handler] = {"GetOperation": answering(operation)}
    async with (
        serving_reports(handlers, mcp={"resource_links": links}) as (url, _),
        wire(url, revision) as client,
    ):
        result = await client("tools/call", name="get_operation", arguments={"name": "x/1"})
    assert [block["type"] for block in result["content"]] == ["text", "text"]
    assert "operation://b/reports/1/operations/1?offset=0" in result["content"][1]["text"]

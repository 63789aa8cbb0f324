"""Tests of the argument `fields`, which selects the parts of an answer over MCP."""

from __future__ import annotations

import json
from typing import Any, Final

import httpx
import pytest
from google.longrunning import operations_pb2

from tests.contrary import Handler, answering
from tests.gateways import serving
from tests.mcp.reports import client_of_reports, finished, report
from tests.mcp.tool_client import MODES, client_of, packed, texts
from tests.shapes import message

_OPERATION = operations_pb2.Operation(
    name="jobs/1",
    metadata=packed(message("Job", progress_percent=42, status_message="Copying rows.")),
)
_PAGE = operations_pb2.ListOperationsResponse(operations=[_OPERATION])
_HANDLERS: dict[str, Handler] = {
    "GetOperation": answering(_OPERATION),
    "ListOperations": answering(_PAGE),
}
_NAME_AND_PERCENT: Final = {"operations": [{"name": "jobs/1", "metadata": {"progressPercent": 42}}]}
_CASES: list[tuple[str, dict[str, Any], str, Any]] = [
    (
        "get_operation",
        {"name": "jobs/1"},
        "name,metadata.progressPercent",
        {"name": "jobs/1", "metadata": {"progressPercent": 42}},
    ),
    ("get_operation", {"name": "jobs/1"}, "done", {"done": False}),
    ("wait_operation", {"name": "jobs/1", "timeout": "0s"}, "done", {"done": False}),
    ("list_operations", {}, "operations.name", {"operations": [{"name": "jobs/1"}]}),
    ("list_operations", {}, "operations(name,done),nextPageToken", None),
    ("list_operations", {}, "name,done", None),
    ("list_operations", {}, "metadata.progressPercent,operations.name", _NAME_AND_PERCENT),
    ("list_operations", {}, "nextPageToken", {}),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("tool", "arguments", "fields", "expected"), _CASES)
async def test_an_answer_has_only_the_selected_fields(
    mode: str, tool: str, arguments: dict[str, Any], fields: str, expected: Any
) -> None:
    """The SDK's client checks the answer by the output schema. The text is of the whole answer.

    Only the advice to select fields is left out of the text, because the caller selects some.
    """
    async with client_of(mode, _HANDLERS) as (client, _):
        whole = await client.call_tool(tool, arguments)
        part = await client.call_tool(tool, {**arguments, "fields": fields})
    if expected is None:
        expected = {"operations": [{"name": "jobs/1", "done": False}]}
    assert part.structured_content == expected == json.loads(texts(part)[0])
    advice = ', with fields "done,error,response".'
    assert texts(part)[1] == texts(whole)[1].replace(advice, ".")


@pytest.mark.parametrize("mode", MODES)
async def test_a_list_with_fields_keeps_the_token_of_the_next_page(mode: str) -> None:
    """Otherwise a model could not read on. What is missing from the page is kept too."""
    page = operations_pb2.ListOperationsResponse(
        operations=[_OPERATION],
        next_page_token="more",  # noqa: S106 - a backend's page token
        unreachable=["jobs/far"],
    )
    async with client_of(mode, {"ListOperations": answering(page)}) as (client, _):
        listed = await client.call_tool("list_operations", {"fields": "name"})
    assert listed.structured_content is not None
    assert list(listed.structured_content) == ["operations", "nextPageToken", "unreachable"]


@pytest.mark.parametrize("fields", ["metadata(progressPercent),done", "name", "*", "response"])
async def test_fields_mean_the_same_over_mcp_and_over_rest(fields: str) -> None:
    """Both faces return the same JSON for the same selection."""
    async with client_of("2026-07-28", _HANDLERS) as (client, backend):
        by_mcp = await client.call_tool("get_operation", {"name": "jobs/1", "fields": fields})
        async with (
            serving({"name": "b", "target": backend.target}) as url,
            httpx.AsyncClient(base_url=url) as rest,
        ):
            by_rest = await rest.get("/v1/jobs/1", params={"fields": fields})
    assert by_mcp.structured_content == by_rest.json()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("name,,done", "write it like name,done,metadata(progressPercent)"),
        (["name"], 'a string such as "name,done" is needed, not a list'),
    ],
)
async def test_a_malformed_selection_is_refused(fields: Any, problem: str) -> None:
    """The error names the argument, and the backend is not called."""
    async with client_of("2026-07-28", _HANDLERS) as (client, backend):
        refused = await client.call_tool("get_operation", {"name": "jobs/1", "fields": fields})
        assert refused.is_error
        assert json.loads(texts(refused)[0])["message"].startswith("fields: ")
        assert problem in json.loads(texts(refused)[0])["message"]
        assert not backend.answered
        whole = await client.call_tool("get_operation", {"name": "jobs/1", "fields": None})
    assert whole.structured_content is not None
    assert list(whole.structured_content) == ["name", "metadata", "done"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_method_takes_fields_unless_its_request_has_such_a_field(mode: str) -> None:
    """A plain method and a start select by it. A method with the field `fields` keeps it.

    The schema of a start does not list it, because an answer without the name cannot be followed.
    """
    handlers = {
        "ReadReport": answering(report(2, 3)),
        "ReadColumns": answering(report(2, 3)),
        "MakeReport": answering(finished(report(2, 3))),
    }
    async with client_of_reports(mode, {}, handlers) as (client, backend):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        read = await client.call_tool("read_report", {"name": "a/1", "fields": "rows.id"})
        columns = await client.call_tool("read_columns", {"fields": "rows.id"})
        made = await client.call_tool(
            "make_report",
            {"parent": "p/1", "format": "CSV", "fields": "response.rows.text"},
        )
    described = {
        name: tools[name].input_schema["properties"].get("fields", {}).get("description")
        for name in ("read_report", "make_report", "read_columns")
    }
    assert described == {
        "read_report": "Such as name,done.",
        "make_report": None,
        "read_columns": None,
    }
    assert read.structured_content == {"rows": [{"id": "row0"}, {"id": "row1"}]}
    assert made.structured_content == {"response": {"rows": [{"text": "xxx"}, {"text": "xxx"}]}}
    assert columns.structured_content is not None
    assert list(columns.structured_content) == ["name", "rows"]
    sent = {call.method: call.request for call in backend.answered}
    assert (sent["ReadReport"].name, sent["ReadColumns"].fields) == ("a/1", "rows.id")

"""JSON of the wrong type in each kind of field, and in each argument of the tools.

Each is refused with INVALID_ARGUMENT and in the gateway's own words, which name the field.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from mcp import Client

from tests.contrary import ContraryBackend, answering
from tests.gateways import serving
from tests.strange import OPTIONAL, Strange

_F = FieldDescriptorProto
PATH = "strange.Strange/Set"
SCALARS = {
    "text": _F.TYPE_STRING,
    "raw": _F.TYPE_BYTES,
    "big": _F.TYPE_INT64,
    "small": _F.TYPE_UINT32,
    "ratio": _F.TYPE_DOUBLE,
    "flag": _F.TYPE_BOOL,
}
MESSAGES = {
    "time": "google.protobuf.Timestamp",
    "span": "google.protobuf.Duration",
    "mask": "google.protobuf.FieldMask",
    "free": "google.protobuf.Struct",
    "list": "google.protobuf.ListValue",
    "any": "google.protobuf.Any",
    "wrapped_text": "google.protobuf.StringValue",
    "wrapped_flag": "google.protobuf.BoolValue",
    "wrapped_big": "google.protobuf.Int64Value",
    "nothing": "google.protobuf.Empty",
    "inner": "strange.Inner",
}


@cache
def pool() -> Any:
    """Return a service whose request has a field of each kind."""
    strange = Strange()
    strange.message("Inner", "word")
    color = strange.file.enum_type.add(name="Color")
    color.value.add(name="COLOR_UNSPECIFIED", number=0)
    color.value.add(name="RED", number=1)
    kinds = strange.message("Kinds")
    for name, kind in SCALARS.items():
        kinds.field.add(name=name, number=len(kinds.field) + 1, type=kind, label=OPTIONAL)
    for name, type_name in MESSAGES.items():
        kinds.field.add(
            name=name,
            number=len(kinds.field) + 1,
            type=_F.TYPE_MESSAGE,
            type_name=f".{type_name}",
            label=OPTIONAL,
        )
    number = len(kinds.field) + 1
    kinds.field.add(
        name="color", number=number, type=_F.TYPE_ENUM, type_name=".strange.Color", label=OPTIONAL
    )
    kinds.field.add(name="texts", number=number + 1, type=_F.TYPE_STRING, label=_F.LABEL_REPEATED)
    kinds.field.add(
        name="inners",
        number=number + 2,
        type=_F.TYPE_MESSAGE,
        type_name=".strange.Inner",
        label=_F.LABEL_REPEATED,
    )
    entry = kinds.nested_type.add(name="CountsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_F.TYPE_INT32, label=OPTIONAL)
    entry.field.add(name="value", number=2, type=_F.TYPE_INT32, label=OPTIONAL)
    kinds.field.add(
        name="counts",
        number=number + 3,
        type=_F.TYPE_MESSAGE,
        type_name=".strange.Kinds.CountsEntry",
        label=_F.LABEL_REPEATED,
    )
    kinds.oneof_decl.add(name="either")
    for name in ("left", "right"):
        added = kinds.field.add(
            name=name, number=len(kinds.field) + 1, type=_F.TYPE_STRING, label=OPTIONAL
        )
        added.oneof_index = 0
    strange.file.dependency.extend(
        f"google/protobuf/{name}.proto"
        for name in ("any", "duration", "empty", "field_mask", "timestamp")
    )
    strange.method("Set", "strange.Kinds")
    return strange.pool()


def _deep() -> Any:
    value: Any = 1
    for _ in range(80):
        value = {"a": value}
    return value


WRONG: tuple[Any, ...] = (
    *(True, 0, -1, 1.5, 10**30),
    *("", "x", "red", '{"a": 1}', "2026-01-02", "10m", "a..b"),
    *([], [1], [None], [[]], ["x", {}]),
    *({}, {"a": 1}, {"1": "x"}, _deep()),
    {"@type": 1},
    {"@type": "x"},
    {"@type": "type.googleapis.com/google.protobuf.Duration", "value": []},
)
OURS = re.compile(
    r"\S+: (?:"
    r"(?:an? (?:unsigned )?integer of (?:32|64) bits|a number|true or false|a string|base64"
    r"|an object(?: with @type)?|a list|one of RED|a duration in seconds such as \"\S+\""
    r"|a time such as \S+|a field mask such as \S+|a string such as \S+"
    r"|one of running, succeeded, failed, cancelled|the name of a method)"
    r"(?:, as search_methods returns it)? is needed(?:, as search_methods returns it"
    r"|, not .+| as a key, not .+)"
    r"|nested deeper than (?:31|64) levels"
    r"|@type is missing|'x': no descriptor of x in .+"
    r"|there is no such field(?: in strange\.Inner| in google\.protobuf\.Empty)?;"
    r" (?:there are: .+|it has no fields)"
    r"|a nextPageToken of search_methods is needed, not .+"
    r"|must not be negative"
    r")\Z"
)


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    """Serve the backend behind a gateway; yields the gateway's URL."""
    answer = operations_pb2.Operation(name="operations/1", done=True)
    async with (
        ContraryBackend.open(
            {"GetOperation": answering(answer), "ListOperations": answering(answer)},
            methods={PATH: answering(answer)},
            pool=pool(),
            reflection_versions=("v1",),
        ) as backend,
        serving({"name": "b", "target": backend.target}) as url,
    ):
        yield url


def check(status: str, message: str, sent: Any) -> None:
    """Check that a refusal is the gateway's own, and names what was sent wrongly."""
    assert status == "INVALID_ARGUMENT", (sent, message)
    assert OURS.match(message), (sent, message)


FIELDS = (*SCALARS, *MESSAGES, "color", "texts", "inners", "counts")


async def test_a_wrong_value_of_a_field_over_mcp() -> None:
    """Every wrong value is refused in the gateway's words, or is right for this field."""
    refused = set()
    async with served() as url, httpx.AsyncClient(base_url=url) as client:
        for name, value in itertools.product(FIELDS, WRONG):
            error = await _call(client, "set", {name: value})
            if error is not None:
                check(error["status"], error["message"], (name, value))
                refused.add(name)
    assert refused == {*FIELDS}


async def test_a_wrong_value_of_a_field_over_rest() -> None:
    """The same values, as the body of a request."""
    refused = set()
    async with served() as url, httpx.AsyncClient(base_url=url) as client:
        for name, value in itertools.product(FIELDS, WRONG):
            response = await client.post(f"/v1/{PATH}", json={name: value})
            if response.status_code != 200:
                error = response.json()["error"]
                check(error["status"], error["message"], (name, value))
                refused.add(name)
    assert refused == {*FIELDS}


TOOLS: Mapping[str, tuple[str, ...]] = {
    "get_operation": ("name", "backend", "fields"),
    "list_operations": ("name", "filter", "pageSize", "pageToken", "state", "fields"),
    "wait_operation": ("name", "timeout", "fields"),
    "cancel_operation": ("name",),
    "delete_operation": ("name",),
    "search_methods": ("query", "pageToken"),
    "describe_method": ("name",),
    "call_method": ("name", "arguments"),
}
KINDS: tuple[Any, ...] = (True, 5, 1.5, 10**30, [], ["x"], {}, {"a": 1})


@pytest.mark.parametrize("tool", TOOLS)
async def test_a_wrong_value_of_an_argument(tool: str) -> None:
    """The tools of operations, and those for many methods, have the same words."""
    async with served() as url, httpx.AsyncClient(base_url=url) as client:
        for name, value in itertools.product(TOOLS[tool], KINDS):
            arguments = {"name": "operations/1"} if tool.endswith("_operation") else {}
            error = await _call(client, tool, {**arguments, name: value})
            if error is not None and error["code"] == 3:
                check(error["status"], error["message"], (name, value))
            else:
                assert name in {"pageSize", "timeout", "arguments"}, (name, value, error)


async def test_an_unknown_argument_is_refused_with_all_known_ones() -> None:
    """Methods and verbs have one wording."""
    async with served() as url, Client(f"{url}/mcp") as client:
        for tool, arguments, known in (
            ("get_operation", {"nmae": "x"}, "name, backend, fields"),
            ("cancel_operation", {"nmae": "x"}, "name, backend"),
            ("describe_method", {"nmae": "x"}, "name"),
        ):
            result = await client.call_tool(tool, arguments)
            assert f"nmae: there is no such field; there are: {known}" in _text(result)
        result = await client.call_tool("set", {"tetx": "x"})
        assert "tetx: there is no such field; there are: text, texts, raw, big" in _text(result)
        assert 'right, fields"' in _text(result)
        result = await client.call_tool("set", {"left": "l", "right": "r"})
        assert "right: at most one of left, right can be given, and left is given" in _text(result)


def _text(result: Any) -> str:
    assert result.is_error
    return str(result.content[0].text)


async def _call(client: httpx.AsyncClient, tool: str, arguments: Mapping[str, Any]) -> Any:
    """Call a tool with any JSON, and return the error, or None."""
    response = await client.post(
        "/mcp",
        json={
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": tool, "arguments": arguments},
        },
        headers={
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2025-11-25",
        },
    )
    data = response.text.partition("data: ")[2] or response.text
    result = json.loads(data)["result"]
    return json.loads(result["content"][0]["text"]) if result["isError"] else None

"""All tools keep the rules of providers of models, and of programs that convert tools for them.

The tools are those of the gateway itself, of the demo, of five packages that Google publishes, and
of services with messages of every shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import mcp_types as types
import pytest

from tests.mcp.offered import offered_tools

Schema = dict[str, Any]

FIELDS = {"type", "properties", "required", "items", "enum", "description", "format"}
"""The keywords that Gemini's `Schema` has too. A map has `additionalProperties` beside these."""


@pytest.fixture(scope="module")
async def tools(tmp_path_factory: pytest.TempPathFactory) -> list[types.Tool]:
    """Return all tools. With the default budget, three tools stand for most methods."""
    found = await offered_tools(tmp_path_factory.mktemp("rules"), {}, {"tool_budget": 0})
    names = {tool.name for tool in found}
    assert names > {"search_methods", "create_database", "build_machine", "take_everything"}
    assert len(names) > 140
    return found


def schemas(schema: Any) -> Iterator[Schema]:
    """Yield a schema and all schemas inside it.

    Google's SDK for Gemini fails for all tools of a session if one of them is no object, as
    `additionalProperties: false` is none.
    """
    assert isinstance(schema, dict)
    yield schema
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from schemas(schema[key])
    for each in schema.get("properties", {}).values():
        yield from schemas(each)


def test_a_name_is_one_that_every_provider_accepts(tools: list[types.Tool]) -> None:
    """OpenAI and Anthropic accept 64 letters, digits, _ and -. Gemini needs a letter or _ first."""
    for tool in tools:
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", tool.name)


def test_a_description_has_at_most_1024_characters(tools: list[types.Tool]) -> None:
    """OpenAI refuses a longer one."""
    for tool in tools:
        assert 0 < len(tool.description or "") <= 1024


def test_the_root_is_an_object_with_properties_and_no_union(tools: list[types.Tool]) -> None:
    """Anthropic and OpenAI refuse a union at the root, and OpenAI needs `properties`."""
    for tool in tools:
        assert tool.input_schema["type"] == "object"
        assert tool.input_schema.keys() <= {"type", "properties", "required", "description"}
        assert isinstance(tool.input_schema["properties"], dict)


def test_a_key_is_one_that_anthropic_accepts(tools: list[types.Tool]) -> None:
    """A provider refuses all tools of a session for one wrong key."""
    for tool in tools:
        for schema in schemas(tool.input_schema):
            for key in schema.get("properties", {}):
                assert re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", key)


def test_a_schema_has_only_keywords_that_every_provider_reads(tools: list[types.Tool]) -> None:
    """Converters keep no reference beside a description, and some run for ever on a recursion.

    Strict converters close each object. They refuse `dependentSchemas`, patterns and bounds.
    """
    for tool in tools:
        for schema in schemas(tool.input_schema):
            assert schema.keys() <= FIELDS | {"additionalProperties"}
            assert not {"properties", "additionalProperties"} <= schema.keys()


def test_each_schema_has_one_type(tools: list[types.Tool]) -> None:
    """Vertex AI refuses all tools of a request if a schema has no type.

    Converters make a union of several types. Vertex AI refuses one beside a description.
    """
    for tool in tools:
        for schema in schemas(tool.input_schema):
            assert isinstance(schema["type"], str)


def test_gemini_accepts_formats_enums_arrays_and_required_fields(tools: list[types.Tool]) -> None:
    """Its API refuses other formats of strings, empty values of enums, and lists without items."""
    for tool in tools:
        for schema in schemas(tool.input_schema):
            assert schema.get("format", "date-time") == "date-time"
            if "enum" in schema:
                assert schema["type"] == "string"
                assert all(isinstance(each, str) and each for each in schema["enum"])
                assert len(schema["enum"]) == len(set(schema["enum"])) > 0
            assert ("items" in schema) == (schema.get("type") == "array")
            assert set(schema.get("required", ())) <= schema.get("properties", {}).keys()


def test_schemas_do_not_nest_too_deep(tools: list[types.Tool]) -> None:
    """A message of a message needs a level each. Converters recurse into schemas."""
    assert max(_depth(tool.input_schema) for tool in tools) <= 40


def _depth(node: Any) -> int:
    if isinstance(node, dict):
        return 1 + max(map(_depth, node.values()), default=0)
    return 1 + max(map(_depth, node), default=0) if isinstance(node, list) else 0

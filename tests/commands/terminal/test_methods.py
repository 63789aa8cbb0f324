"""The names of methods, and the fields of their requests."""

from __future__ import annotations

import pytest

from lro_gateway.commands.terminal.methods import (
    Field,
    backend_argument,
    backends_of,
    fields_of,
    spelt_like,
    tool_name,
)


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("CreateDatabase", "create_database"),
        ("create_database", "create_database"),
        ("a.v1.DatabaseAdmin/CreateDatabase", "database_admin_create_database"),
        ("GetIAMPolicy", "get_iam_policy"),
    ],
)
def test_a_name_in_capitals_and_that_of_its_tool_are_the_same(method: str, name: str) -> None:
    """What the command suggests in the spelling of a person names the same tool."""
    assert tool_name(method) == name
    assert tool_name(spelt_like(name, method)) == name
    assert spelt_like(name, "create_databse") == name


def test_fields_of_inner_messages_have_paths() -> None:
    """A field is given as `--field spec.size:=3`. The comment is cut to its first sentence."""
    schema = {
        "type": "object",
        "properties": {
            "parent": {"type": "string", "description": '"Where. And more." Such as a/b.'},
            "spec": {
                "type": "object",
                "description": "Give at most one of: x, y. It is long.",
                "properties": {
                    "size": {"type": "integer"},
                    "start": {"type": "string", "format": "date-time"},
                },
                "required": ["size"],
            },
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "states": {"type": "array", "items": {"type": "string", "enum": ["A", "B"]}},
            "x\x1b": {"type": "object"},
        },
        "required": ["parent"],
    }
    assert list(fields_of(schema)) == [
        Field("parent", "string", is_required=True, text="Where."),
        Field("spec", "object", is_required=False, text="Give at most one of: x, y."),
        Field("spec.size", "integer", is_required=True, text=""),
        Field("spec.start", "date-time", is_required=False, text=""),
        Field("labels", "map of string", is_required=False, text=""),
        Field("states", "list of A | B", is_required=False, text=""),
        Field("x\\x1b", "object", is_required=False, text=""),
    ]


@pytest.mark.parametrize(
    ("fields", "argument", "backends"),
    [
        ({}, "backend", []),
        ({"name": {}}, "backend", []),
        ({"name": {}, "backend": {"enum": ["east", "west"]}}, "backend", ["east", "west"]),
        ({"backend": {"enum": ["A", "B"]}, "name": {}}, "gateway_backend", []),
        (
            {"backend": {"enum": ["A"]}, "gateway_backend": {"enum": ["east", "west"]}},
            "gateway_backend",
            ["east", "west"],
        ),
    ],
)
def test_the_argument_for_the_backend_is_no_field_of_the_request(
    fields: dict[str, object], argument: str, backends: list[str]
) -> None:
    """A request may have a field called backend."""
    schema = {"properties": fields}
    assert (backend_argument(schema), list(backends_of(schema))) == (argument, backends)

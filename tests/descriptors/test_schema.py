"""Message descriptors to JSON Schema: well formed, closed, and true of what is printed."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from google.api import field_behavior_pb2
from google.longrunning import operations_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lro_gateway.descriptors.codec import JsonOptions, to_json
from lro_gateway.descriptors.registry import TypeSet
from lro_gateway.descriptors.schema import Schema, message_schema
from tests.generated import WELL_KNOWN_TYPES, files, messages
from tests.shapes import descriptor_set, pool


@cache
def types() -> TypeSet:
    """Return a set that knows the messages of `tests/proto`."""
    known = TypeSet()
    known.add(descriptor_set().file)
    return known


def message_class(name: str) -> Any:
    """Return a class of that set."""
    found = types().message_class(name)
    assert found is not None
    return found


def descriptor(name: str) -> Descriptor:
    """Return a descriptor of `tests/proto`."""
    return pool().FindMessageTypeByName(name)


def check_form(schema: Schema) -> None:
    """Assert what clients need: an object at the root, no union there, every reference in $defs."""
    Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert not schema.keys() & {"oneOf", "anyOf", "allOf", "$ref"}
    assert set(_references(schema)) == {f"#/$defs/{name}" for name in schema.get("$defs", {})}


def _references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [ref for item in value for ref in _references(item)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if "$ref" in value else []
    return own + [ref for item in value.values() for ref in _references(item)]


INT64 = {"type": ["string", "integer"], "format": "int64", "pattern": "^-?[0-9]+$"}
ANY = message_schema(descriptor("shapes.v1.Everything"))["$defs"]["shapes.v1.Everything"][
    "properties"
]["any"]


def test_every_kind_of_field_has_its_schema() -> None:
    """The whole schema of a message that has them all; recursion goes through $defs."""
    schema = message_schema(descriptor("shapes.v1.Everything"))
    check_form(schema)
    everything = {"$ref": "#/$defs/shapes.v1.Everything"}
    color = {
        "anyOf": [
            {"type": "string", "enum": ["COLOR_UNSPECIFIED", "RED", "BLUE"]},
            {"type": "integer"},
        ]
    }
    properties = {
        "big": INT64,
        "huge": {
            "type": ["string", "integer"],
            "format": "uint64",
            "pattern": "^[0-9]+$",
            "minimum": 0,
        },
        "color": color,
        "raw": {"type": "string", "contentEncoding": "base64"},
        "duration": {
            "type": "string",
            "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$",
            "examples": ["30s"],
        },
        "time": {"type": "string", "format": "date-time"},
        "free": {"type": "object", "additionalProperties": True},
        "nothing": {"type": "object", "additionalProperties": False},
        "any": ANY,
        "anys": {"type": "array", "items": ANY},
        "anyByName": {"type": "object", "additionalProperties": ANY},
        "inner": everything,
        "inners": {"type": "array", "items": everything},
        "innerByNumber": {"type": "object", "additionalProperties": everything},
        "ratio": {
            "anyOf": [
                {"type": "number"},
                {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]},
            ]
        },
        "wrapped": INT64,
        "value": {},
        "word": {"type": "string"},
        "job": {"$ref": "#/$defs/shapes.v1.Job"},
        "colors": {"type": "array", "items": color},
        "words": {"type": "object", "additionalProperties": {"type": "string"}},
    }
    job = {
        "type": "object",
        "properties": {
            "createTime": {"type": "string", "format": "date-time"},
            "progressPercent": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
            "statusMessage": {"type": "string"},
        },
        "additionalProperties": False,
    }
    closed = {"type": "object", "properties": properties, "additionalProperties": False}
    assert schema == {**closed, "$defs": {"shapes.v1.Everything": closed, "shapes.v1.Job": job}}


@pytest.mark.parametrize(
    "printed",
    [
        {},
        {"@type": "x/shapes.v1.Job", "progressPercent": 1},
        {"@type": "x/google.protobuf.Value", "value": None},
        {"@type": "x/no.Such", "@value": "AA==", "@error": "why"},
    ],
)
def test_the_schema_of_an_any_allows_every_form_of_it(printed: dict[str, Any]) -> None:
    """Empty, readable, under "value", and lossless."""
    Draft202012Validator(ANY).validate(printed)


def test_an_extendable_message_allows_its_extensions_and_nothing_else() -> None:
    """By full name in brackets."""
    schema = message_schema(descriptor("odd.v1.Legacy"))
    check_form(schema)
    validator = Draft202012Validator(schema)
    assert validator.is_valid({"text": "t", "[odd.v1.note]": "n", "[odd.v1.details]": [{}]})
    assert not validator.is_valid({"note": "n"})


def test_the_schema_of_an_operation_holds_for_what_the_gateway_says() -> None:
    """Names that must be there are added by whoever knows; descriptions are by full field name."""
    schema = message_schema(
        operations_pb2.Operation.DESCRIPTOR,
        descriptions={"google.longrunning.Operation.done": "Whether it has finished."},
        required=("name", "done"),
    )
    check_form(schema)
    assert schema["required"] == ["name", "done"]
    assert schema["properties"]["done"] == {
        "type": "boolean",
        "description": "Whether it has finished.",
    }
    assert list(schema["$defs"]) == ["google.rpc.Status"]
    validator = Draft202012Validator(schema)
    assert validator.is_valid({"name": "n", "done": False, "metadata": {"@type": "x/y", "z": 1}})
    assert validator.is_valid({"name": "n", "done": True, "error": {"code": 1, "details": [{}]}})
    assert not validator.is_valid({"name": "n"})
    assert not validator.is_valid({"name": "n", "done": True, "result": {}})


def test_required_fields_of_the_api_are_required_once() -> None:
    """field_behavior REQUIRED, beside what the caller names; the same schema stays unchanged."""
    file = FileDescriptorProto(
        name="behavior.proto",
        package="behavior",
        syntax="proto3",
        dependency=["google/api/field_behavior.proto"],
    )
    message = file.message_type.add(name="Request")
    for number, name in enumerate(("parent", "page_size", "request_id"), 1):
        message.field.add(name=name, number=number, type=9, label=1)
    for index in (0, 2):
        # field_behavior = [REQUIRED], as it is on the wire: a backend's bytes.
        message.field[index].options.MergeFromString(b"\xe2\x41\x01\x02")
    own = TypeSet()
    behaviors = FileDescriptorProto.FromString(field_behavior_pb2.DESCRIPTOR.serialized_pb)
    assert own.add([behaviors, file]) == []
    request: Any = own.message_class("behavior.Request")
    schema = message_schema(request.DESCRIPTOR, required=("pageSize", "parent"))
    assert schema["required"] == ["pageSize", "parent", "requestId"]


def test_definitions_can_be_kept_elsewhere() -> None:
    """OpenAPI has them under components."""
    definitions: dict[str, Schema] = {}
    schema = message_schema(
        descriptor("shapes.v1.Everything"),
        ref_prefix="#/components/schemas/",
        definitions=definitions,
    )
    assert "$defs" not in schema
    assert schema["properties"]["job"] == {"$ref": "#/components/schemas/shapes.v1.Job"}
    assert sorted(definitions) == ["shapes.v1.Everything", "shapes.v1.Job"]


PAYLOADS = [
    *(message_class(f"shapes.v1.{name}") for name in ("Everything", "Job")),
    *(message_class(f"google.protobuf.{name}") for name in WELL_KNOWN_TYPES),
]
EVERYTHING = Draft202012Validator(message_schema(descriptor("shapes.v1.Everything")))


@given(
    messages(message_class("shapes.v1.Everything"), PAYLOADS), st.builds(JsonOptions, st.booleans())
)
def test_what_is_printed_is_valid_by_the_schema(message: Any, options: JsonOptions) -> None:
    """Any message whatever, with enums by name or by number."""
    EVERYTHING.validate(to_json(message, types(), options))


@given(data=st.data(), file=files())
def test_the_schema_of_any_type_is_well_formed_and_true(
    data: st.DataObject, file: FileDescriptorProto
) -> None:
    """Whatever a backend defines."""
    known = TypeSet()
    known.add([file])
    root: Any = known.message_class("random.M0")
    schema = message_schema(root.DESCRIPTOR)
    check_form(schema)
    message = data.draw(messages(root, [root]))
    Draft202012Validator(schema).validate(to_json(message, known))

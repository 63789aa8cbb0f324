"""The schemas of the arguments of tools: what they say, and what they leave to the gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lro_gateway.descriptors.json_forms import Schema
from lro_gateway.descriptors.parsing import parse
from lro_gateway.descriptors.schema import message_schema
from lro_gateway.descriptors.tool_schema import tool_schema
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.errors import Code, StatusError
from tests import factory, shapes
from tests.generated import files
from tests.instances import Payload, instances
from tests.strange import Strange

KEYWORDS = {
    *("type", "properties", "required", "items", "enum", "description", "format"),
    "additionalProperties",
}


def schema_of(name: str, **options: Any) -> Schema:
    """Return the schema of a message of the factory, with its comments."""
    comments = factory.types().comments.by_name
    return tool_schema(factory.descriptor(name), descriptions=comments, **options)


def schemas(schema: Any) -> Iterator[Schema]:
    """Yield a schema and all schemas inside it, each of which must be an object."""
    assert isinstance(schema, dict)
    yield schema
    inner = [*schema.get("properties", {}).values()]
    inner += [schema[key] for key in ("items", "additionalProperties") if key in schema]
    for each in inner:
        yield from schemas(each)


def check(schema: Schema) -> None:
    """Assert that a schema has no keyword that a provider or a converter refuses."""
    Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert isinstance(schema["properties"], dict)
    for each in schemas(schema):
        assert each.keys() <= KEYWORDS
        assert isinstance(each["type"], str)
        assert each.get("format", "date-time") == "date-time"
        assert set(each.get("required", ())) <= each.get("properties", {}).keys()
        assert not {"properties", "additionalProperties"} <= each.keys()


def test_a_schema_says_what_a_model_must_know_of_each_field() -> None:
    """Machine holds itself, so its inner machines refer to it by words."""
    schema = schema_of("BuildMachineRequest")
    check(schema)
    assert schema == {
        "type": "object",
        "properties": {
            "parent": {"type": "string", "description": "The line on which it is built."},
            "machine": {
                "type": "object",
                "description": "A machine: it has a drive.",
                "properties": {
                    "name": {"type": "string", "description": "Its name."},
                    "title": {"type": "string"},
                    "wantedState": {
                        "type": "string",
                        "enum": ["RUNNING", "IDLE"],
                        "description": "What it should do. RUNNING: It runs.",
                    },
                    "engine": {
                        "type": "object",
                        "description": "Its engine. Give at most one of: engine, crank.",
                        "properties": {
                            "power": {"type": "string", "description": "An integer."},
                            "plan": {"type": "string", "description": "In base64."},
                            "warmUp": {"type": "string", "description": "Such as 30s."},
                        },
                    },
                    "crank": {"type": "string"},
                    "parts": {
                        "type": "object",
                        "description": "Same fields as machine.",
                        "additionalProperties": {"type": "object"},
                    },
                    "notes": {
                        "type": "object",
                        "description": "The keys are integers.",
                        "additionalProperties": {"type": "string"},
                    },
                    "startTime": {"type": "string", "format": "date-time"},
                    "weight": {"type": "number"},
                },
                "required": ["title"],
            },
            "requestId": {"type": "string", "description": "Makes a repeat safe."},
            "validateOnly": {"type": "boolean"},
            "extra": {
                "type": "object",
                "description": (
                    "A message: @type has the type URL of the message, and its fields are beside"
                    " @type."
                ),
            },
        },
        "required": ["parent", "machine"],
    }


def test_an_update_need_not_set_the_required_fields_of_its_resource() -> None:
    """An update needs only the fields that its FieldMask names (AIP-203)."""
    schema = schema_of("UpdateMachineRequest")
    assert schema["required"] == ["machine"]
    assert "required" not in schema["properties"]["machine"]


def test_a_message_that_holds_itself_at_the_root_names_the_arguments() -> None:
    """A reference would make some converters run for ever."""
    schema = schema_of("Machine", quoted=True)
    check(schema)
    assert schema["properties"]["name"]["description"] == '"Its name."'
    assert schema["properties"]["parts"] == {
        "type": "object",
        "description": "Same fields as the arguments.",
        "additionalProperties": {"type": "object"},
    }


def test_a_comment_in_quotes_is_cut_at_the_end_of_a_word() -> None:
    """A model that sees half a word may take it for another word."""
    comment = "A long-worded-sentence " * 40
    schema = tool_schema(
        factory.descriptor("DeleteMachineRequest"),
        descriptions={"factory.v1.DeleteMachineRequest.name": comment},
        quoted=True,
    )
    text = schema["properties"]["name"]["description"]
    assert len(text) <= 302
    assert text.endswith((' long-worded-sentence..."', ' A..."'))


@pytest.mark.parametrize(
    ("comment", "description"),
    [
        ("Required. The title.", "The title."),
        ("REQUIRED: The title.", "The title."),
        ("Required titles are short.", "Required titles are short."),
        ("Immutable. The title.", "Immutable. The title."),
        (f"The title. It is long. X{'x' * 200}.", "The title. It is long."),
    ],
)
def test_a_comment_does_not_repeat_the_schema_and_ends_with_a_sentence(
    comment: str, description: str
) -> None:
    """The list of required fields already says that the field is required."""
    descriptions = {"factory.v1.Machine.title": comment}
    schema = tool_schema(factory.descriptor("Machine"), descriptions=descriptions)
    assert schema["required"] == ["title"]
    assert schema["properties"]["title"]["description"] == description


def test_a_comment_says_that_a_field_is_required_if_no_annotation_does() -> None:
    """The schema does not list the field, so the comment alone says it."""
    descriptions = {
        "factory.v1.Machine.weight": "Required. Its weight.",
        "factory.v1.Machine.name": "Optional. Its name.",
    }
    properties = tool_schema(factory.descriptor("Machine"), descriptions=descriptions)["properties"]
    assert properties["weight"]["description"] == "Required. Its weight."
    assert properties["name"]["description"] == "Its name."


def test_a_comment_on_the_value_of_an_enum_that_says_nothing_is_left_out() -> None:
    """The schema does not list the value."""
    name = "factory.v1.Machine.State"
    descriptions = {f"{name}.STATE_UNSPECIFIED": "Not set.", f"{name}.IDLE": "It stands."}
    state = tool_schema(factory.descriptor("Machine"), descriptions=descriptions)["properties"]
    assert state["wantedState"]["description"] == "IDLE: It stands."


@pytest.mark.parametrize(
    "comment",
    [
        "Optional. The title.",
        "The title, which may be omitted.",
        "If unspecified, the server chooses a title.",
        "If this is not set, the server chooses a title.",
    ],
)
def test_a_required_field_that_may_be_omitted_by_its_comment_is_not_required(comment: str) -> None:
    """The backend decides. A model would invent a value otherwise."""
    descriptions = {"factory.v1.Machine.title": comment}
    schema = tool_schema(factory.descriptor("Machine"), descriptions=descriptions)
    assert "required" not in schema
    assert tool_schema(factory.descriptor("Machine"), descriptions={})["required"] == ["title"]


@pytest.mark.parametrize("name", ["Value", "ListValue", "Duration", "Int64Value"])
def test_a_request_whose_json_is_no_object_is_in_the_argument_value(name: str) -> None:
    """The arguments of a tool are an object."""
    schema = tool_schema(
        shapes.pool().FindMessageTypeByName(f"google.protobuf.{name}"), descriptions={}
    )
    check(schema)
    assert list(schema["properties"]) == schema["required"] == ["value"]


@pytest.mark.parametrize("name", ["Struct", "Any", "Empty"])
def test_a_request_that_is_an_object_of_its_own_form_has_no_properties(name: str) -> None:
    """OpenAI needs `properties` at the root."""
    schema = tool_schema(
        shapes.pool().FindMessageTypeByName(f"google.protobuf.{name}"), descriptions={}
    )
    assert schema == {"type": "object", "properties": {}}


def test_a_large_type_stands_once_and_a_small_one_at_each_field() -> None:
    """A model finds the fields of the large type at the path in the description."""
    strange = Strange()
    strange.message("Small", "x")
    strange.message("Large", *(f"a_rather_long_name_of_a_field_{n}" for n in range(20)))
    request = strange.message("Request")
    for number, name in enumerate(["one", "two", "three"], 1):
        kind = "Small" if name == "three" else "Large"
        request.field.add(name=name, number=number, label=1, type=11, type_name=f".strange.{kind}")
    request.field.add(name="more", number=9, label=3, type=11, type_name=".strange.Small")
    request.field.add(name="all", number=10, label=3, type=11, type_name=".strange.Large")
    descriptor = strange.pool().FindMessageTypeByName("strange.Request")
    properties = tool_schema(descriptor, descriptions={})["properties"]
    assert len(properties["one"]["properties"]) == 20
    same = "Same fields as one."
    assert properties["two"] == {"type": "object", "description": same}
    assert properties["all"] == {"type": "array", "items": {"type": "object"}, "description": same}
    assert properties["three"] == properties["more"]["items"] != {"type": "object"}


def test_the_keys_are_those_that_providers_accept() -> None:
    """The description lists each field whose names are all too long."""
    strange = Strange()
    long = "l" * 65
    strange.message("Odd", "filter", long).field[0].json_name = "$filter"
    descriptor = strange.pool().FindMessageTypeByName("strange.Odd")
    schema = tool_schema(descriptor, descriptions={})
    assert list(schema["properties"]) == ["filter"]
    assert f"It also has the fields {long}," in schema["description"]


def test_types_that_nest_deeper_than_the_stack_have_a_schema() -> None:
    """A backend may define thousands of types, each inside the one before."""
    file = FileDescriptorProto(name="deep.proto", package="deep", syntax="proto3")
    for index in range(3000):
        message = file.message_type.add(name=f"M{index}")
        if index < 2999:
            kind = f".deep.M{index + 1}"
            message.field.add(name="next", number=1, type=11, label=1, type_name=kind)
    deep = DescriptorPool()
    deep.Add(file)
    schema = tool_schema(deep.FindMessageTypeByName("deep.M0"), descriptions={})
    check(schema)
    assert "It is a deep.M" in json.dumps(schema)


def of_one_type(schema: Schema) -> Schema:
    """Return a strict schema without the forms that providers cannot take.

    They are an integer of 64 bits that is a number, and a Value that is no object.
    """
    if not schema.keys() & {"type", "enum", "anyOf", "$ref"}:
        return {**schema, "type": "object"}
    narrowed = dict(schema)
    for key in {"properties", "$defs"} & schema.keys():
        narrowed[key] = {name: of_one_type(each) for name, each in schema[key].items()}
    for key in {"items", "additionalProperties"} & schema.keys():
        if isinstance(schema[key], dict):
            narrowed[key] = of_one_type(schema[key])
    if schema.get("type") == ["string", "integer"]:
        narrowed["type"] = "string"
    return narrowed


def valid_by_both(data: st.DataObject, descriptor: Descriptor, payloads: list[Payload]) -> None:
    """Draw JSON that is valid by the strict schema, and assert that it is valid by the tool's."""
    strict = of_one_type(message_schema(descriptor, for_input=True))
    value = data.draw(instances(strict, payloads))
    assume("_UNSPECIFIED" not in json.dumps(value))
    schema = tool_schema(descriptor, descriptions={})
    check(schema)
    Draft202012Validator(schema).validate(value)


DURATION = Payload("google.protobuf.Duration", {"type": "string", "enum": ["1s"]}, under_value=True)


@given(st.data())
def test_any_json_that_is_valid_by_the_strict_schema_is_valid(data: st.DataObject) -> None:
    """A client that checks arguments by the schema refuses nothing that the gateway takes."""
    for name in ("Machine", "BuildMachineRequest", "UpdateMachineRequest"):
        valid_by_both(data, factory.descriptor(name), [DURATION])


@settings(max_examples=200)
@given(data=st.data(), file=files())
def test_any_json_that_is_valid_by_the_strict_schema_of_any_request_is_valid(
    data: st.DataObject, file: FileDescriptorProto
) -> None:
    """The types are random, as a backend may define them."""
    known = TypeSet()
    assert known.add([file]) == []
    root: Any = known.message_class("random.M0")
    valid_by_both(data, root.DESCRIPTOR, [DURATION])


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonsense": 1},
        {"crank": "c", "engine": {}},
        {"wantedState": "NO_SUCH_STATE"},
        {"engine": {"power": "x"}},
        {"engine": {"power": 2**63}},
        {"engine": {"plan": "%"}},
        {"engine": {"warmUp": "30"}},
        {"notes": {"x": "y"}},
        {"notes": {str(2**31): "y"}},
        {"startTime": "yesterday"},
        {"parts": {"p": {"nonsense": 1}}},
    ],
)
def test_the_gateway_refuses_what_the_schema_does_not_forbid(wrong: dict[str, Any]) -> None:
    """The schema says these rules in words or not at all."""
    with pytest.raises(StatusError) as raised:
        parse({"title": "t", **wrong}, factory.message("Machine"), factory.types())
    assert raised.value.code is Code.INVALID_ARGUMENT

"""JSON Schemas of messages: their form, and that they match what is printed and parsed."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from typing import Any

import pytest
from google.api import field_behavior_pb2
from google.longrunning import operations_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lro_gateway.descriptors.parsing import parse
from lro_gateway.descriptors.printing import JsonOptions, to_json
from lro_gateway.descriptors.schema import Schema, any_schema, message_schema
from lro_gateway.descriptors.type_set import TypeSet
from tests import factory
from tests.generated import WELL_KNOWN_TYPES, files, messages
from tests.instances import Payload, instances, validator
from tests.shapes import descriptor_set, pool
from tests.strange import Strange


@cache
def types() -> TypeSet:
    """Return a set that knows the messages of `tests/proto`."""
    known = TypeSet()
    known.add(descriptor_set().file)
    return known


def message_class(name: str) -> Any:
    """Return the class of a message type in `types`."""
    found = types().message_class(name)
    assert found is not None
    return found


def descriptor(name: str) -> Descriptor:
    """Return the descriptor of a message type in `tests/proto`."""
    return pool().FindMessageTypeByName(name)


def check_form(schema: Schema) -> None:
    """Assert that a schema is valid JSON Schema and has the form that MCP clients accept."""
    Draft202012Validator.check_schema(schema)
    check_references(schema)


def check_references(schema: Schema) -> None:
    """Assert that the root is an object without a union, and that all references are in `$defs`."""
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
    """`Everything` has fields of all kinds. It is recursive, so its schema is also in `$defs`."""
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
    """An Any may be empty, readable, with its JSON under "value", or lossless."""
    Draft202012Validator(ANY).validate(printed)


def test_an_extendable_message_allows_its_extensions_and_nothing_else() -> None:
    """The key of an extension is its full name in brackets."""
    schema = message_schema(descriptor("odd.v1.Legacy"))
    check_form(schema)
    legacy = Draft202012Validator(schema)
    assert legacy.is_valid({"text": "t", "[odd.v1.note]": "n", "[odd.v1.details]": [{}]})
    assert not legacy.is_valid({"note": "n"})


def test_the_schema_of_an_operation_accepts_what_the_gateway_answers() -> None:
    """The caller of `message_schema` adds required fields and descriptions."""
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
    operation = Draft202012Validator(schema)
    assert operation.is_valid({"name": "n", "done": False, "metadata": {"@type": "x/y", "z": 1}})
    assert operation.is_valid({"name": "n", "done": True, "error": {"code": 1, "details": [{}]}})
    assert not operation.is_valid({"name": "n"})
    assert not operation.is_valid({"name": "n", "done": True, "result": {}})


def test_the_schema_of_a_request_has_the_fields_that_may_be_sent_with_comments() -> None:
    """OUTPUT_ONLY fields are left out. REQUIRED fields are required unless they are in a oneof."""
    schema = message_schema(
        factory.descriptor("BuildMachineRequest"),
        descriptions=factory.types().comments.by_name,
        for_input=True,
    )
    check_form(schema)
    definitions = schema.pop("$defs")
    machine = definitions["factory.v1.Machine"]
    assert schema == {
        "type": "object",
        "properties": {
            "parent": {"type": "string", "description": "The line on which it is built."},
            "machine": {"$ref": "#/$defs/factory.v1.Machine"},
            "requestId": {"type": "string", "description": "Makes a repeat safe."},
            "validateOnly": {"type": "boolean"},
            "extra": {"$ref": "#/$defs/google.protobuf.Any"},
        },
        "required": ["parent", "machine"],
        "additionalProperties": False,
    }
    notes = machine["properties"].pop("notes")
    assert machine == {
        "type": "object",
        "description": "A machine: it has a drive.",
        "properties": {
            "name": {"type": "string", "description": "Its name."},
            "title": {"type": "string"},
            "wantedState": {
                "type": "string",
                "enum": ["STATE_UNSPECIFIED", "RUNNING", "IDLE"],
                "description": "What it should do. RUNNING: It runs.",
            },
            "engine": {
                "$ref": "#/$defs/factory.v1.Engine",
                "description": "Its engine. Give at most one of: engine, crank.",
            },
            "crank": {"type": "string", "description": "Give at most one of: engine, crank."},
            "parts": {
                "type": "object",
                "additionalProperties": {"$ref": "#/$defs/factory.v1.Machine"},
            },
            "startTime": {"$ref": "#/$defs/google.protobuf.Timestamp"},
            "weight": {"type": "number"},
        },
        "required": ["title"],
        "dependentSchemas": {"engine": {"properties": {"crank": False}}},
        "additionalProperties": False,
    }
    assert notes["additionalProperties"] == {"type": "string"}
    assert sorted(definitions) == [
        *("factory.v1.Engine", "factory.v1.Machine"),
        *("google.protobuf.Any", "google.protobuf.Duration", "google.protobuf.Timestamp", "int64"),
    ]


def test_an_update_need_not_set_the_required_fields_of_its_resource() -> None:
    """An update has a FieldMask, and needs only the fields that the mask names (AIP-203)."""
    schema = message_schema(factory.descriptor("UpdateMachineRequest"), for_input=True)
    assert schema["required"] == ["machine"]
    assert "required" not in schema["$defs"]["factory.v1.Machine"]


def test_a_printed_message_need_not_have_its_required_fields() -> None:
    """ProtoJSON leaves out default values. Only the fields in `required=` are required."""
    schema = message_schema(factory.descriptor("BuildMachineRequest"), required=("requestId",))
    assert schema["required"] == ["requestId"]
    assert "required" not in schema["$defs"]["factory.v1.Machine"]
    assert "state" in schema["$defs"]["factory.v1.Machine"]["properties"]


MACHINE_SCHEMA = message_schema(factory.descriptor("Machine"), for_input=True)
MACHINE = validator(MACHINE_SCHEMA)
DURATION = Payload("google.protobuf.Duration", {"type": "string", "enum": ["1s"]}, under_value=True)
ACCEPTED: dict[str, list[Any]] = {
    "startTime": [
        *("2026-01-31T08:30:00Z", "2024-02-29T23:59:59.999999999Z", "2000-02-29T00:00:00+02:30"),
        *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "0002-01-01T00:00:00+23:59"),
    ],
    "warmUp": ["0s", "-0.5s", "99999999999.999999999s", "-99999999999s"],
    "power": [0, -(2**63), 2**63 - 1, str(-(2**63)), str(2**63 - 1), "007"],
    "plan": ["", "AA==", "AAA=", "+/+/"],
    "notes": [{"0": ""}, {"-2147483648": ""}, {"2147483647": ""}],
}
REFUSED: dict[str, list[Any]] = {
    "startTime": [
        *("2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-04-31T00:00:00Z"),
        *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"),
        *("2026-01-01T24:00:00Z", "2026-01-01T00:00:00", "2026-01-01", "2026-13-01T00:00:00Z"),
        "2026-01-01T00:00:00.1234567890Z",
    ],
    "warmUp": ["100000000000s", "1", "1.s", "s", ".5s", "1.1234567890s", 1],
    "power": [2**63, str(2**63), str(-(2**63) - 1), "", "-", "1.5", True],
    "plan": ["A", "AA", "AAA", "A===", "AA=A", "%%%%"],
    "notes": [{"2147483648": ""}, {"-2147483649": ""}, {"": ""}, {"a": ""}, {"0": 1}],
}


def _machine(field: str, value: Any) -> dict[str, Any]:
    return {"engine": {field: value}} if field in {"power", "plan", "warmUp"} else {field: value}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in ACCEPTED.items() for value in values]
)
def test_values_up_to_their_limits_are_valid_and_parsed(field: str, value: Any) -> None:
    """The schema and the parser of ProtoJSON both accept these values."""
    sent = _machine(field, value)
    assert MACHINE.is_valid({"title": "t", **sent})
    parse(sent, factory.message("Machine"), factory.types())


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in REFUSED.items() for value in values]
)
def test_values_past_their_limits_or_in_other_forms_are_not_valid(field: str, value: Any) -> None:
    """The schema refuses these values before they are parsed."""
    assert not MACHINE.is_valid({"title": "t", **_machine(field, value)})


def test_no_pattern_is_longer_than_40_characters() -> None:
    """Long patterns cost a model tokens, so formats and descriptions give the limits."""
    for schema in (MACHINE_SCHEMA, message_schema(descriptor("shapes.v1.Everything"))):
        assert max(map(len, _patterns(schema))) <= 40


def _patterns(node: Any) -> list[str]:
    if isinstance(node, list):
        return [found for item in node for found in _patterns(item)]
    if not isinstance(node, dict):
        return []
    own = [node["pattern"]] if isinstance(node.get("pattern"), str) else []
    return own + [found for item in node.values() for found in _patterns(item)]


def test_at_most_one_field_of_a_oneof_is_valid() -> None:
    """Each field of a oneof is valid alone. A message without any of them is valid too."""
    alone: list[dict[str, Any]] = [{}, {"crank": "c"}, {"engine": {}}]
    assert all(MACHINE.is_valid({"title": "t", **choice}) for choice in alone)
    assert not MACHINE.is_valid({"title": "t", "crank": "c", "engine": {}})


def test_a_proto2_request_needs_its_required_fields_and_has_no_extensions() -> None:
    """The descriptor of a message does not list its extensions."""
    schema = message_schema(descriptor("odd.v1.Legacy"), for_input=True)
    check_form(schema)
    assert schema["required"] == ["needed"]
    assert not Draft202012Validator(schema).is_valid({"needed": 1, "[odd.v1.note]": "n"})


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("Struct", {"type": "object", "additionalProperties": True}),
        ("Empty", {"type": "object", "properties": {}, "additionalProperties": False}),
        (
            "BoolValue",
            {
                "type": "object",
                "properties": {"value": {"type": "boolean"}},
                "additionalProperties": False,
                "required": ["value"],
            },
        ),
    ],
)
def test_the_root_is_an_object_even_if_the_json_of_the_type_is_not(
    name: str, schema: Schema
) -> None:
    """The arguments and the result of an MCP tool must be objects."""
    assert message_schema(descriptor(f"google.protobuf.{name}")) == schema


def test_the_schema_of_an_any_may_be_that_of_the_type_it_holds() -> None:
    """The fields are beside @type. The JSON of a type with a form of its own is under value."""
    definitions: dict[str, Schema] = {}
    metadata = any_schema(factory.descriptor("BuildMetadata"), {}, definitions)
    assert metadata == {
        "type": "object",
        "properties": {
            "@type": {"type": "string", "pattern": r"(?:^|/)factory\.v1\.BuildMetadata$"},
            "progressPercent": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
        },
        "required": ["@type"],
        "additionalProperties": False,
    }
    duration = Draft202012Validator(
        any_schema(descriptor("google.protobuf.Duration"), {}, definitions)
    )
    assert duration.is_valid({"@type": "x/google.protobuf.Duration", "value": "1s"})
    assert not duration.is_valid({"@type": "x/google.protobuf.Duration", "seconds": 1})
    assert definitions == {}
    any_schema(factory.descriptor("Machine"), {}, definitions)
    assert sorted(definitions) == ["factory.v1.Engine", "factory.v1.Machine"]


def test_types_that_nest_deeper_than_the_stack_have_a_schema() -> None:
    """A backend may define thousands of types, each inside the one before."""
    count = 3000
    file = FileDescriptorProto(name="deep.proto", package="deep", syntax="proto3")
    for index in range(count):
        message = file.message_type.add(name=f"M{index}")
        if index < count - 1:
            message.field.add(
                name="next", number=1, type=11, label=1, type_name=f".deep.M{index + 1}"
            )
    deep = DescriptorPool()
    deep.Add(file)
    root = deep.FindMessageTypeByName("deep.M0")
    assert len(message_schema(root)["$defs"]) == count - 1


def test_definitions_can_be_added_to_a_given_dict() -> None:
    """An OpenAPI document has its definitions under components."""
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
EVERYTHING = validator(message_schema(descriptor("shapes.v1.Everything")))


@given(
    messages(message_class("shapes.v1.Everything"), PAYLOADS), st.builds(JsonOptions, st.booleans())
)
def test_any_printed_message_is_valid_by_its_schema(message: Any, options: JsonOptions) -> None:
    """Enums may be printed as names or as numbers."""
    EVERYTHING.validate(to_json(message, types(), options))


@given(data=st.data(), file=files())
def test_any_printed_message_of_any_type_is_valid_by_its_schema(
    data: st.DataObject, file: FileDescriptorProto
) -> None:
    """The types are random, as a backend may define them."""
    known = TypeSet()
    known.add([file])
    root: Any = known.message_class("random.M0")
    schema = message_schema(root.DESCRIPTOR)
    check_form(schema)
    message = data.draw(messages(root, [root]))
    validator(schema).validate(to_json(message, known))


@settings(max_examples=400)
@given(data=st.data(), file=files())
def test_any_json_that_is_valid_by_the_schema_of_any_request_is_parsed(
    data: st.DataObject, file: FileDescriptorProto
) -> None:
    """The types are random. The JSON is random too, within the schema."""
    known = TypeSet()
    assert known.add([file]) == []
    root: Any = known.message_class("random.M0")
    schema = message_schema(root.DESCRIPTOR, for_input=True)
    check_form(schema)
    value = data.draw(instances(schema, [DURATION, Payload("random.M0", schema)]))
    validator(schema).validate(value)
    parse(value, root(), known)


@given(instances(MACHINE_SCHEMA))
def test_any_json_that_is_valid_by_the_schema_of_a_machine_is_parsed(value: Any) -> None:
    """The schema of a Machine has everything that schemas of requests may have."""
    MACHINE.validate(value)
    parse(value, factory.message("Machine"), factory.types())


LIBRARIES = (
    *("google.api", "google.longrunning", "google.rpc", "google.type", "lro_gateway.demo.v1"),
    *("google.cloud.alloydb_v1", "google.cloud.automl_v1", "google.cloud.dataproc_v1"),
    *("google.cloud.discoveryengine_v1", "google.cloud.netapp_v1"),
)


def published(library: str) -> list[Descriptor]:
    """Return the message types in a library's generated code, by protoc or for proto-plus."""
    package = import_module(library)
    found: dict[str, Descriptor] = {}
    for info in pkgutil.walk_packages(package.__path__, f"{library}."):
        if info.name.endswith("_pb2") or ".types" in info.name:
            for value in vars(import_module(info.name)).values():
                # A proto-plus class keeps the protobuf class in `_meta.pb`.
                generated = getattr(getattr(value, "_meta", None), "pb", value)
                if isinstance(generated, type) and issubclass(generated, Message):
                    message_type: Any = generated.DESCRIPTOR
                    found[message_type.full_name] = message_type
    return list(found.values())


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_message_of_a_published_library_has_a_schema(library: str) -> None:
    """Messages called `...Request` get the schema for input. Others get the schema for output."""
    descriptors = published(library)
    assert descriptors
    for each in descriptors:
        if each.name.endswith("Request"):
            check_form(message_schema(each, for_input=True))
        else:
            check_references(message_schema(each))


def odd_names() -> Schema:
    """Return the schema of a request with keys that providers of models refuse, at two depths."""
    strange = Strange()
    strange.file.dependency.append("google/protobuf/any.proto")
    long = "l" * 65
    names = ("filter", "start_time", "x", "plain", long)
    inner, outer = strange.message("Inner", *names), strange.message("Outer", *names)
    for message in (inner, outer):
        for field, json_name in zip(message.field, ("$filter", "StartTime<", "x[]"), strict=False):
            field.json_name = json_name
        message.oneof_decl.add(name="choice")
        message.field[0].oneof_index = message.field[1].oneof_index = 0
        message.field[2].options.Extensions[field_behavior_pb2.field_behavior].append(
            field_behavior_pb2.REQUIRED
        )
    outer.field.add(name="inner", number=9, type=11, label=1, type_name=".strange.Inner")
    outer.field.add(name="any", number=10, type=11, label=1, type_name=".google.protobuf.Any")
    descriptor = strange.pool().FindMessageTypeByName("strange.Outer")
    return message_schema(descriptor, for_input=True)


def test_every_key_of_a_request_is_one_that_providers_of_models_accept() -> None:
    """A provider refuses all tools of a session for one wrong key, so it is the field's own name.

    The description lists each field whose names are all too long.
    """
    schema = odd_names()
    inner = schema["$defs"]["strange.Inner"]
    for each in (schema, inner):
        assert list(each["properties"])[:4] == ["filter", "start_time", "x", "plain"]
        assert each["required"] == ["x"]
        assert each["dependentSchemas"] == {"filter": {"properties": {"start_time": False}}}
        assert each["additionalProperties"] is True
        assert f"It also has the fields {'l' * 65}," in each["description"]
    assert schema["properties"]["filter"]["description"] == (
        "Give at most one of: filter, start_time."
    )
    assert "properties" not in schema["$defs"]["google.protobuf.Any"]
    assert "required" not in schema["$defs"]["google.protobuf.Any"]


def test_an_answer_has_the_json_names_of_protojson() -> None:
    """The schema describes the answer as it is, because a provider of models does not get it."""
    strange = Strange()
    strange.message("Answer", "filter").field[0].json_name = "$filter"
    descriptor = strange.pool().FindMessageTypeByName("strange.Answer")
    assert list(message_schema(descriptor)["properties"]) == ["$filter"]

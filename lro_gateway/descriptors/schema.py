"""Message descriptors to JSON Schema 2020-12: the shape of their ProtoJSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

Schema = dict[str, Any]

_INT64: Final = {"type": ["string", "integer"], "format": "int64", "pattern": "^-?[0-9]+$"}
_UINT64: Final = {
    "type": ["string", "integer"],
    "format": "uint64",
    "pattern": "^[0-9]+$",
    "minimum": 0,
}
_INT32: Final = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
_UINT32: Final = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
_FLOAT: Final = {
    "anyOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]
}
_BYTES: Final = {"type": "string", "contentEncoding": "base64"}
_SCALARS: Final[Mapping[int, Schema]] = {
    FieldDescriptor.TYPE_DOUBLE: _FLOAT,
    FieldDescriptor.TYPE_FLOAT: _FLOAT,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_SINT64: _INT64,
    FieldDescriptor.TYPE_SFIXED64: _INT64,
    FieldDescriptor.TYPE_UINT64: _UINT64,
    FieldDescriptor.TYPE_FIXED64: _UINT64,
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_SINT32: _INT32,
    FieldDescriptor.TYPE_SFIXED32: _INT32,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_FIXED32: _UINT32,
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: _BYTES,
}
_WELL_KNOWN: Final[Mapping[str, Schema]] = {
    "google.protobuf.Any": {
        "type": "object",
        "properties": {
            "@type": {"type": "string", "description": "The type URL of what follows."},
            "@value": {
                "type": "string",
                "description": "The payload as base64, only where it could not be read.",
            },
            "@error": {"type": "string", "description": "Why it could not be read."},
        },
        "additionalProperties": True,
    },
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {
        "type": "string",
        "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$",
        "examples": ["30s"],
    },
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array"},
    "google.protobuf.Empty": {"type": "object", "additionalProperties": False},
    "google.protobuf.DoubleValue": _FLOAT,
    "google.protobuf.FloatValue": _FLOAT,
    "google.protobuf.Int64Value": _INT64,
    "google.protobuf.UInt64Value": _UINT64,
    "google.protobuf.Int32Value": _INT32,
    "google.protobuf.UInt32Value": _UINT32,
    "google.protobuf.BoolValue": {"type": "boolean"},
    "google.protobuf.StringValue": {"type": "string"},
    "google.protobuf.BytesValue": _BYTES,
}


def message_schema(
    descriptor: Descriptor,
    *,
    descriptions: Mapping[str, str] | None = None,
    required: Iterable[str] = (),
    ref_prefix: str = "#/$defs/",
    definitions: dict[str, Schema] | None = None,
) -> Schema:
    """Return the schema of a message's ProtoJSON; its root is always `"type": "object"`.

    `descriptions` are by full field name; `required` adds JSON names to what field_behavior marks
    REQUIRED. Messages inside go to `$defs`, so recursion ends; with `definitions` they go there
    instead, referred to by `ref_prefix` (OpenAPI's components).
    """
    builder = _Builder(descriptions or {}, ref_prefix)
    root = builder.object(descriptor, required)
    if definitions is not None:
        definitions.update(builder.definitions)
    elif builder.definitions:
        root["$defs"] = builder.definitions
    return root


class _Builder:
    def __init__(self, descriptions: Mapping[str, str], ref_prefix: str) -> None:
        self._descriptions = descriptions
        self._ref_prefix = ref_prefix
        self.definitions: dict[str, Schema] = {}

    def object(self, descriptor: Descriptor, required: Iterable[str] = ()) -> Schema:
        """Return the schema of a message, its fields in the order of their numbers' declaration."""
        properties: Schema = {}
        needed = list(required)
        for field in descriptor.fields:
            properties[field.json_name] = self._described(field)
            behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
            if field_behavior_pb2.REQUIRED in behaviors and field.json_name not in needed:
                needed.append(field.json_name)
        schema: Schema = {"type": "object", "properties": properties}
        if needed:
            schema["required"] = needed
        if descriptor.is_extendable:
            # ProtoJSON names an extension [full.name].
            schema["patternProperties"] = {r"^\[": {}}
        schema["additionalProperties"] = False
        return schema

    def _described(self, field: FieldDescriptor) -> Schema:
        schema = dict(self._field(field))
        if description := self._descriptions.get(field.full_name):
            schema["description"] = description
        return schema

    def _field(self, field: FieldDescriptor) -> Schema:
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            values = self._single(message.fields_by_name["value"])
            return {"type": "object", "additionalProperties": values}
        single = self._single(field)
        return {"type": "array", "items": single} if field.is_repeated else single

    def _single(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            return self._message(field.message_type)
        if field.enum_type is not None:
            return _enum(field.enum_type)
        return _SCALARS[field.type]

    def _message(self, descriptor: Descriptor) -> Schema:
        known = _WELL_KNOWN.get(descriptor.full_name)
        if known is not None:
            return known
        name = descriptor.full_name
        if name not in self.definitions:
            # Taken before it is built, so that a message that holds itself ends here.
            self.definitions[name] = {}
            self.definitions[name] = self.object(descriptor)
        return {"$ref": self._ref_prefix + name}


def _enum(descriptor: EnumDescriptor) -> Schema:
    if descriptor.full_name == "google.protobuf.NullValue":
        return {"type": ["null", "integer"]}
    # A number stands for a value that this descriptor does not know yet, or is printed on request.
    names = {"type": "string", "enum": [value.name for value in descriptor.values]}
    return {"anyOf": [names, {"type": "integer"}]}

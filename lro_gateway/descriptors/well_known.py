"""The names, files and JSON forms of the well-known types of google.protobuf.

ProtoJSON gives most of them a JSON form of their own (protobuf.dev, "ProtoJSON Format").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from google.protobuf import (
    any_pb2,
    api_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor_pb2 import FileDescriptorProto

ANY: Final = "google.protobuf.Any"
DURATION: Final = "google.protobuf.Duration"
EMPTY: Final = "google.protobuf.Empty"
FIELD_MASK: Final = "google.protobuf.FieldMask"
LIST_VALUE: Final = "google.protobuf.ListValue"
NULL_VALUE: Final = "google.protobuf.NullValue"
"""NullValue is an enum. The other well-known types are messages."""
STRUCT: Final = "google.protobuf.Struct"
TIMESTAMP: Final = "google.protobuf.Timestamp"
VALUE: Final = "google.protobuf.Value"

BOOL_VALUE: Final = "google.protobuf.BoolValue"
BYTES_VALUE: Final = "google.protobuf.BytesValue"
DOUBLE_VALUE: Final = "google.protobuf.DoubleValue"
FLOAT_VALUE: Final = "google.protobuf.FloatValue"
INT32_VALUE: Final = "google.protobuf.Int32Value"
INT64_VALUE: Final = "google.protobuf.Int64Value"
STRING_VALUE: Final = "google.protobuf.StringValue"
UINT32_VALUE: Final = "google.protobuf.UInt32Value"
UINT64_VALUE: Final = "google.protobuf.UInt64Value"


@dataclass(frozen=True, slots=True)
class _Type:
    """A type whose ProtoJSON is not an object with the type's fields as keys.

    - `is_object`: its JSON is always an object.
    - `is_scalar`: its JSON is always one string, number or boolean.
    - `is_wrapper`: its JSON is the JSON of its field `value`.
    - `is_endless`: its JSON may nest without a limit.
    """

    name: str
    is_object: bool = False
    is_scalar: bool = False
    is_wrapper: bool = False
    is_endless: bool = False


_TYPES: Final = (
    _Type(ANY, is_object=True),
    _Type(STRUCT, is_object=True, is_endless=True),
    _Type(LIST_VALUE, is_endless=True),
    _Type(VALUE, is_endless=True),
    _Type(DURATION, is_scalar=True),
    _Type(FIELD_MASK, is_scalar=True),
    _Type(TIMESTAMP, is_scalar=True),
    _Type(BOOL_VALUE, is_scalar=True, is_wrapper=True),
    _Type(BYTES_VALUE, is_scalar=True, is_wrapper=True),
    _Type(DOUBLE_VALUE, is_scalar=True, is_wrapper=True),
    _Type(FLOAT_VALUE, is_scalar=True, is_wrapper=True),
    _Type(INT32_VALUE, is_scalar=True, is_wrapper=True),
    _Type(INT64_VALUE, is_scalar=True, is_wrapper=True),
    _Type(STRING_VALUE, is_scalar=True, is_wrapper=True),
    _Type(UINT32_VALUE, is_scalar=True, is_wrapper=True),
    _Type(UINT64_VALUE, is_scalar=True, is_wrapper=True),
)

OPAQUE: Final = frozenset(each.name for each in _TYPES)
"""Types whose JSON is not an object with their fields as keys.

The JSON of an Any has the JSON of such a type under the key `value`.
"""

JSON_OBJECT: Final = frozenset(each.name for each in _TYPES if each.is_object)
"""Opaque types whose JSON is always an object."""

BARE: Final = OPAQUE - JSON_OBJECT
"""Opaque types whose JSON is not always an object.

Where an object is required, as at the root of a tool's result, the JSON is in a property `value`.
"""

SCALAR: Final = frozenset(each.name for each in _TYPES if each.is_scalar)
"""Opaque types whose JSON is one scalar, so a parameter of a URL can set it."""

WRAPPERS: Final = frozenset(each.name for each in _TYPES if each.is_wrapper)
"""Opaque types whose JSON is the JSON of their field `value`."""

ENDLESS: Final = frozenset(each.name for each in _TYPES if each.is_endless)
"""Opaque types whose JSON may nest without a limit."""

FILES: Final = tuple(
    FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
    # Each file comes after the files that it imports.
    for module in (
        descriptor_pb2,
        any_pb2,
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        source_context_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
        type_pb2,
        api_pb2,
    )
)
"""The files google/protobuf/*.proto of the well-known types, in the order of dependency."""

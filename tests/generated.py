"""Hypothesis strategies: messages of any type, and message types themselves."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

from google.protobuf import any_pb2
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.message import Message
from hypothesis import strategies as st

WELL_KNOWN_TYPES = (
    *("Any", "Duration", "Empty", "FieldMask", "Struct", "Timestamp", "Value"),
    *("BoolValue", "BytesValue", "DoubleValue", "FloatValue"),
    *("Int64Value", "StringValue", "UInt32Value"),
)
_IMPORTS = tuple(
    f"google/protobuf/{name}.proto"
    for name in ("any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers")
)

_INT32 = st.integers(-(2**31), 2**31 - 1)
_INT64 = st.integers(-(2**63), 2**63 - 1)
_UINT32 = st.integers(0, 2**32 - 1)
_UINT64 = st.integers(0, 2**64 - 1)
# Protobuf has many NaN values, and JSON has one, so only one of them is drawn.
_DOUBLE = st.floats(allow_nan=False) | st.just(math.nan)
_FLOAT = st.floats(allow_nan=False, width=32) | st.just(math.nan)
_F = FieldDescriptor
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    _F.TYPE_DOUBLE: _DOUBLE,
    _F.TYPE_FLOAT: _FLOAT,
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64), _INT64),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), _UINT64),
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32), _INT32),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), _UINT32),
    _F.TYPE_BOOL: st.booleans(),
    _F.TYPE_STRING: st.text(max_size=8),
    _F.TYPE_BYTES: st.binary(max_size=8),
}
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)
_PATHS = st.lists(st.from_regex(r"[a-z]{1,3}(_[a-z]{1,3})?(\.[a-z])?", fullmatch=True), max_size=2)


@st.composite
def messages(
    draw: st.DrawFn, message_class: type[Message], payloads: Sequence[type[Message]], depth: int = 2
) -> Any:
    """Draw a message that has a ProtoJSON form; its Anys hold messages of `payloads`."""
    message: Any = message_class()
    fields = list(message.DESCRIPTOR.fields)
    if fields and not _well_known(draw, message, payloads, depth):
        for field in draw(st.lists(st.sampled_from(fields), max_size=5)):
            if depth > 0 or field.message_type is None:
                _fill(draw, message, field, payloads, depth)
    return message


def _fill(
    draw: st.DrawFn,
    message: Any,
    field: FieldDescriptor,
    payloads: Sequence[type[Message]],
    depth: int,
) -> None:
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        target = getattr(message, field.name)
        value_field = inner.fields_by_name["value"]
        for key in draw(st.lists(_SCALARS[inner.fields_by_name["key"].type], max_size=2)):
            if value_field.message_type is None:
                target[key] = draw(_scalar(value_field))
            else:
                entry_class = target.GetEntryClass()
                value_class = type(entry_class().value)
                target[key].CopyFrom(draw(messages(value_class, payloads, depth - 1)))
    elif inner is not None and field.is_repeated:
        for _ in range(draw(st.integers(0, 2))):
            item = getattr(message, field.name).add()
            item.CopyFrom(draw(messages(type(item), payloads, depth - 1)))
    elif inner is not None:
        target = getattr(message, field.name)
        drawn = draw(messages(type(target), payloads, depth - 1))
        target.SetInParent()
        target.CopyFrom(drawn)
    elif field.is_repeated:
        getattr(message, field.name).extend(draw(st.lists(_scalar(field), max_size=2)))
    else:
        setattr(message, field.name, draw(_scalar(field)))


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    return _SCALARS[field.type] if field.enum_type is None else _enum(field.enum_type)


def _enum(descriptor: EnumDescriptor) -> st.SearchStrategy[int]:
    known = st.sampled_from([value.number for value in descriptor.values])
    return known if descriptor.is_closed else known | _INT32


def _well_known(
    draw: st.DrawFn, message: Any, payloads: Sequence[type[Message]], depth: int
) -> bool:
    """Fill a message of a well-known type; return whether the message is of such a type.

    The JSON form of these types does not allow all values of their fields.
    """
    match message.DESCRIPTOR.full_name:
        case "google.protobuf.Any":
            _fill_any(draw, message, payloads, depth)
        case "google.protobuf.Timestamp":
            message.seconds = draw(st.integers(-62135596800, 253402300799))
            message.nanos = draw(st.integers(0, 999_999_999))
        case "google.protobuf.Duration":
            sign = draw(st.sampled_from([-1, 1]))
            message.seconds = sign * draw(st.integers(0, 315_576_000_000 - 1))
            message.nanos = sign * draw(st.integers(0, 999_999_999))
        case "google.protobuf.FieldMask":
            message.paths.extend(draw(_PATHS))
        case "google.protobuf.Struct":
            message.update(draw(st.dictionaries(st.text(max_size=4), _JSON, max_size=2)))
        case "google.protobuf.Value":
            # Only a Struct takes plain Python values.
            holder = type(message)().struct_value
            holder.update({"value": draw(_JSON)})
            message.CopyFrom(holder.fields["value"])
        case _:
            return False
    return True


def _fill_any(
    draw: st.DrawFn, message: any_pb2.Any, payloads: Sequence[type[Message]], depth: int
) -> None:
    kind = draw(st.sampled_from(["empty", "unknown", "payload", "payload"]))
    if kind == "unknown":
        message.type_url = draw(st.text(max_size=8)) + "/no.Such"
        message.value = draw(st.binary(max_size=8))
    elif kind == "payload":
        payload_class = draw(st.sampled_from(payloads))
        payload = draw(messages(payload_class, payloads, depth - 1))
        message.type_url = f"{draw(st.text(max_size=4))}/{payload.DESCRIPTOR.full_name}"
        message.value = payload.SerializePartialToString(deterministic=True)


@st.composite
def files(draw: st.DrawFn) -> FileDescriptorProto:
    """Draw a file `random.proto` of package `random` that has messages `M0`, `M1`, ..."""
    file = FileDescriptorProto(
        name="random.proto",
        package="random",
        syntax=draw(st.sampled_from(["proto2", "proto3"])),
        dependency=_IMPORTS,
    )
    enum = file.enum_type.add(name="E")
    for number in range(draw(st.integers(1, 3))):
        enum.value.add(name=f"E{number}", number=number)
    names = [f"M{index}" for index in range(draw(st.integers(1, 3)))]
    for name in names:
        message = file.message_type.add(name=name)
        if draw(st.booleans()):
            message.oneof_decl.add(name="choice")
        for number in range(1, draw(st.integers(1, 5)) + 1):
            _add_field(draw, file.syntax, message, number, names)
        if message.oneof_decl and not any(f.HasField("oneof_index") for f in message.field):
            del message.oneof_decl[:]
    return file


def _add_field(
    draw: st.DrawFn, syntax: str, message: DescriptorProto, number: int, names: Sequence[str]
) -> None:
    letters = st.text(string.ascii_lowercase, min_size=1, max_size=3)
    # The number makes each name unique, also in JSON.
    name = f"{draw(letters)}_{draw(letters)}{number}"
    field = message.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
    _set_type(draw, field, names)
    form = draw(st.sampled_from(["single", "single", "repeated", "map", "oneof", "required"]))
    if form == "oneof" and message.oneof_decl:
        field.oneof_index = 0
    elif form == "repeated":
        field.label = FieldDescriptorProto.LABEL_REPEATED
    elif form == "required" and syntax == "proto2":
        field.label = FieldDescriptorProto.LABEL_REQUIRED
    elif form == "map":
        _make_map(draw, message, field)
    # The bytes are the option google.api.field_behavior with REQUIRED (2) or OUTPUT_ONLY (3).
    behavior = draw(st.sampled_from([b"", b"", b"\xe2\x41\x01\x02", b"\xe2\x41\x01\x03"]))
    field.options.MergeFromString(behavior)


def _set_type(draw: st.DrawFn, field: FieldDescriptorProto, names: Sequence[str]) -> None:
    kind = draw(st.sampled_from(["scalar", "enum", "own", "well-known"]))
    if kind == "scalar":
        field.type = draw(
            st.sampled_from([FieldDescriptorProto.Type.ValueType(t) for t in _SCALARS])
        )
    elif kind == "enum":
        field.type = FieldDescriptorProto.TYPE_ENUM
        field.type_name = ".random.E"
    else:
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        own = [f".random.{name}" for name in names]
        theirs = [f".google.protobuf.{name}" for name in WELL_KNOWN_TYPES]
        field.type_name = draw(st.sampled_from(own if kind == "own" else theirs))


def _make_map(draw: st.DrawFn, message: DescriptorProto, field: FieldDescriptorProto) -> None:
    # protoc gives this name to the type of a map field's entries.
    entry = message.nested_type.add(
        name="".join(part.capitalize() for part in field.name.split("_")) + "Entry"
    )
    entry.options.map_entry = True
    key = draw(
        st.sampled_from(
            [
                FieldDescriptorProto.TYPE_STRING,
                FieldDescriptorProto.TYPE_BOOL,
                FieldDescriptorProto.TYPE_SINT32,
                FieldDescriptorProto.TYPE_FIXED32,
                FieldDescriptorProto.TYPE_INT64,
                FieldDescriptorProto.TYPE_UINT64,
            ]
        )
    )
    label = FieldDescriptorProto.LABEL_OPTIONAL
    entry.field.add(name="key", number=1, type=key, label=label)
    value = entry.field.add(name="value", number=2, type=field.type, label=label)
    if field.type_name:
        value.type_name = field.type_name
    field.label = FieldDescriptorProto.LABEL_REPEATED
    field.type = FieldDescriptorProto.TYPE_MESSAGE
    field.type_name = f".random.{message.name}.{entry.name}"


def json_depth(value: Any) -> int:
    """Return how many lists and objects are nested in each other."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(json_depth, inner), default=0)
    return 0

"""Repairs of descriptors that protobuf's pool refuses, but whose messages can be read.

Other compilers and other versions of protobuf accept such descriptors. A repair changes no field
number and no type, so the bytes of a message keep their meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    Edition,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from lro_gateway.descriptors.declarations import joined, with_text

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)
_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_]", re.ASCII)
_CAPITAL: Final = re.compile(r"([A-Z])", re.ASCII)
_SYNTAXES: Final = frozenset({"", "proto2", "proto3", "editions"})
_NEWEST_EDITION: Final = Edition.EDITION_2024
_OLDEST_EDITION: Final = Edition.EDITION_2023
_MAX_NUMBER: Final = 2**29 - 1
_UNPACKABLE: Final = frozenset(
    {
        FieldDescriptorProto.TYPE_STRING,
        FieldDescriptorProto.TYPE_BYTES,
        FieldDescriptorProto.TYPE_MESSAGE,
        FieldDescriptorProto.TYPE_GROUP,
    }
)


def versions(file: FileDescriptorProto) -> Iterator[FileDescriptorProto]:
    """Yield versions of a file for the pool to try: as it is, repaired, and reduced.

    The reduced version has no default values, reserved ranges and options of its own, because a
    mistake in them must not make the messages unreadable.
    """
    yield file
    repaired = with_text(file)
    _repair_syntax(repaired)
    is_proto3 = repaired.syntax == "proto3"
    for message in repaired.message_type:
        _repair_message(message, is_proto3=is_proto3)
    for enum in repaired.enum_type:
        _repair_enum(enum, is_proto3=is_proto3)
    for field in repaired.extension:
        _repair_field(field, is_proto3=is_proto3)
    yield repaired
    _reduce(repaired)
    yield repaired


def removed_fields(file: FileDescriptorProto, repaired: FileDescriptorProto) -> list[str]:
    """Return the full names of the fields of messages that a repair has removed."""
    removed: list[str] = []
    pending = [
        (joined(file.package, one.name), one, other)
        for one, other in zip(file.message_type, repaired.message_type, strict=True)
    ]
    while pending:
        name, one, other = pending.pop()
        kept = {(field.number, _valid_name(field.name)) for field in other.field}
        removed += [
            f"{name}.{field.name}"
            for field in one.field
            if (field.number, _valid_name(field.name)) not in kept and field.name[:1] != "."
        ]
        for inner, its_repaired in zip(one.nested_type, other.nested_type, strict=True):
            pending.append((f"{name}.{inner.name}", inner, its_repaired))
    return removed


def with_snake_case(file: FileDescriptorProto) -> FileDescriptorProto:
    """Return a copy of a file whose fields have names in snake_case, and JSON names as before.

    protobufjs gives the fields their JSON names. Other code knows the fields of common types, such
    as `progress_percent`, by the names in the .proto files.
    """
    copy = FileDescriptorProto()
    copy.CopyFrom(file)
    pending = [*copy.message_type]
    while pending:
        message = pending.pop()
        pending.extend(message.nested_type)
        names = {field.name for field in message.field}
        for field in message.field:
            name = _CAPITAL.sub(r"_\1", field.name).lower()
            if field.name[:1].islower() and name not in names:
                field.json_name = json_name_of(field)
                field.name = name
    return copy


def separate_json_names(message: DescriptorProto) -> None:
    """Give fields that have one JSON name their own names as JSON names.

    The names of fields are unique in a message, so in the worst case all fields keep them.
    """
    fields = {field.name: field for field in message.field}
    while True:
        taken: dict[str, list[FieldDescriptorProto]] = {}
        for field in fields.values():
            taken.setdefault(json_name_of(field), []).append(field)
        clashing = [
            field
            for name, sharing in taken.items()
            for field in sharing
            if json_name_of(field) != field.name
            and (len(sharing) > 1 or fields.get(name, field) is not field)
        ]
        if not clashing:
            return
        for field in clashing:
            field.json_name = field.name


def json_name_of(field: FieldDescriptorProto) -> str:
    """Return the JSON name of a field, which is its name in lowerCamelCase by default."""
    if field.json_name:
        return field.json_name
    first, *others = field.name.split("_")
    return first + "".join(other[:1].upper() + other[1:] for other in others)


def _repair_syntax(file: FileDescriptorProto) -> None:
    if file.syntax == "editions":
        file.edition = min(max(file.edition, _OLDEST_EDITION), _NEWEST_EDITION)
    elif file.syntax not in _SYNTAXES:
        # A proto3 file and a proto2 file differ little in how their messages are read.
        file.syntax = "proto2" if any(map(_needs_proto2, file.message_type)) else "proto3"


def _needs_proto2(message: DescriptorProto) -> bool:
    return (
        bool(message.extension_range)
        or any(
            field.label == FieldDescriptorProto.LABEL_REQUIRED
            or field.type == FieldDescriptorProto.TYPE_GROUP
            or field.HasField("default_value")
            for field in message.field
        )
        or any(map(_needs_proto2, message.nested_type))
    )


def _repair_message(message: DescriptorProto, *, is_proto3: bool) -> None:
    message.name = _valid_name(message.name)
    _keep_if(message.field, _unique_fields(message))
    _keep_if(
        message.extension_range,
        [0 < each.start < each.end <= _MAX_NUMBER + 1 for each in message.extension_range],
    )
    for field in message.field:
        _repair_field(field, is_proto3=is_proto3)
    for field in message.extension:
        _repair_field(field, is_proto3=is_proto3)
    _repair_oneofs(message)
    if not message.options.map_entry:
        separate_json_names(message)
    for inner in message.nested_type:
        _repair_message(inner, is_proto3=is_proto3)
    for enum in message.enum_type:
        _repair_enum(enum, is_proto3=is_proto3)


def _unique_fields(message: DescriptorProto) -> list[bool]:
    """Return for each field whether it can stay: its number and name are valid and not taken.

    protobufjs adds each extension to the fields of the message that it extends, under a name that
    begins with a dot. The extension is declared a second time, at the right place.
    """
    numbers: set[int] = set()
    names: set[str] = set()
    kept = []
    for field in message.field:
        ok = 0 < field.number <= _MAX_NUMBER and not field.name.startswith(".")
        ok = ok and field.number not in numbers and _valid_name(field.name) not in names
        kept.append(ok)
        if ok:
            numbers.add(field.number)
            names.add(_valid_name(field.name))
    return kept


def _repair_field(field: FieldDescriptorProto, *, is_proto3: bool) -> None:
    if (valid := _valid_name(field.name)) != field.name:
        field.json_name = field.json_name or field.name
        field.name = valid
    if is_proto3 and field.label == FieldDescriptorProto.LABEL_REQUIRED:
        field.label = FieldDescriptorProto.LABEL_OPTIONAL
    is_repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
    if field.options.HasField("packed") and (not is_repeated or field.type in _UNPACKABLE):
        field.options.ClearField("packed")


def _repair_oneofs(message: DescriptorProto) -> None:
    """Take fields out of oneofs that are not declared, and remove oneofs without fields."""
    used: dict[int, list[FieldDescriptorProto]] = {}
    for field in message.field:
        if field.HasField("oneof_index"):
            if 0 <= field.oneof_index < len(message.oneof_decl):
                used.setdefault(field.oneof_index, []).append(field)
            else:
                field.ClearField("oneof_index")
        if not field.HasField("oneof_index"):
            field.ClearField("proto3_optional")
    kept = [at in used for at in range(len(message.oneof_decl))]
    for new, old in enumerate(sorted(used)):
        for field in used[old]:
            field.oneof_index = new
    _keep_if(message.oneof_decl, kept)


def _repair_enum(enum: EnumDescriptorProto, *, is_proto3: bool) -> None:
    enum.name = _valid_name(enum.name)
    if not enum.value:
        enum.value.add(name=f"{enum.name.upper()}_UNSPECIFIED", number=0)
    if is_proto3 and enum.value[0].number != 0:
        # proto3 needs a first value of 0, which is what an absent field means.
        zero = next((at for at, value in enumerate(enum.value) if value.number == 0), None)
        values = [*enum.value]
        first = values.pop(zero) if zero is not None else None
        del enum.value[:]
        if first is None:
            enum.value.add(name=f"{enum.name.upper()}_UNSPECIFIED", number=0)
        else:
            enum.value.append(first)
        enum.value.extend(values)


def _reduce(file: FileDescriptorProto) -> None:
    _reduce_options(file, "features")
    for message in file.message_type:
        _reduce_message(message)
    for enum in file.enum_type:
        _reduce_enum(enum)
    for field in file.extension:
        _reduce_field(field)


def _reduce_message(message: DescriptorProto) -> None:
    _reduce_options(message, "map_entry", "message_set_wire_format", "features")
    del message.reserved_range[:], message.reserved_name[:]
    for field in (*message.field, *message.extension):
        _reduce_field(field)
    for inner in message.nested_type:
        _reduce_message(inner)
    for enum in message.enum_type:
        _reduce_enum(enum)


def _reduce_enum(enum: EnumDescriptorProto) -> None:
    _reduce_options(enum, "features")
    del enum.reserved_range[:], enum.reserved_name[:]


def _reduce_field(field: FieldDescriptorProto) -> None:
    field.ClearField("default_value")
    _reduce_options(field, "packed", "features")


def _reduce_options(declaration: Any, *kept: str) -> None:
    values = {name: getattr(declaration.options, name) for name in kept}
    present = [name for name in kept if declaration.options.HasField(name)]
    options = type(declaration.options)()
    for name in present:
        field = options.DESCRIPTOR.fields_by_name[name]
        if field.message_type is None:
            setattr(options, name, values[name])
        else:
            getattr(options, name).CopyFrom(values[name])
    declaration.ClearField("options")
    if present:
        declaration.options.CopyFrom(options)


def _valid_name(name: str) -> str:
    if _NAME.match(name):
        return name
    made = _NOT_IN_NAME.sub("_", name)
    return made if _NAME.match(made) else f"_{made}"


def _keep_if(declarations: Any, kept: list[bool]) -> None:
    for at in reversed(range(len(kept))):
        if not kept[at]:
            del declarations[at]

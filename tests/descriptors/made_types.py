"""Files with one message each, and the fields of a known type."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from lro_gateway.descriptors.type_set import TypeSet


def file(
    name: str, *fields: str, package: str = "own", type_name: str = "Thing"
) -> FileDescriptorProto:
    """Make a file called `name` with one message that has string fields of these names."""
    made = FileDescriptorProto(name=name, package=package, syntax="proto3")
    thing = made.message_type.add(name=type_name)
    for number, field_name in enumerate(fields, 1):
        thing.field.add(name=field_name, number=number, type=9, label=1)
    return made


def fields_of(types: TypeSet, name: str) -> list[str] | None:
    """Return the names of a type's fields, or None if the type is unknown."""
    found: Any = types.message_class(name)
    return None if found is None else [f.name for f in found.DESCRIPTOR.fields]

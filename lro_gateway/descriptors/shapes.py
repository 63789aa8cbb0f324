"""Comparison of two declarations that have one name."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    ServiceDescriptorProto,
)

from lro_gateway.descriptors.methods import Method

_COMMON: Final = tuple(
    f"google.{package}." for package in ("api", "longrunning", "protobuf", "rpc", "type")
)


def is_common(name: str) -> bool:
    """Return whether a declaration is in a package that most services share.

    Two programs often have two versions of these packages, and can read each other's messages.
    """
    return name.startswith(_COMMON)


def is_same_shape(one: Any, other: Any) -> bool:
    """Return whether two declarations have the same fields, values or RPCs.

    Options, comments and the names of fields are ignored, because they do not change the bytes of a
    message, and some servers do not keep them.
    """
    return bool(_shape(one) == _shape(other))


def has_same_messages(one: Method, other: Method) -> bool:
    """Return whether two methods, which may be of two backends, have the same messages."""
    pairs = ((one.request, other.request), (one.response, other.response))
    return all(
        mine.full_name == its.full_name
        and (is_common(mine.full_name) or is_same_shape(_proto(mine), _proto(its)))
        for mine, its in pairs
    )


def _proto(descriptor: Descriptor) -> DescriptorProto:
    proto = DescriptorProto()
    descriptor.CopyToProto(proto)
    return proto


def _shape(declaration: Any) -> Any:
    if isinstance(declaration, DescriptorProto):
        return (
            {field.number: _field(field) for field in declaration.field if field.name[:1] != "."},
            {each.name: _shape(each) for each in declaration.enum_type},
            {
                each.name: _shape(each)
                for each in declaration.nested_type
                if not each.options.map_entry
            },
        )
    if isinstance(declaration, EnumDescriptorProto):
        return {(value.number, value.name) for value in declaration.value}
    if isinstance(declaration, ServiceDescriptorProto):
        return {
            method.name: (_last(method.input_type), _last(method.output_type))
            for method in declaration.method
        }
    return (declaration.number, _field(declaration), _last(declaration.extendee))


def _field(field: FieldDescriptorProto) -> Any:
    is_repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
    # protobufjs names the type of a map's entries without the suffix that protoc appends.
    return field.type, is_repeated, _last(field.type_name).removesuffix("Entry")


def _last(name: str) -> str:
    return name.rpartition(".")[2]

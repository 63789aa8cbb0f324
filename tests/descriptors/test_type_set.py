"""Sets of types: adding files, and names that are not known."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from lro_gateway.descriptors.type_set import TypeSet
from tests.descriptors.made_types import fields_of, file


def test_a_declaration_that_conflicts_is_left_out_and_reported() -> None:
    """The other declarations of the file, and other files, stay usable."""
    types = TypeSet()
    assert types.add([file("a.proto", "a")]) == []
    clashing = file("clash.proto", "d", "e")
    clashing.message_type.add(name="Other")
    assert types.add([clashing, file("z.proto", "z", package="other")]) == [
        "'clash.proto': own.Thing was left out, because 'a.proto' declares it differently"
    ]
    assert fields_of(types, "own.Thing") == ["a"]
    assert fields_of(types, "own.Other") == []
    assert fields_of(types, "other.Thing") == ["z"]


def test_a_type_that_nests_deeper_than_pythons_stack_has_a_class() -> None:
    """The types form a cycle of 5000 messages."""
    chain = FileDescriptorProto(name="deep.proto", package="deep", syntax="proto3")
    for index in range(5000):
        inner = f".deep.M{(index + 1) % 5000}"
        message_type = chain.message_type.add(name=f"M{index}")
        message_type.field.add(name="inner", number=1, type=11, label=1, type_name=inner)
    types = TypeSet()
    assert types.add([chain]) == []
    assert fields_of(types, "deep.M0") == ["inner"]
    made: Any = types.message_class("deep.M0")
    assert made(inner={"inner": {}}).inner.HasField("inner")


def test_a_name_with_a_lone_surrogate_is_an_unknown_type() -> None:
    """JSON may contain a lone surrogate."""
    assert TypeSet().message_class("own.\ud800") is None

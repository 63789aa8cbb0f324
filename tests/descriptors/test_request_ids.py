"""The field `request_id`: which of them identify a call, and which of them have a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.api import field_behavior_pb2, field_info_pb2, resource_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto

from lro_gateway.descriptors.message_types import class_of
from lro_gateway.descriptors.request_ids import is_declared_unique, optional_request_id, value_of
from tests.strange import Strange

Change = Callable[[FieldDescriptorProto, DescriptorProto], None]


def behaving(behavior: int) -> Change:
    """Give the field a google.api.field_behavior."""
    return lambda field, _: field.options.Extensions[field_behavior_pb2.field_behavior].append(
        behavior
    )


def formatted(name: str) -> Change:
    """Give the field a google.api.field_info with this format."""
    info = field_info_pb2.FieldInfo(format=name)

    def change(field: FieldDescriptorProto, _: DescriptorProto) -> None:
        field.options.Extensions[field_info_pb2.field_info].CopyFrom(info)

    return change


def typed(kind: Any, label: Any = FieldDescriptorProto.LABEL_OPTIONAL) -> Change:
    """Give the field another type."""

    def change(field: FieldDescriptorProto, _: DescriptorProto) -> None:
        field.type, field.label = kind, label

    return change


def renamed(name: str) -> Change:
    """Give the field another name."""

    def change(field: FieldDescriptorProto, _: DescriptorProto) -> None:
        field.name = name

    return change


def referring(field: FieldDescriptorProto, _: DescriptorProto) -> None:
    """Let the field hold the name of a resource."""
    field.options.Extensions[resource_pb2.resource_reference].type = "acme.test/Request"


def in_choice(_: FieldDescriptorProto, message: DescriptorProto) -> None:
    """Put both fields of the message into one oneof."""
    message.oneof_decl.add(name="either")
    for each in message.field:
        each.oneof_index = 0


def tracked(field: FieldDescriptorProto, message: DescriptorProto) -> None:
    """Declare the field `optional`, so that it tracks its presence."""
    message.oneof_decl.add(name="_request_id")
    field.oneof_index, field.proto3_optional = 0, True


def message_class(*changes: Change) -> Any:
    """Return the class of a message with the fields `request_id` and `name`."""
    strange = Strange()
    message = strange.message("Request", "request_id", "name")
    for change in changes:
        change(message.field[0], message)
    strange.method("Start", "strange.Request")
    return class_of(strange.pool().FindMessageTypeByName("strange.Request"))


@pytest.mark.parametrize(
    ("changes", "is_key", "is_unique"),
    [
        ((), True, False),
        ((formatted("UUID4"),), True, True),
        ((formatted("UUID4"), tracked), True, True),
        ((formatted("FORMAT_UNSPECIFIED"),), True, False),
        ((formatted("IPV4"),), False, False),
        ((formatted("IPV6"),), False, False),
        ((behaving(field_behavior_pb2.OPTIONAL),), True, False),
        ((behaving(field_behavior_pb2.INPUT_ONLY),), True, False),
        ((behaving(field_behavior_pb2.IMMUTABLE),), True, False),
        ((behaving(field_behavior_pb2.REQUIRED), formatted("UUID4")), False, False),
        ((behaving(field_behavior_pb2.OUTPUT_ONLY),), False, False),
        ((behaving(field_behavior_pb2.IDENTIFIER),), False, False),
        ((referring,), False, False),
        ((in_choice,), False, False),
        ((typed(FieldDescriptorProto.TYPE_BYTES),), False, False),
        (
            (typed(FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.LABEL_REPEATED),),
            False,
            False,
        ),
        ((renamed("idempotency_token"), formatted("UUID4")), False, False),
        ((renamed("requestId"), formatted("UUID4")), False, False),
    ],
)
def test_only_an_optional_request_id_that_can_hold_a_uuid_identifies_a_call(
    changes: tuple[Change, ...], *, is_key: bool, is_unique: bool
) -> None:
    """Only with the format UUID4 does the backend declare that it recognizes repeats."""
    key = optional_request_id(message_class(*changes).DESCRIPTOR)
    assert (key is not None) == is_key
    assert (key is not None and is_declared_unique(key)) == is_unique


def test_a_uuid4_in_a_nested_message_does_not_identify_a_call() -> None:
    """AIP-4235 names only fields of the request itself."""
    strange = Strange()
    inner = strange.message("Inner", "request_id").field[0]
    inner.options.Extensions[field_info_pb2.field_info].format = field_info_pb2.FieldInfo.UUID4
    outer = strange.message("Outer", "request_id").field[0]
    outer.type, outer.type_name = FieldDescriptorProto.TYPE_MESSAGE, ".strange.Inner"
    assert optional_request_id(strange.pool().FindMessageTypeByName("strange.Outer")) is None


def test_an_empty_text_is_a_value_only_if_the_field_tracks_its_presence() -> None:
    """AIP-4235 says so. A caller can thereby keep the gateway from filling the field in."""
    plain, optional = message_class(), message_class(tracked)
    key = optional.DESCRIPTOR.fields_by_name["request_id"]
    assert value_of(plain(request_id=""), plain.DESCRIPTOR.fields_by_name["request_id"]) is None
    assert value_of(optional(), key) is None
    assert value_of(optional(request_id=""), key) == ""
    assert value_of(optional(request_id="r"), key) == "r"


def test_a_request_whose_newer_descriptors_lack_the_field_gets_no_value() -> None:
    """A backend may have removed the field, or changed its type, since the gateway listed it."""
    key = message_class().DESCRIPTOR.fields_by_name["request_id"]
    assert value_of(message_class(renamed("other"))(), key) == ""
    assert value_of(message_class(typed(FieldDescriptorProto.TYPE_BYTES))(), key) == ""
    tracking = message_class(tracked).DESCRIPTOR.fields_by_name["request_id"]
    assert value_of(message_class()(request_id=""), tracking) == ""

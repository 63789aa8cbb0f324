"""Requests of any type that are the same in every run, with values of every kind."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from lro_gateway.descriptors.field_behavior import is_needed
from lro_gateway.descriptors.message_types import class_of, is_map
from lro_gateway.descriptors.well_known import WRAPPERS

_DEPTH: Final = 3
_FIELDS_OF_NESTED: Final = 4
"""How many fields of a message inside another message are filled, so that a request stays small."""

_F = FieldDescriptor
_TEXTS: Final = (
    "plain",
    "two words",
    'ü 日本 "\\/',
    "a=b&c#d?e%2Ff+g",
    " line\nend ",
    "-1",
    "null",
)
_SEGMENTS: Final = ("a", "b-1", "(default)", "ü", "x:y", "100%", "two words", "a.b_c~d", "42")
_INTEGERS: Final = {
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64), (-(2**63), 2**63 - 1)),
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32), (-(2**31), 2**31 - 1)),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), (1, 2**64 - 1)),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), (1, 2**32 - 1)),
}
_VALUES: Final = {
    _F.TYPE_BOOL: (True,),
    _F.TYPE_DOUBLE: (0.1, -1e300, 5e-324, float("inf"), 3.0),
    _F.TYPE_FLOAT: (0.5, -3.4e38, float("-inf"), 7.0),
    _F.TYPE_BYTES: (b"\x00\xff\xfe", b"text", b"~" * 5),
}
_STRUCTS: Final = frozenset(
    f"google.protobuf.{name}" for name in ("Struct", "Value", "ListValue", "Any")
)
_JSON: Final = {"text": "ü", "number": -0.5, "list": [True, None, {"nested": ""}], "": {}}


class Filling:
    """Fills the fields of requests; `key` decides every value.

    A field that `in_query` sends must have a form in a query. Maps, lists of messages and messages
    without a value have none.
    """

    def __init__(self, key: str) -> None:
        self._random = Random(key)  # noqa: S311 - the values are no secrets

    def path_value(self, pattern: str) -> str:
        """Return a value of a path variable with this pattern, such as `projects/*`."""
        choose = self._random.choice
        segments = pattern.replace("**", choose(("*", "*/*"))).split("/")
        return "/".join(choose(_SEGMENTS) if each == "*" else each for each in segments)

    def fill(self, message: Any, *, in_query: bool = False, depth: int = _DEPTH) -> None:
        """Set the fields of a message, and one field of each oneof."""
        descriptor = message.DESCRIPTOR
        chosen = {each.name: self._random.choice(each.fields).name for each in descriptor.oneofs}
        fields = [
            each
            for each in descriptor.fields
            if each.containing_oneof is None or chosen[each.containing_oneof.name] == each.name
        ]
        if depth < _DEPTH:
            chosen_fields = self._random.sample(fields, min(len(fields), _FIELDS_OF_NESTED))
            fields = [each for each in fields if each in chosen_fields or is_needed(each)]
        for field in fields:
            self.fill_field(message, field, in_query=in_query, depth=depth)

    def fill_field(
        self, message: Any, field: FieldDescriptor, *, in_query: bool = False, depth: int = _DEPTH
    ) -> None:
        """Set one field of a message, unless it has no form, or is too deep and not required."""
        inner = field.message_type
        if inner is not None and in_query and not _fits_query(field, inner):
            return
        if inner is not None and depth <= 0 and not is_needed(field):
            return
        if inner is not None and is_map(field):
            self._fill_map(getattr(message, field.name), inner, depth)
        elif field.is_repeated:
            target = getattr(message, field.name)
            for _ in range(self._random.randint(1, 2)):
                if inner is None:
                    target.append(self._scalar(field))
                else:
                    self._fill_message(target.add(), in_query=in_query, depth=depth - 1)
        elif inner is None:
            setattr(message, field.name, self._scalar(field))
        else:
            filled = class_of(inner)()
            self._fill_message(filled, in_query=in_query, depth=depth - 1)
            if filled.ByteSize() or not in_query:
                getattr(message, field.name).CopyFrom(filled)
                getattr(message, field.name).SetInParent()

    def _fill_map(self, target: Any, entry: Descriptor, depth: int) -> None:
        key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
        for _ in range(2):
            if value.message_type is None:
                target[self._scalar(key)] = self._scalar(value)
            else:
                self._fill_message(target[self._scalar(key)], in_query=False, depth=depth - 1)

    def _fill_message(self, message: Any, *, in_query: bool, depth: int) -> None:
        random = self._random
        match message.DESCRIPTOR.full_name:
            case "google.protobuf.Any":
                message.type_url = "type.googleapis.com/google.protobuf.Duration"
                message.value = b"\x08\x07"
            case "google.protobuf.Timestamp":
                message.seconds = random.randint(-62135596800, 253402300799)
                message.nanos = random.choice((0, 1, 999_999_999))
            case "google.protobuf.Duration":
                message.seconds = random.randint(1, 315_576_000_000 - 1)
                message.nanos = random.choice((0, 1, 500_000_000))
            case "google.protobuf.FieldMask":
                message.paths.extend(random.sample(("name", "display_name", "spec.max_size"), 2))
            case "google.protobuf.Struct":
                message.update(_JSON)
            case "google.protobuf.Value":
                holder = random.choice(tuple(_JSON.items()))
                message.struct_value.update(dict([holder]))
            case "google.protobuf.ListValue":
                message.extend(_JSON["list"])
            case name if name in WRAPPERS:
                message.value = self._scalar(message.DESCRIPTOR.fields_by_name["value"])
            case _:
                self.fill(message, in_query=in_query, depth=depth)

    def _scalar(self, field: FieldDescriptor) -> Any:
        random = self._random
        if field.enum_type is not None:
            return self._number(field.enum_type)
        if (bounds := _INTEGERS.get(field.type)) is not None:
            return random.choice((*bounds, 1, random.randint(*bounds)))
        return random.choice(_VALUES.get(field.type, _TEXTS))

    def _number(self, enum: EnumDescriptor) -> int:
        numbers = [value.number for value in enum.values if value.number]
        return self._random.choice(numbers or [0])


def _fits_query(field: FieldDescriptor, message: Descriptor) -> bool:
    """Return whether a query has a form for a field of this message type."""
    return not field.is_repeated and message.full_name not in _STRUCTS

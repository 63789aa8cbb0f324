"""Dotted field paths such as `book.author.name`, and ProtoJSON values made from parameter texts.

According to http.proto, a parameter can set a scalar or a repeated scalar. It can also set a field
inside a message, if that message is not repeated. As in grpc-gateway, a parameter can also set a
message whose JSON is one scalar, such as a Timestamp.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.message_types import class_of
from lro_gateway.errors import JSON, invalid_argument, quote

MAX_DEPTH: Final = 32
"""The largest number of field names in a path."""

_INTEGER: Final = re.compile(r"-?[0-9]{1,20}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?")
_NOT_A_NUMBER: Final = frozenset({"NaN", "Infinity", "-Infinity"})
_SNAKE: Final = re.compile(r"(?<=[A-Za-z0-9])_([a-z])")
_BOOLEANS: Final = {"true": True, "false": False, "1": True, "0": False}

_INTEGERS: Final = frozenset(
    {
        *(FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64),
        *(FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64),
    }
)
_FLOATS: Final = frozenset({FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT})
_EXPECTED: Final[Mapping[int, str]] = {
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_INT32: "an integer of 32 bits",
    FieldDescriptor.CPPTYPE_INT64: "an integer of 64 bits",
    FieldDescriptor.CPPTYPE_UINT32: "an unsigned integer of 32 bits",
    FieldDescriptor.CPPTYPE_UINT64: "an unsigned integer of 64 bits",
}
_EXPECTED_MESSAGES: Final[Mapping[str, str]] = {
    well_known.DURATION: 'a duration such as "30s"',
    well_known.TIMESTAMP: 'a time such as "2026-01-02T03:04:05Z"',
    well_known.FIELD_MASK: 'a field mask such as "displayName,labels"',
}

FieldPath = tuple[FieldDescriptor, ...]
"""The fields that a dotted path names, in its order. The path leads to the last of them."""


class FieldPathError(Exception):
    """A path leads to no field, or to a field that a parameter cannot set."""

    def __init__(self, problem: str, reason: str = "INVALID_FIELD") -> None:
        super().__init__(problem)
        self.reason = reason


def field_path(message: Descriptor, text: str) -> FieldPath:
    """Return the fields on a dotted path. Each name may be in snake_case or camelCase.

    Raises `FieldPathError` if a name is unknown, or if the field before it has no inner fields.
    """
    names = text.split(".", MAX_DEPTH)
    if len(names) > MAX_DEPTH:
        raise FieldPathError(f"leads through more than {MAX_DEPTH} fields")
    if message.full_name in well_known.OPAQUE:
        raise FieldPathError(f"the JSON of a {message.full_name} has no fields")
    path: list[FieldDescriptor] = []
    inside: Descriptor | None = message
    for name in names:
        if inside is None:
            last = ".".join(field.name for field in path)
            raise FieldPathError(f"{last} is no message whose fields can be given one by one")
        found = _field(inside, name)
        if found is None:
            problem = f"there is no field {quote(name)} in {inside.full_name}"
            raise FieldPathError(problem, "UNKNOWN_FIELD")
        path.append(found)
        inside = None if found.is_repeated else found.message_type
        if inside is not None and inside.full_name in well_known.OPAQUE:
            inside = None
    return tuple(path)


def _field(message: Descriptor, name: str) -> FieldDescriptor | None:
    found: FieldDescriptor | None = message.fields_by_name.get(name)
    if found is not None:
        return found
    return next((each for each in message.fields if each.json_name == name), None)


def parameter_field(message: Descriptor, text: str) -> FieldPath:
    """Return the path of a field that one parameter can set.

    Raises `FieldPathError` if there is no such field, or if one parameter cannot set it.
    """
    path = field_path(message, text)
    kind = path[-1].message_type
    if kind is None:
        return path
    if kind.GetOptions().map_entry:
        raise FieldPathError("a map can only be given in a body")
    if path[-1].is_repeated:
        raise FieldPathError("repeated messages can only be given in a body")
    if kind.full_name in well_known.OPAQUE and kind.full_name not in well_known.SCALAR:
        raise FieldPathError(f"a {kind.full_name} can only be given in a body")
    if kind.full_name not in well_known.SCALAR:
        example = next((f"{path[-1].json_name}.{each.json_name}" for each in kind.fields), "")
        one_by_one = f"; give its fields one by one, such as {example}" if example else ""
        raise FieldPathError(f"a {kind.full_name} is needed, not a scalar{one_by_one}")
    return path


def json_value(field: FieldDescriptor, text: str, name: str) -> Any:
    """Convert a parameter's text to a ProtoJSON value of a field.

    If the field is repeated, the text is one item of the list, and so is the value.

    Fails with INVALID_ARGUMENT, which names the parameter, if the text has the wrong form.
    """
    kind = field.message_type
    scalar = field
    if kind is not None and kind.full_name in well_known.WRAPPERS:
        scalar = kind.fields_by_name["value"]
    value: Any = text
    if kind is not None and kind.full_name == well_known.FIELD_MASK:
        # ProtoJSON takes field masks in camelCase only, but people also write snake_case.
        value = _SNAKE.sub(lambda letter: letter[1].upper(), text)
    elif scalar.type == FieldDescriptor.TYPE_BOOL:
        value = _BOOLEANS.get(text.lower(), text)
    elif scalar.type == FieldDescriptor.TYPE_ENUM and _INTEGER.fullmatch(text):
        value = int(text)
    if not _is_number_where_needed(scalar, text) or not _parses(field, value):
        raise invalid_argument(name, f"{_expected(scalar)} is needed, not {quote(text, 40)}")
    return value


def _holder(field: FieldDescriptor) -> Message:
    """Return an empty message of the type that declares a field."""
    return class_of(cast("Descriptor", field.containing_type))()


def _is_number_where_needed(field: FieldDescriptor, text: str) -> bool:
    """Return False if the field needs a number and the text is not one.

    The check uses patterns, because Python also accepts numbers such as `1_0`.
    """
    if field.cpp_type in _INTEGERS:
        return _INTEGER.fullmatch(text) is not None
    if field.cpp_type in _FLOATS:
        if _NUMBER.fullmatch(text):
            # A number too large for a double would silently become infinity.
            return math.isfinite(float(text))
        return text in _NOT_A_NUMBER
    return True


def _parses(field: FieldDescriptor, value: Any) -> bool:
    """Return whether json_format accepts a value for a field, or for an item of a list field."""
    holder = _holder(field)
    try:
        json_format.ParseDict({field.json_name: [value] if field.is_repeated else value}, holder)
    except (json_format.ParseError, ValueError, TypeError, AttributeError):
        # ParseDict raises any of these exceptions if the text of a well-known type is wrong.
        return False
    return True


def _expected(field: FieldDescriptor) -> str:
    if field.enum_type is not None:
        names = [value.name for value in field.enum_type.values]
        more = ", ..." if len(names) > 10 else ""
        return f"one of {', '.join(names[:10])}{more}"
    if field.message_type is not None:
        return _EXPECTED_MESSAGES[field.message_type.full_name]
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "base64"
    return _EXPECTED.get(field.cpp_type, "UTF-8 text")


def default_json(field: FieldDescriptor) -> Any:
    """Return the JSON value of a field that is missing in ProtoJSON, such as 0 or [].

    The value is None for an `optional` scalar, and for a well-known type with a JSON form of its
    own. For any other message it is `{}`.
    """
    kind = field.message_type
    if kind is not None and not field.is_repeated:
        return None if kind.full_name in well_known.OPAQUE else {}
    holder = _holder(field)
    printed = json_format.MessageToDict(holder, always_print_fields_with_no_presence=True)
    return printed.get(field.json_name)


def put(fields: JSON, path: FieldPath, value: Any, name: str) -> None:
    """Set the value of a field in ProtoJSON.

    Inner objects are copied, because they may be shared with the caller.
    Fails with INVALID_ARGUMENT, which names the parameter, if an inner value is not an object.
    """
    for each in path[:-1]:
        key = each.name if each.name in fields else each.json_name
        inner = fields.get(key)
        if inner is not None and not isinstance(inner, dict):
            raise invalid_argument(name, f"{each.json_name} in the body is not an object")
        copy = dict(inner or {})
        fields[key] = copy
        fields = copy
    fields.pop(path[-1].name, None)
    fields[path[-1].json_name] = value

"""Dotted field paths such as `book.author.name`, and ProtoJSON values made from parameter texts.

According to http.proto, a parameter can set a scalar or a repeated scalar. It can also set a field
inside a message, if that message is not repeated. As in grpc-gateway, a parameter can also set a
message whose JSON is one scalar, such as a Timestamp.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.choices import no_such_field
from lro_gateway.descriptors.field_names import fields_by_key
from lro_gateway.descriptors.message_types import class_of
from lro_gateway.descriptors.scalars import scalar, shown
from lro_gateway.descriptors.well_known_values import expected_value, set_scalar
from lro_gateway.errors import JSON, invalid_argument, quote

MAX_DEPTH: Final = 32
"""The largest number of field names in a path."""

BOOLEANS: Final = {"true": True, "false": False, "1": True, "0": False}
"""The texts of a parameter that stand for a boolean, in lower case."""

_DIGITS: Final = re.compile(r"-?[0-9]+")

FieldPath = tuple[FieldDescriptor, ...]
"""The fields that a dotted path names, in its order. The path leads to the last of them."""


class FieldPathError(Exception):
    """A path leads to no field, or to a field that a parameter cannot set."""

    def __init__(self, problem: str, reason: str = "INVALID_FIELD") -> None:
        super().__init__(problem)
        self.reason = reason


class UnknownFieldError(FieldPathError):
    """A path has a name that no field has."""

    def __init__(self, name: str, message: Descriptor, *, is_inner: bool) -> None:
        super().__init__(f"there is no field {quote(name)} in {message.full_name}", "UNKNOWN_FIELD")
        self._name, self._message, self._is_inner = name, message, is_inner

    def problem(self, also: Sequence[str]) -> str:
        """Return the problem for a caller, with the fields that exist, and with further names."""
        names = [each.json_name for each in self._message.fields]
        if self._is_inner:
            return no_such_field(names, self._name, self._message.full_name)
        return no_such_field([*names, *also], self._name)


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
    while names:
        if inside is None:
            last = ".".join(field.name for field in path)
            raise FieldPathError(f"{last} is no message whose fields can be given one by one")
        fields = fields_by_key(inside)
        name = names.pop(0)
        found = fields.get(name)
        if found is None and (rest := fields.get(".".join([name, *names]))) is not None:
            # The JSON name of this field has dots.
            found = rest
            names.clear()
        if found is None:
            raise UnknownFieldError(name, inside, is_inner=bool(path))
        path.append(found)
        inside = None if found.is_repeated else found.message_type
        if inside is not None and inside.full_name in well_known.OPAQUE:
            inside = None
    return tuple(path)


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
    single = field
    if kind is not None and kind.full_name in well_known.WRAPPERS:
        single = kind.fields_by_name["value"]
    value: Any = text
    if single.type == FieldDescriptor.TYPE_BOOL:
        value = BOOLEANS.get(text.lower(), text)
    elif single.enum_type is not None and _DIGITS.fullmatch(text):
        value = int(text[:20])
    try:
        if kind is None:
            scalar(field, value)
        else:
            set_scalar(class_of(kind)(), value)
    except ValueError:
        problem = f"{expected_value(field, value)} is needed, not {quote(text, 40)}"
        raise invalid_argument(name, problem) from None
    return value


def _holder(field: FieldDescriptor) -> Message:
    """Return an empty message of the type that declares a field."""
    return class_of(cast("Descriptor", field.containing_type))()


def default_json(field: FieldDescriptor, *, enum_numbers: bool = False) -> Any:
    """Return the JSON value of a field that is missing in ProtoJSON, such as 0 or [].

    The value is None for an `optional` scalar, and for a well-known type with a JSON form of its
    own. For any other message it is `{}`.
    """
    kind = field.message_type
    if kind is not None and not field.is_repeated:
        return None if kind.full_name in well_known.OPAQUE else {}
    holder = _holder(field)
    printed = json_format.MessageToDict(
        holder,
        always_print_fields_with_no_presence=True,
        use_integers_for_enums=enum_numbers,
    )
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
            raise invalid_argument(
                name, f"{each.json_name} in the body is not an object, but {shown(inner)}"
            )
        copy = dict(inner or {})
        fields[key] = copy
        fields = copy
    fields.pop(path[-1].name, None)
    fields[path[-1].json_name] = value

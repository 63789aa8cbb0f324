"""The arguments of a call as a condition sees them: the request's JSON, with numbers as numbers."""

from __future__ import annotations

import base64
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.elements import size_of
from lro_gateway.descriptors.message_types import descriptor_of, is_map
from lro_gateway.descriptors.printing import JsonOptions, to_json
from lro_gateway.descriptors.type_set import TypeSet

MAX_BYTES: Final = 256 * 1024
"""The size of the largest request that a condition can see, in bytes of its wire format."""
MAX_DEPTH: Final = 100
"""The number of levels that a condition can see. The library fails at many thousand levels."""
_FLOATS: Final = JsonOptions(keeps_floats=True)
"""A condition may compute with a number, and CEL adds no integer to a double."""


class TooLargeError(Exception):
    """A request is too large for a condition."""


def arguments_of(request: Message, types: TypeSet) -> dict[str, Any]:
    """Return a request as a map with the JSON names of its fields.

    It has ProtoJSON's forms, with three exceptions. 64-bit integers are numbers. Doubles and floats
    are always Python floats. A field that is not set has its default, unless its presence can be
    told (proto3 `optional`, messages, oneofs).

    Raises `TooLargeError` for a request that is larger than the limits.
    """
    if size_of(request) > MAX_BYTES:
        raise TooLargeError(f"the request has more than {MAX_BYTES} bytes")
    found = _message(request, types, 0)
    return found if isinstance(found, dict) else {"value": found}


def _message(message: Message, types: TypeSet, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise TooLargeError(f"the request has more than {MAX_DEPTH} levels")
    descriptor = descriptor_of(message)
    if descriptor.full_name in well_known.WRAPPERS:
        field = descriptor.fields_by_name["value"]
        return _scalar(field, message.value)  # type: ignore[attr-defined]  # it is a wrapper
    if descriptor.full_name in well_known.OPAQUE:
        try:
            return to_json(message, types, _FLOATS)
        except (ValueError, json_format.Error):
            # A Timestamp that is out of range has no JSON form.
            return None
    found: dict[str, Any] = {
        field.json_name: {}
        if is_map(field)
        else []
        if field.is_repeated
        else _scalar(field, field.default_value)
        for field in descriptor.fields
        if not field.has_presence
    }
    for field, value in message.ListFields():
        key = f"[{field.full_name}]" if field.is_extension else field.json_name
        found[key] = _value(field, value, types, depth)
    return found


def _value(field: FieldDescriptor, value: Any, types: TypeSet, depth: int) -> Any:
    if field.message_type is not None and is_map(field):
        of_value = field.message_type.fields_by_name["value"]
        return {_key(key): _single(of_value, value[key], types, depth + 1) for key in value}
    if field.is_repeated:
        return [_single(field, each, types, depth + 1) for each in value]
    return _single(field, value, types, depth)


def _single(field: FieldDescriptor, value: Any, types: TypeSet, depth: int) -> Any:
    if field.message_type is not None:
        return _message(value, types, depth + 1)
    return _scalar(field, value)


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return named.name if named is not None else value
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _key(key: Any) -> str:
    """Return the key of a map as JSON has it."""
    return str(key).lower() if isinstance(key, bool) else str(key)

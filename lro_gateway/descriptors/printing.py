"""Printing messages as ProtoJSON.

google.protobuf.json_format prints everything except Anys and FieldMasks. This module prints these,
because json_format fails for a whole message if it cannot read one Any in the message, or if a path
of a FieldMask has no form in camelCase. A whole number in a float or a double is printed as `2020`,
as Google's servers do, where json_format prints `2020.0`. If an Any is not readable, this module
prints it in the lossless form

    {"@type": "<type URL>", "@value": "<base64>", "@error": "<why>"}

The lossless form keeps all bytes, and `parsing` accepts it. If an Any is readable except for
extensions that are not known, this module prints both the fields and the bytes.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import any_pb2, json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.anys import (
    MAX_DEPTH,
    SHADOWED,
    TOO_DEEP,
    UndecodableError,
    check_text,
    left_out,
    unpack_or_raise,
)
from lro_gateway.descriptors.elements import Budget, size_of
from lro_gateway.descriptors.field_masks import mask_text
from lro_gateway.descriptors.message_types import descriptor_of, is_map, value_type
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.errors import JSON

_OWN_KEYS: Final = frozenset({"@type", "@value"})
"""Keys in the JSON of an Any. No field of the message inside may have the same JSON name."""
_EXACT: Final = 2**53
"""Up to this number a double holds each integer."""


@dataclass(frozen=True, slots=True)
class JsonOptions:
    """Options of printing.

    If `enum_numbers` is set, enum values are printed as numbers. The REST parameter
    `$alt=json;enum-encoding=int` sets it. If `keeps_floats` is set, a whole number in a float or a
    double is a Python float, and not an int.
    """

    enum_numbers: bool = False
    keeps_floats: bool = False


DEFAULT_OPTIONS: Final = JsonOptions()


def to_json(
    message: Message,
    types: TypeSet,
    options: JsonOptions = DEFAULT_OPTIONS,
    budget: Budget | None = None,
) -> Any:
    """Return a message as ProtoJSON. An Any that is not readable takes the lossless form.

    The elements of the messages in Anys are taken off the budget. Raises `ValueError` or
    `json_format.Error` if a value outside Anys has no JSON form, such as a Timestamp that is out of
    range.
    """
    if field_name := types.traits(descriptor_of(message)).shadowing_field:
        raise UndecodableError(SHADOWED.format(field_name))
    check_text(message, types)
    budget = budget or types.capacity.budget(size_of(message))
    return _Printer(types, options, budget).message(message, 0)


def any_to_json(
    any_message: any_pb2.Any,
    types: TypeSet,
    options: JsonOptions = DEFAULT_OPTIONS,
    budget: Budget | None = None,
) -> JSON:
    """Return an Any as ProtoJSON, or in the lossless form if it is not readable. Never raises.

    An Any is also not readable if the budget has too few elements left for it.
    """
    budget = budget or types.capacity.budget(len(any_message.value))
    return _Printer(types, options, budget).any(any_message, 0)


@dataclass(frozen=True, slots=True)
class _Printer:
    types: TypeSet
    options: JsonOptions
    budget: Budget | None

    def message(self, message: Message, depth: int) -> Any:
        """Print one message that is `depth` levels deep in the JSON."""
        descriptor = descriptor_of(message)
        if descriptor.full_name == well_known.ANY:
            return self.any(message, depth)  # type: ignore[arg-type]  # it is an Any
        if descriptor.full_name == well_known.FIELD_MASK:
            return mask_text(message.paths)  # type: ignore[attr-defined]  # it is a FieldMask
        traits = self.types.traits(descriptor)
        if not (traits.reaches_any or traits.reaches_mask):
            return self._leaf(message, depth)
        if depth > MAX_DEPTH:
            raise UndecodableError(TOO_DEEP)
        split = [(f, v) for f, v in message.ListFields() if self._prints(f)]
        if not split:
            return self._leaf(message, depth)
        rest = type(message)()
        rest.CopyFrom(message)
        for field, _ in split:
            if field.is_extension:
                rest.ClearExtension(field)  # type: ignore[arg-type]  # the stub wants its wrapper
            else:
                rest.ClearField(field.name)
        printed = self._leaf(rest, depth)
        for field, value in split:
            printed[_json_name(field)] = self._field(field, value, depth + 1)
        return printed

    def _prints(self, field: FieldDescriptor) -> bool:
        """Return whether this module prints a field, because json_format might fail for it."""
        if (inner := value_type(field)) is None:
            return False
        traits = self.types.traits(inner)
        return traits.reaches_any or traits.reaches_mask

    def _field(self, field: FieldDescriptor, value: Any, depth: int) -> Any:
        if is_map(field):
            return {_json_key(key): self.message(value[key], depth + 1) for key in value}
        if field.is_repeated:
            return [self.message(item, depth + 1) for item in value]
        return self.message(value, depth)

    def _leaf(self, message: Message, depth: int) -> Any:
        """Print a message that contains no Anys and no FieldMasks, with json_format."""
        printed = json_format.MessageToDict(
            message, use_integers_for_enums=self.options.enum_numbers
        )
        traits = self.types.traits(descriptor_of(message))
        if traits.nests_deep and _depth(printed) > MAX_DEPTH - depth:
            raise UndecodableError(TOO_DEEP)
        if traits.reaches_floats and not self.options.keeps_floats:
            return _with_integers(printed)
        return printed

    def any(self, any_message: any_pb2.Any, depth: int) -> JSON:
        """Print an Any, in the lossless form if it is not readable."""
        if not any_message.type_url and not any_message.value:
            return {}
        try:
            return self._readable_any(any_message, depth)
        except UndecodableError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - no payload of a backend may fail the call
            problem = f"the payload has no JSON form: {error}"
        return {
            "@type": any_message.type_url,
            "@value": base64.b64encode(any_message.value).decode(),
            "@error": problem,
        }

    def _readable_any(self, any_message: any_pb2.Any, depth: int) -> JSON:
        if depth > MAX_DEPTH:
            raise UndecodableError(TOO_DEEP)
        payload = unpack_or_raise(any_message, self.types, self.budget)
        url = any_message.type_url
        if descriptor_of(payload).full_name in well_known.OPAQUE:
            return {"@type": url, "value": self.message(payload, depth + 1)}
        printed: JSON = self.message(payload, depth)
        if clashing := _OWN_KEYS & printed.keys():
            raise UndecodableError(f"its field {min(clashing)} would be read as a key of the Any")
        if unknown := dict.fromkeys(left_out(payload, self.types)):
            # The bytes hold the extensions, and `parsing` reads the bytes and not the fields.
            problems = "; ".join(self.types.why_missing(each) for each in unknown)
            printed["@value"] = base64.b64encode(any_message.value).decode()
            printed["@error"] = f"some data is only in @value: {problems}"
        return {"@type": url, **printed}


def _json_name(field: FieldDescriptor) -> str:
    return f"[{field.full_name}]" if field.is_extension else field.json_name


def _json_key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _depth(value: Any) -> int:
    """Return how many levels deep a JSON value nests, for example 2 for `{"a": []}`."""
    deepest, pending = 0, [(value, 1)]
    while pending:
        current, depth = pending.pop()
        children = current.values() if isinstance(current, dict) else current
        if isinstance(current, dict | list):
            deepest = max(deepest, depth)
            pending.extend((child, depth + 1) for child in children)
    return deepest


def _with_integers(value: Any) -> Any:
    """Return a JSON value whose whole numbers are integers; its objects and lists are changed."""
    if isinstance(value, dict):
        for key, each in value.items():
            value[key] = _with_integers(each)
    elif isinstance(value, list):
        value[:] = [_with_integers(each) for each in value]
    elif isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        # An integer has no negative zero.
        return int(value) if value or math.copysign(1, value) > 0 else value
    return value

"""Parsing ProtoJSON into messages.

An Any may be in the form that ProtoJSON defines, or in the lossless form of `printing`.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.anys import MAX_DEPTH, SHADOWED, TOO_DEEP, may_hold_any
from lro_gateway.descriptors.message_types import class_of, descriptor_of, is_map, type_name
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.errors import JSON, StatusError, invalid_argument, quote

_MAX_READ_DEPTH: Final = MAX_DEPTH + 2
"""The maximum number of nesting levels in JSON that is parsed.

An Any that `printing` wrote in the lossless form, because `MAX_DEPTH` was reached, may be in a list
or a map. Its JSON therefore nests up to two levels deeper than `MAX_DEPTH`.
"""

# ParseDict raises any of these exceptions if the form of a well-known type is wrong. It raises
# SystemError for a key with a lone surrogate, and OverflowError for an integer that is too large
# for a double.
_PARSE_ERRORS: Final = (
    *(json_format.ParseError, ValueError, TypeError),
    *(AttributeError, SystemError, OverflowError),
)


class UnknownTypesError(StatusError):
    """The JSON is correct except for Anys of unknown types. `names` are the names of the types."""

    def __init__(self, first: StatusError, names: frozenset[str]) -> None:
        super().__init__(first.status)
        self.names = names


def parse(value: Any, message: Message, types: TypeSet) -> None:
    """Parse ProtoJSON into an empty message. Anys may be in the lossless form.

    Fails with INVALID_ARGUMENT, which names the field, if the JSON is wrong. The error is an
    `UnknownTypesError` if the JSON is correct except for Anys of unknown types.
    """
    if field_name := types.traits(descriptor_of(message)).shadowing_field:
        raise _invalid("", f"{descriptor_of(message).full_name}: {SHADOWED.format(field_name)}")
    parser = _Parser(types)
    parser.message(value, message, "", 0)
    if unknown := parser.unknown:
        raise UnknownTypesError(next(iter(unknown.values())), frozenset(unknown))


@dataclass(frozen=True, slots=True)
class _Parser:
    types: TypeSet
    unknown: dict[str, StatusError] = field(default_factory=dict)
    """The error for each unknown type, by the full name of the type."""

    def message(self, value: Any, message: Message, path: str, depth: int) -> None:
        """Parse JSON into one message.

        `path` is the field path of the message, and `depth` is how many levels deep it is.
        """
        descriptor = descriptor_of(message)
        if depth > _MAX_READ_DEPTH:
            raise _invalid(path, TOO_DEEP)
        if descriptor.full_name == well_known.ANY:
            self._any(value, message, path, depth)
            return
        if not isinstance(value, dict) or not self.types.traits(descriptor).reaches_any:
            _parse_leaf(value, message, path)
            return
        split = {
            key: field
            for key in value
            if (field := _field_of(descriptor, key)) and may_hold_any(field, self.types)
        }
        _parse_leaf({k: v for k, v in value.items() if k not in split}, message, path)
        set_by: dict[str, str] = {}
        for key, field in split.items():
            if (other := set_by.setdefault(field.full_name, key)) != key:
                raise _invalid(_join(path, key), f"is given twice, also as {other}")
            self._field(field, value[key], message, _join(path, key), depth + 1)

    def _field(
        self, field: FieldDescriptor, value: Any, message: Message, path: str, depth: int
    ) -> None:
        if value is None:
            return
        if field.containing_oneof is not None:
            other = message.WhichOneof(field.containing_oneof.name)
            if other is not None:
                raise _invalid(path, f"cannot be given together with {other}, its alternative")
        target = _slot(message, field)
        if is_map(field):
            self._map(field, value, message, path, depth)
        elif not field.is_repeated:
            target.SetInParent()
            self.message(value, target, path, depth)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self.message(item, target.add(), f"{path}[{index}]", depth + 1)
        else:
            raise _invalid(path, "a list is needed")

    def _map(
        self, field: FieldDescriptor, value: Any, message: Message, path: str, depth: int
    ) -> None:
        if not isinstance(value, dict):
            raise _invalid(path, "an object is needed")
        target = getattr(message, field.name)
        for key, item in value.items():
            # json_format parses only the key here, because the value may hold Anys.
            holder = type(message)()
            try:
                json_format.ParseDict({field.json_name: {key: {}}}, holder)
            except _PARSE_ERRORS as error:
                raise _invalid(_join(path, key), "is not a valid key of this map") from error
            (parsed_key,) = getattr(holder, field.name)
            self.message(item, target[parsed_key], _join(path, key), depth + 1)

    def _any(self, value: Any, message: Message, path: str, depth: int) -> None:
        if not isinstance(value, dict):
            raise _invalid(path, "an object with @type is needed")
        if not value:
            return
        url = value.get("@type")
        if not isinstance(url, str):
            raise _invalid(path, "@type is missing")
        if any("\ud800" <= character <= "\udfff" for character in url):
            raise _invalid(path, "@type is not Unicode text")
        message.type_url = url  # type: ignore[attr-defined]  # it is an Any
        content = self._any_bytes(value, url, path, depth)
        message.value = content  # type: ignore[attr-defined]  # it is an Any

    def _any_bytes(self, value: JSON, url: str, path: str, depth: int) -> bytes:
        if "@value" in value:
            return _parse_base64(value["@value"], path)
        name = type_name(url)
        message_class = self.types.message_class(name)
        if message_class is None:
            problem = f"{quote(url)}: {self.types.why_missing(name)}"
            self.unknown.setdefault(name, invalid_argument(path, problem, "UNKNOWN_TYPE"))
            return b""
        payload = message_class()
        body = {key: item for key, item in value.items() if key != "@type"}
        if name in well_known.OPAQUE:
            if body.keys() - {"value"}:
                raise _invalid(path, f"a {name} in an Any takes no keys but @type and value")
            self.message(body.get("value"), payload, _join(path, "value"), depth + 1)
        elif name != well_known.EMPTY or body not in ({}, {"value": {}}):
            # For an Empty in an Any, Go writes "value": {} and Python writes no key. Accept both.
            self.message(body, payload, path, depth)
        # The backend checks required fields, so a missing one is not an error here.
        return payload.SerializePartialToString(deterministic=True)


def _field_of(descriptor: Descriptor, key: str) -> FieldDescriptor | None:
    """Return the field that a JSON key names, or None. A key `[full.name]` names an extension."""
    if key.startswith("[") and key.endswith("]"):
        try:
            return descriptor.file.pool.FindExtensionByName(key[1:-1])
        except (KeyError, TypeError):
            # The pool raises TypeError for a name with a lone surrogate.
            return None
    return next((each for each in descriptor.fields if key in {each.json_name, each.name}), None)


def _slot(message: Message, field: FieldDescriptor) -> Any:
    if field.is_extension:
        return message.Extensions[field]  # type: ignore[index]  # the stub wants its wrapper
    return getattr(message, field.name)


def _parse_base64(value: Any, path: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise _invalid(path, "@value is not base64") from error


def _parse_leaf(value: Any, message: Message, path: str) -> None:
    """Parse JSON that contains no Anys into a message, with json_format."""
    if not isinstance(value, dict) and descriptor_of(message).full_name not in well_known.OPAQUE:
        # This check is needed, because json_format accepts an empty list for an object.
        raise _invalid(path, "an object is needed")
    try:
        json_format.ParseDict(value, message, max_recursion_depth=MAX_DEPTH)
    except _PARSE_ERRORS as error:
        raise _invalid(_wrong_field(value, message, path), " ".join(str(error).split())) from error


def _wrong_field(value: Any, message: Message, path: str) -> str:
    """Return the path of the first field that does not parse.

    The result is `path` if every field parses when it is alone.
    """
    for key, item in value.items() if isinstance(value, dict) else ():
        try:
            json_format.ParseDict({key: item}, type(message)(), max_recursion_depth=MAX_DEPTH)
        except _PARSE_ERRORS:
            field = _field_of(descriptor_of(message), key)
            if field is None or field.message_type is None or field.is_repeated:
                return _join(path, key)
            inner = class_of(field.message_type)()
            return _wrong_field(item, inner, _join(path, key))
    return path


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _invalid(path: str, problem: str) -> StatusError:
    return invalid_argument(path, problem, "INVALID_JSON")

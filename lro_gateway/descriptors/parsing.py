"""Parsing ProtoJSON into messages.

An Any may be in the form that ProtoJSON defines, or in the lossless form of `printing`. A value of
the wrong kind is refused. json_format accepts some, for example `""` and `[]` as an empty message,
and the caller would then wipe a field by an update mask. So json_format parses only the values
whose JSON is free: a Struct, a ListValue or a Value.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor
from google.protobuf.message import Message

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.anys import MAX_DEPTH, SHADOWED, TOO_DEEP
from lro_gateway.descriptors.choices import choices, no_such_field
from lro_gateway.descriptors.field_names import property_key
from lro_gateway.descriptors.message_types import descriptor_of, is_map, type_name
from lro_gateway.descriptors.scalars import expected, is_unicode, map_key, scalar, shown
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.descriptors.well_known_values import expected_message, set_scalar
from lro_gateway.errors import JSON, StatusError, invalid_argument, quote

_MAX_READ_DEPTH: Final = MAX_DEPTH + 2
"""The maximum number of nesting levels in JSON that is parsed.

An Any that `printing` wrote in the lossless form, because `MAX_DEPTH` was reached, may be in a list
or a map. Its JSON therefore nests up to two levels deeper than `MAX_DEPTH`.
"""
_MAX_FREE_DEPTH: Final = MAX_DEPTH // 2 - 1
"""The maximum number of nesting levels in a Struct, a ListValue or a Value.

Each level is two or three messages on the wire, and servers accept 100 of them in each other.
"""
_LONGEST_KEY: Final = 120

# ParseDict raises SystemError for a key with a lone surrogate, and OverflowError for an integer
# that is too large for a double.
_PARSE_ERRORS: Final = (
    *(json_format.ParseError, ValueError, TypeError),
    *(AttributeError, SystemError, OverflowError),
)


class UnknownTypesError(StatusError):
    """The JSON is correct except for Anys of unknown types. `names` are the names of the types."""

    def __init__(self, first: StatusError, names: frozenset[str]) -> None:
        super().__init__(first.status)
        self.names = names


@dataclass(frozen=True, slots=True)
class Absent:
    """A field that is annotated REQUIRED, and that the JSON of a message lacks.

    `path` is the field path, and `depth` is 0 for a field of the parsed message itself.
    """

    path: str
    field: FieldDescriptor
    depth: int


def parse(
    value: Any, message: Message, types: TypeSet, path: str = "", also: Sequence[str] = ()
) -> list[Absent]:
    """Parse ProtoJSON into an empty message. Anys may be in the lossless form.

    Returns the REQUIRED fields that the JSON lacks, except those of messages in an Any. A field
    that several messages lack is returned once.

    `path` is the name that errors give the message, or empty if they name its fields alone.
    `also` are further names that an error lists beside those of the message's fields.

    Fails with INVALID_ARGUMENT, which names the field, if the JSON is wrong. The error is an
    `UnknownTypesError` if the JSON is correct except for Anys of unknown types.
    """
    _check_names(descriptor_of(message), types, path)
    parser = _Parser(types, also)
    parser.message(value, message, path, 0)
    if unknown := parser.unknown:
        raise UnknownTypesError(next(iter(unknown.values())), frozenset(unknown))
    return list(parser.absent.values())


@dataclass(frozen=True, slots=True)
class _Parser:
    types: TypeSet
    also: Sequence[str] = ()
    unknown: dict[str, StatusError] = field(default_factory=dict)
    """The error for each unknown type, by the full name of the type."""
    absent: dict[tuple[str, bool], Absent] = field(default_factory=dict)
    """The first place where each REQUIRED field is missing.

    The key is the full name of the field, and whether the parsed message itself lacks it.
    """

    def message(
        self,
        value: Any,
        message: Message,
        path: str,
        depth: int,
        beside: Descriptor | None = None,
    ) -> None:
        """Parse JSON into one message.

        `path` is the field path of the message, and `depth` is how many levels deep it is. `beside`
        is the type of the message that holds this one. A FieldMask may name fields of the other
        messages in it.
        """
        descriptor = descriptor_of(message)
        if depth > _MAX_READ_DEPTH:
            raise _invalid(path, TOO_DEEP)
        if descriptor.full_name in well_known.OPAQUE:
            self._opaque(value, message, path, depth, beside)
            return
        if not isinstance(value, dict):
            raise _wrong(path, "an object", value)
        fields = self.types.fields(descriptor)
        given: dict[int, str] = {}
        for key, item in value.items():
            inner = _join(path, key)
            field = fields.get(key) or _extension(descriptor, key)
            if field is None and descriptor.is_extendable and key[:1] + key[-1:] == "[]":
                problem = invalid_argument(
                    inner,
                    f"is not a known extension of {descriptor.full_name}",
                    "UNKNOWN_FIELD",
                )
                self.unknown.setdefault(key[1:-1], problem)
                continue
            if field is None:
                raise self._unknown_field(descriptor, key, path)
            if given.setdefault(field.number, key) != key:
                raise _invalid(inner, f"is given twice, also as {given[field.number]}")
            if item is not None or _takes_null(field):
                self._field(field, item, message, inner, depth + 1)
        present = {number for number, key in given.items() if value[key] is not None}
        self._note_absent(descriptor, present, path, depth)

    def _unknown_field(self, descriptor: Descriptor, key: str, path: str) -> StatusError:
        # A caller who is told of a field of the request itself knows the type of the request.
        names = [each.json_name for each in descriptor.fields]
        names, inside = (names, descriptor.full_name) if path else ([*names, *self.also], "")
        problem = no_such_field(names, key, inside)
        return invalid_argument(_join(path, key), problem, "UNKNOWN_FIELD")

    def _note_absent(
        self, descriptor: Descriptor, present: Collection[int], path: str, depth: int
    ) -> None:
        """Note the REQUIRED fields of a message whose numbers are not in `present`."""
        for each in self.types.needed(descriptor):
            if each.number not in present and not _takes_null(each):
                inner = _join(path, property_key(each) or each.json_name)
                key = (each.full_name, depth == 0)
                self.absent.setdefault(key, Absent(inner, each, depth))

    def _field(
        self, field: FieldDescriptor, value: Any, message: Message, path: str, depth: int
    ) -> None:
        if field.containing_oneof is not None:
            other = message.WhichOneof(field.containing_oneof.name)
            if other is not None:
                raise _invalid(path, _given_together(field.containing_oneof, other))
        kind = field.message_type
        if field.is_repeated:
            self._repeated(field, value, message, path, depth)
        elif kind is not None:
            inner = _slot(message, field)
            inner.SetInParent()
            self.message(value, inner, path, depth, field.containing_type)
        elif field.is_extension:
            message.Extensions[field] = _scalar(field, value, path)  # type: ignore[index]  # the stub wants its wrapper
        else:
            setattr(message, field.name, _scalar(field, value, path))

    def _repeated(
        self, field: FieldDescriptor, value: Any, message: Message, path: str, depth: int
    ) -> None:
        if is_map(field):
            self._map(field, value, message, path, depth)
            return
        if not isinstance(value, list):
            raise _wrong(path, "a list", value)
        target = _slot(message, field)
        for index, item in enumerate(value):
            inner = f"{path}[{index}]"
            if field.message_type is None:
                target.append(_scalar(field, item, inner))
            else:
                self.message(item, target.add(), inner, depth + 1, field.containing_type)

    def _map(
        self, field: FieldDescriptor, value: Any, message: Message, path: str, depth: int
    ) -> None:
        if not isinstance(value, dict):
            raise _wrong(path, "an object", value)
        entry = cast("Descriptor", field.message_type).fields_by_name
        target = getattr(message, field.name)
        for key, item in value.items():
            inner = _join(path, key)
            try:
                parsed_key = map_key(entry["key"], key)
            except ValueError:
                needed = expected(entry["key"], key)
                raise _invalid(inner, f"{needed} is needed as a key, not {shown(key)}") from None
            if parsed_key in target:
                raise _invalid(inner, "is given twice")
            if entry["value"].message_type is None:
                target[parsed_key] = _scalar(entry["value"], item, inner)
            else:
                self.message(item, target[parsed_key], inner, depth + 1)

    def _opaque(
        self, value: Any, message: Message, path: str, depth: int, beside: Descriptor | None
    ) -> None:
        """Parse a message whose JSON is not an object with its fields as keys."""
        descriptor = descriptor_of(message)
        name = descriptor.full_name
        if name == well_known.ANY:
            self._any(value, message, path, depth)
        elif name in well_known.SCALAR:
            try:
                set_scalar(message, value, _resources(beside))
            except ValueError:
                raise _wrong(path, expected_message(descriptor, value), value) from None
        elif not isinstance(value, _FREE[name]):
            raise _wrong(path, expected_message(descriptor, value), value)
        else:
            try:
                free: Any = value
                json_format.ParseDict(free, message, max_recursion_depth=MAX_DEPTH)
            except _PARSE_ERRORS as error:
                raise _invalid(path, _free_problem(value)) from error

    def _any(self, value: Any, message: Message, path: str, depth: int) -> None:
        if not isinstance(value, dict):
            raise _wrong(path, "an object with @type", value)
        if not value:
            return
        url = value.get("@type")
        if not isinstance(url, str):
            raise _invalid(path, "@type is missing")
        if not is_unicode(url):
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
        _check_names(descriptor_of(payload), self.types, path)
        body = {key: item for key, item in value.items() if key != "@type"}
        within = _Parser(self.types, unknown=self.unknown)
        if name in well_known.OPAQUE:
            if body.keys() - {"value"}:
                raise _invalid(path, f"a {name} in an Any takes no keys but @type and value")
            within.message(body.get("value"), payload, _join(path, "value"), depth + 1)
        elif name != well_known.EMPTY or body not in ({}, {"value": {}}):
            # For an Empty in an Any, Go writes "value": {} and Python writes no key. Accept both.
            within.message(body, payload, path, depth)
        # The backend checks required fields, so a missing one is not an error here.
        return payload.SerializePartialToString(deterministic=True)


_FREE: Final[dict[str, type]] = {
    well_known.STRUCT: dict,
    well_known.LIST_VALUE: list,
    well_known.VALUE: object,
}
"""The Python type of the JSON of each well-known type that holds free JSON."""


def _free_problem(value: Any) -> str:
    """Return the problem of free JSON that no Struct, ListValue or Value can hold."""
    found = [value]
    for _ in range(_MAX_FREE_DEPTH + 1):
        inner: list[Any] = []
        for each in found:
            if isinstance(each, dict):
                inner.extend((*each, *each.values()))
            elif isinstance(each, list):
                inner.extend(each)
            elif isinstance(each, str) and not is_unicode(each):
                return "has text that is not Unicode"
        found = inner
    if found:
        return f"nested deeper than {_MAX_FREE_DEPTH} levels"
    return "has a number that is not finite or is too large for a double"


def _given_together(oneof: OneofDescriptor, other: str) -> str:
    """Return the problem of a field of a oneof of which the caller has given the field `other`."""
    names = choices(each.json_name for each in oneof.fields)
    given = next(each.json_name for each in oneof.fields if each.name == other)
    return f"at most one of {names} can be given, and {given} is given"


def _extension(descriptor: Descriptor, key: str) -> FieldDescriptor | None:
    """Return the extension that a JSON key `[full.name]` names, or None."""
    if not (descriptor.is_extendable and key.startswith("[") and key.endswith("]")):
        return None
    try:
        found: FieldDescriptor = descriptor.file.pool.FindExtensionByName(key[1:-1])
    except (KeyError, TypeError):
        # The pool raises TypeError for a name with a lone surrogate.
        return None
    return found if found.containing_type == descriptor else None


def _takes_null(field: FieldDescriptor) -> bool:
    """Return whether null is a value of a field. For all other fields, null means unset."""
    if field.is_repeated:
        return False
    if _is_null_value(field):
        return True
    kind = field.message_type
    return kind is not None and bool(kind.full_name == well_known.VALUE)


def _is_null_value(field: FieldDescriptor) -> bool:
    return field.enum_type is not None and field.enum_type.full_name == well_known.NULL_VALUE


def _scalar(field: FieldDescriptor, value: Any, path: str) -> Any:
    if value is None and _is_null_value(field):
        return 0
    try:
        return scalar(field, value)
    except ValueError:
        raise _wrong(path, expected(field, value), value) from None


def _resources(descriptor: Descriptor | None) -> Iterator[Descriptor]:
    """Yield the messages in a request that a FieldMask in the same request may be about."""
    for each in descriptor.fields if descriptor is not None else ():
        kind = each.message_type
        if kind is not None and kind.full_name not in well_known.OPAQUE and not is_map(each):
            yield kind


def _slot(message: Message, field: FieldDescriptor) -> Any:
    if field.is_extension:
        return message.Extensions[field]  # type: ignore[index]  # the stub wants its wrapper
    return getattr(message, field.name)


def _parse_base64(value: Any, path: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise _invalid(path, "@value is not base64") from error


def _check_names(descriptor: Descriptor, types: TypeSet, path: str) -> None:
    if field_name := types.traits(descriptor).shadowing_field:
        raise _invalid(path, f"{descriptor.full_name}: {SHADOWED.format(field_name)}")


def _join(path: str, key: str) -> str:
    if len(key) > _LONGEST_KEY:
        key = quote(key, _LONGEST_KEY)
    return f"{path}.{key}" if path else key


def _wrong(path: str, needed: str, value: Any) -> StatusError:
    return _invalid(path, f"{needed} is needed, not {shown(value)}")


def _invalid(path: str, problem: str) -> StatusError:
    return invalid_argument(path, problem, "INVALID_JSON")

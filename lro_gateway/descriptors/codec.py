"""Messages to and from ProtoJSON, Any included.

google.protobuf.json_format does the work for each message; this module splits messages at their
Anys, because json_format fails a whole message for one Any that it cannot read. Such an Any becomes

    {"@type": "<type URL>", "@value": "<base64>", "@error": "<why>"}

which loses nothing and can be parsed back.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import any_pb2, json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from lro_gateway.descriptors.registry import ANY, TypeSet, descriptor_of, type_name, value_type
from lro_gateway.errors import JSON, invalid_argument, quote

MAX_DEPTH: Final = 64
"""The deepest that the JSON of one message may nest; past it, the nearest Any stays encoded."""

_VALUE_FORM: Final = frozenset(
    f"google.protobuf.{name}"
    for name in (
        *("Any", "Duration", "FieldMask", "ListValue", "Struct", "Timestamp", "Value"),
        *("BoolValue", "BytesValue", "DoubleValue", "FloatValue"),
        *("Int32Value", "Int64Value", "StringValue", "UInt32Value", "UInt64Value"),
    )
)
"""Types with a JSON form of their own, which in an Any stands under "value"."""
_EMPTY: Final = "google.protobuf.Empty"


class _UndecodableError(Exception):
    """Why an Any cannot be shown as what it holds."""


@dataclass(frozen=True, slots=True)
class JsonOptions:
    """How to print: `enum_numbers` prints enums as numbers (`$alt=json;enum-encoding=int`)."""

    enum_numbers: bool = False


DEFAULT_OPTIONS: Final = JsonOptions()


def unpack(any_message: any_pb2.Any, types: TypeSet) -> Message | None:
    """Return the message in an Any, or None if its type is unknown or its bytes are not of it."""
    try:
        return _unpack(any_message, types)
    except _UndecodableError:
        return None


def _unpack(any_message: any_pb2.Any, types: TypeSet) -> Message:
    name = type_name(any_message.type_url)
    message_class = types.message_class(name)
    if message_class is None:
        raise _UndecodableError(types.why_missing(name))
    try:
        return message_class.FromString(any_message.value)
    except DecodeError:
        raise _UndecodableError(f"the bytes are not a {name}") from None


def unresolved(message: Message, types: TypeSet) -> set[str]:
    """Return the names of the types in a message's Anys, however deep, that the set lacks."""
    return set(_unresolved(message, types, 0))


def _unresolved(message: Message, types: TypeSet, depth: int) -> Iterator[str]:
    descriptor = descriptor_of(message)
    if depth > MAX_DEPTH or not types.reaches_any(descriptor):
        return
    if descriptor.full_name == ANY:
        name = type_name(message.type_url)  # type: ignore[attr-defined]  # it is an Any of some pool
        if name and types.message_class(name) is None:
            yield name
        elif (inner := unpack(message, types)) is not None:  # type: ignore[arg-type]  # likewise
            yield from _unresolved(inner, types, depth + 1)
        return
    for field, value in message.ListFields():
        if value_type(field) is not None:
            for item in _items(field, value):
                yield from _unresolved(item, types, depth + 1)


def _items(field: FieldDescriptor, value: Any) -> Iterator[Message]:
    if _is_map(field):
        yield from (value[key] for key in value if isinstance(value[key], Message))
    elif field.is_repeated:
        yield from value
    else:
        yield value


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def to_json(message: Message, types: TypeSet, options: JsonOptions = DEFAULT_OPTIONS) -> Any:
    """Return a message as ProtoJSON; every Any comes out, as what it holds or in the lossless form.

    Raises `ValueError` or `json_format.Error` only for what the message itself holds outside Anys,
    such as a Timestamp that is out of range.
    """
    return _Printer(types, options).message(message, 0)


def any_to_json(
    any_message: any_pb2.Any, types: TypeSet, options: JsonOptions = DEFAULT_OPTIONS
) -> JSON:
    """Return an Any as ProtoJSON, as what it holds or in the lossless form; never raises."""
    return _Printer(types, options).any(any_message, 0)


@dataclass(frozen=True, slots=True)
class _Printer:
    types: TypeSet
    options: JsonOptions

    def message(self, message: Message, depth: int) -> Any:
        """Print one message, which stands `depth` levels deep in the JSON."""
        descriptor = descriptor_of(message)
        if descriptor.full_name == ANY:
            return self.any(message, depth)  # type: ignore[arg-type]  # it is an Any of some pool
        if not self.types.reaches_any(descriptor):
            return self._leaf(message, depth)
        if depth > MAX_DEPTH:
            raise _UndecodableError(f"nested deeper than {MAX_DEPTH} levels")
        split = [(f, v) for f, v in message.ListFields() if self._may_hold_any(f)]
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

    def _may_hold_any(self, field: FieldDescriptor) -> bool:
        inner = value_type(field)
        return inner is not None and self.types.reaches_any(inner)

    def _field(self, field: FieldDescriptor, value: Any, depth: int) -> Any:
        if _is_map(field):
            return {_json_key(key): self.message(value[key], depth + 1) for key in value}
        if field.is_repeated:
            return [self.message(item, depth + 1) for item in value]
        return self.message(value, depth)

    def _leaf(self, message: Message, depth: int) -> Any:
        """Print a message without Anys by json_format."""
        printed = json_format.MessageToDict(
            message, use_integers_for_enums=self.options.enum_numbers
        )
        if self.types.is_unbounded(descriptor_of(message)) and _depth(printed) > MAX_DEPTH - depth:
            raise _UndecodableError(f"nested deeper than {MAX_DEPTH} levels")
        return printed

    def any(self, any_message: any_pb2.Any, depth: int) -> JSON:
        """Print an Any, in the lossless form if it cannot be read."""
        if not any_message.type_url and not any_message.value:
            return {}
        try:
            return self._readable_any(any_message, depth)
        except _UndecodableError as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001 - whatever a backend packs, the call goes on
            why = f"the payload has no JSON form: {error}"
        return {
            "@type": any_message.type_url,
            "@value": base64.b64encode(any_message.value).decode(),
            "@error": why,
        }

    def _readable_any(self, any_message: any_pb2.Any, depth: int) -> JSON:
        payload = _unpack(any_message, self.types)
        url = any_message.type_url
        if payload.DESCRIPTOR.full_name in _VALUE_FORM:
            return {"@type": url, "value": self.message(payload, depth + 1)}
        printed: JSON = self.message(payload, depth)
        if "@type" in printed:
            raise _UndecodableError("a field of it is called @type")
        return {"@type": url, **printed}


def _json_name(field: FieldDescriptor) -> str:
    return f"[{field.full_name}]" if field.is_extension else field.json_name


def _json_key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _depth(value: Any) -> int:
    """Return how deep JSON nests, without recursion of Python's."""
    deepest, pending = 0, [(value, 1)]
    while pending:
        current, depth = pending.pop()
        children = current.values() if isinstance(current, dict) else current
        if isinstance(current, dict | list):
            deepest = max(deepest, depth)
            pending.extend((child, depth + 1) for child in children)
    return deepest


def parse(value: Any, message: Message, types: TypeSet) -> None:
    """Parse ProtoJSON into an empty message, Anys in either form included.

    Raises a `StatusError` with INVALID_ARGUMENT that names the field.
    """
    _Parser(types).message(value, message, "", 0)


@dataclass(frozen=True, slots=True)
class _Parser:
    types: TypeSet

    def message(self, value: Any, message: Message, path: str, depth: int) -> None:
        descriptor = descriptor_of(message)
        if depth > MAX_DEPTH:
            raise invalid_argument(path, f"nested deeper than {MAX_DEPTH} levels", "INVALID_JSON")
        if descriptor.full_name == ANY:
            self._any(value, message, path, depth)
            return
        if not isinstance(value, dict) or not self.types.reaches_any(descriptor):
            self._leaf(value, message, path)
            return
        split = [(f, key) for f, key in _present(descriptor, value) if self._may_hold_any(f)]
        taken = {key for _, key in split}
        self._leaf({k: v for k, v in value.items() if k not in taken}, message, path)
        for field, key in split:
            self._field(field, value[key], message, f"{path}.{key}" if path else key, depth + 1)

    def _may_hold_any(self, field: FieldDescriptor) -> bool:
        inner = value_type(field)
        return inner is not None and self.types.reaches_any(inner)

    def _field(
        self, field: FieldDescriptor, value: Any, message: Message, path: str, depth: int
    ) -> None:
        target = getattr(message, field.name)
        if value is None:
            return
        if _is_map(field):
            self._map(field, value, message, path, depth)
        elif not field.is_repeated:
            target.SetInParent()
            self.message(value, target, path, depth)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self.message(item, target.add(), f"{path}[{index}]", depth)
        else:
            raise invalid_argument(path, "a list is needed", "INVALID_JSON")

    def _map(
        self, field: FieldDescriptor, value: Any, message: Message, path: str, depth: int
    ) -> None:
        if not isinstance(value, dict):
            raise invalid_argument(path, "an object is needed", "INVALID_JSON")
        target = getattr(message, field.name)
        for key, item in value.items():
            # json_format knows how each kind of key is written; the value is ours.
            holder = type(message)()
            self._leaf({field.json_name: {key: {}}}, holder, path)
            (parsed_key,) = getattr(holder, field.name)
            self.message(item, target[parsed_key], f"{path}.{key}", depth + 1)

    def _leaf(self, value: Any, message: Message, path: str) -> None:
        try:
            json_format.ParseDict(value, message, max_recursion_depth=MAX_DEPTH)
        except (json_format.ParseError, ValueError, TypeError, AttributeError) as error:
            # Wrong shapes of a well-known type leave ParseDict as any of these.
            raise invalid_argument(path, " ".join(str(error).split()), "INVALID_JSON") from error

    def _any(self, value: Any, message: Message, path: str, depth: int) -> None:
        if not isinstance(value, dict):
            raise invalid_argument(path, "an object with @type is needed", "INVALID_JSON")
        if not value:
            return
        url = value.get("@type")
        if not isinstance(url, str):
            raise invalid_argument(path, "@type is missing", "INVALID_JSON")
        message.type_url = url  # type: ignore[attr-defined]  # it is an Any of some pool
        message.value = self._any_bytes(value, url, path, depth)  # type: ignore[attr-defined]  # likewise

    def _any_bytes(self, value: JSON, url: str, path: str, depth: int) -> bytes:
        if "@value" in value:
            try:
                return base64.b64decode(value["@value"], validate=True)
            except (binascii.Error, TypeError, ValueError) as error:
                raise invalid_argument(path, "@value is not base64", "INVALID_JSON") from error
        name = type_name(url)
        message_class = self.types.message_class(name)
        if message_class is None:
            raise invalid_argument(
                path, f"{quote(url)}: {self.types.why_missing(name)}", "UNKNOWN_TYPE"
            )
        payload = message_class()
        body = {key: item for key, item in value.items() if key != "@type"}
        if name in _VALUE_FORM:
            self.message(body.get("value"), payload, f"{path}.value", depth + 1)
        elif name != _EMPTY or body not in ({}, {"value": {}}):
            # Go writes an Empty in an Any as "value": {}; both forms are read.
            self.message(body, payload, path, depth)
        return payload.SerializeToString()


def _present(descriptor: Descriptor, value: JSON) -> Iterator[tuple[FieldDescriptor, str]]:
    for field in descriptor.fields:
        for key in (field.json_name, field.name):
            if key in value:
                yield field, key
                break

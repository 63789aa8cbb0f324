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
from typing import Any, Final, cast

from google.protobuf import any_pb2, json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from lro_gateway.descriptors.registry import (
    ANY,
    TypeSet,
    class_of,
    descriptor_of,
    type_name,
    value_type,
)
from lro_gateway.errors import JSON, StatusError, invalid_argument, quote

MAX_DEPTH: Final = 64
"""The deepest that the JSON of one message may nest; past it, the nearest Any stays encoded."""

_MAX_READ_DEPTH: Final = MAX_DEPTH + 2
"""What is printed at the limit is read back: an Any that stays encoded, in a list or a map."""
_TOO_DEEP: Final = f"nested deeper than {MAX_DEPTH} levels"
_SHADOWED: Final = "a field of it is called {}"
"""Of a message with a `Traits.shadow`, which json_format can neither print nor parse."""
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


_OWN_KEYS: Final = frozenset({"@type", "@value"})
"""Keys by which an Any is read; a field of such a name would be taken for them."""


# Wrong shapes of a well-known type leave ParseDict as any of these; a SystemError is what the
# library makes of a key with a lone surrogate, an OverflowError of an integer past all doubles.
_PARSE_ERRORS: Final = (
    *(json_format.ParseError, ValueError, TypeError),
    *(AttributeError, SystemError, OverflowError),
)


class _UndecodableError(ValueError):
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
    if shadow := types.traits(cast("Descriptor", message_class.DESCRIPTOR)).shadow:
        raise _UndecodableError(_SHADOWED.format(shadow))
    try:
        payload = message_class.FromString(any_message.value)
    except DecodeError:
        raise _UndecodableError(f"the bytes are not a {name}") from None
    _check_text(payload, types)
    return payload


def unresolved(message: Message, types: TypeSet) -> set[str]:
    """Return the names of the types in a message's Anys, however deep, that the set lacks."""
    return set(_unresolved(message, types, 0))


def _unresolved(message: Message, types: TypeSet, depth: int) -> Iterator[str]:
    descriptor = descriptor_of(message)
    traits = types.traits(descriptor)
    if depth > MAX_DEPTH or traits.shadow or not traits.reaches_any:
        return
    if descriptor.full_name == ANY:
        name = type_name(message.type_url)  # type: ignore[attr-defined]  # it is an Any of some pool
        message_class = types.message_class(name) if name else None
        if message_class is None:
            yield from [name] if name else []
        elif types.traits(cast("Descriptor", message_class.DESCRIPTOR)).reaches_any:
            inner = unpack(message, types)  # type: ignore[arg-type]  # likewise
            yield from _unresolved(inner, types, depth + 1) if inner is not None else ()
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


def _may_hold_any(field: FieldDescriptor, types: TypeSet) -> bool:
    inner = value_type(field)
    return inner is not None and types.traits(inner).reaches_any


def to_json(message: Message, types: TypeSet, options: JsonOptions = DEFAULT_OPTIONS) -> Any:
    """Return a message as ProtoJSON; every Any comes out, as what it holds or in the lossless form.

    Raises `ValueError` or `json_format.Error` only for what the message itself holds outside Anys,
    such as a Timestamp that is out of range.
    """
    if shadow := types.traits(descriptor_of(message)).shadow:
        raise _UndecodableError(_SHADOWED.format(shadow))
    _check_text(message, types)
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
        if not self.types.traits(descriptor).reaches_any:
            return self._leaf(message, depth)
        if depth > MAX_DEPTH:
            raise _UndecodableError(_TOO_DEEP)
        split = [(f, v) for f, v in message.ListFields() if _may_hold_any(f, self.types)]
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
        nests_deep = self.types.traits(descriptor_of(message)).nests_deep
        if nests_deep and _depth(printed) > MAX_DEPTH - depth:
            raise _UndecodableError(_TOO_DEEP)
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
        if depth > MAX_DEPTH:
            raise _UndecodableError(_TOO_DEEP)
        payload = _unpack(any_message, self.types)
        url = any_message.type_url
        if descriptor_of(payload).full_name in _VALUE_FORM:
            return {"@type": url, "value": self.message(payload, depth + 1)}
        printed: JSON = self.message(payload, depth)
        if taken := _OWN_KEYS & printed.keys():
            raise _UndecodableError(f"a field of it is called {min(taken)}")
        return {"@type": url, **printed}


def _json_name(field: FieldDescriptor) -> str:
    return f"[{field.full_name}]" if field.is_extension else field.json_name


def _json_key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _check_text(message: Message, types: TypeSet) -> None:
    """Refuse a message with a string that is not UTF-8, as proto2 lets it be.

    json_format would print the bytes as Python writes them, and a map with such a key cannot be
    looked through.
    """
    if types.traits(descriptor_of(message)).unchecked_text:
        try:
            broken = _has_broken_text(message)
        except UnicodeDecodeError:
            broken = True
        if broken:
            raise _UndecodableError("a string of it is not UTF-8")


def _has_broken_text(message: Message) -> bool:
    """Tell whether a string is not UTF-8: Python gives its bytes then, and raises for a key."""
    for field, value in message.ListFields():
        if _is_map(field) and field.message_type is not None:
            entry = field.message_type.fields_by_name
            texts = [value[key] for key in value if _is_text(entry["value"])]
        else:
            texts = (value if field.is_repeated else [value]) if _is_text(field) else []
        if any(isinstance(text, bytes) for text in texts):
            return True
        inner = _items(field, value) if value_type(field) is not None else ()
        if any(_has_broken_text(item) for item in inner):
            return True
    return False


def _is_text(field: FieldDescriptor) -> bool:
    return bool(field.type == FieldDescriptor.TYPE_STRING)


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
    if shadow := types.traits(descriptor_of(message)).shadow:
        raise _invalid("", f"{descriptor_of(message).full_name}: {_SHADOWED.format(shadow)}")
    _Parser(types).message(value, message, "", 0)


@dataclass(frozen=True, slots=True)
class _Parser:
    types: TypeSet

    def message(self, value: Any, message: Message, path: str, depth: int) -> None:
        """Parse JSON into one message, which stands at `path`, `depth` levels deep."""
        descriptor = descriptor_of(message)
        if depth > _MAX_READ_DEPTH:
            raise _invalid(path, _TOO_DEEP)
        if descriptor.full_name == ANY:
            self._any(value, message, path, depth)
            return
        if not isinstance(value, dict) or not self.types.traits(descriptor).reaches_any:
            _parse_leaf(value, message, path)
            return
        split = {
            key: field
            for key in value
            if (field := _field_of(descriptor, key)) and _may_hold_any(field, self.types)
        }
        _parse_leaf({k: v for k, v in value.items() if k not in split}, message, path)
        set_by: dict[str, str] = {}
        for key, field in split.items():
            if (other := set_by.setdefault(field.full_name, key)) != key:
                raise _invalid(_join(path, key), f"is given twice, the other time as {other}")
            self._field(field, value[key], message, _join(path, key), depth + 1)

    def _field(
        self, field: FieldDescriptor, value: Any, message: Message, path: str, depth: int
    ) -> None:
        if value is None:
            return
        if field.containing_oneof is not None:
            taken = message.WhichOneof(field.containing_oneof.name)
            if taken is not None:
                raise _invalid(path, f"cannot stand beside {taken}, of which it is an alternative")
        target = _slot(message, field)
        if _is_map(field):
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
            # json_format knows how each kind of key is written; the value is ours.
            holder = type(message)()
            try:
                json_format.ParseDict({field.json_name: {key: {}}}, holder)
            except _PARSE_ERRORS as error:
                raise _invalid(_join(path, key), "is no key of this map") from error
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
        message.type_url = url  # type: ignore[attr-defined]  # it is an Any of some pool
        message.value = self._any_bytes(value, url, path, depth)  # type: ignore[attr-defined]  # likewise

    def _any_bytes(self, value: JSON, url: str, path: str, depth: int) -> bytes:
        if "@value" in value:
            return _parse_base64(value["@value"], path)
        name = type_name(url)
        message_class = self.types.message_class(name)
        if message_class is None:
            why = self.types.why_missing(name)
            raise invalid_argument(path, f"{quote(url)}: {why}", "UNKNOWN_TYPE")
        payload = message_class()
        body = {key: item for key, item in value.items() if key != "@type"}
        if name in _VALUE_FORM:
            if body.keys() - {"value"}:
                raise _invalid(path, f"a {name} has its content under value, and nothing else")
            self.message(body.get("value"), payload, _join(path, "value"), depth + 1)
        elif name != _EMPTY or body not in ({}, {"value": {}}):
            # Go writes an Empty in an Any as "value": {}; both forms are read.
            self.message(body, payload, path, depth)
        # A backend judges for itself whether a required field is missing.
        return payload.SerializePartialToString(deterministic=True)


def _field_of(descriptor: Descriptor, key: str) -> FieldDescriptor | None:
    """Return the field that a key of a JSON object stands for; `[full.name]` is an extension."""
    if key.startswith("[") and key.endswith("]"):
        try:
            return descriptor.file.pool.FindExtensionByName(key[1:-1])
        except (KeyError, TypeError):
            # A TypeError is what the pool makes of a lone surrogate.
            return None
    for field in descriptor.fields:
        if key in {field.json_name, field.name}:
            return field
    return None


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
    """Parse JSON without Anys by json_format."""
    if not isinstance(value, dict) and descriptor_of(message).full_name not in _VALUE_FORM:
        # json_format takes an empty list for an object.
        raise _invalid(path, "an object is needed")
    try:
        json_format.ParseDict(value, message, max_recursion_depth=MAX_DEPTH)
    except _PARSE_ERRORS as error:
        culprit = _culprit(value, message, path)
        raise _invalid(culprit, " ".join(str(error).split())) from error


def _culprit(value: Any, message: Message, path: str) -> str:
    """Return the path of the first field that does not parse alone; `path` if each does."""
    for key, item in value.items() if isinstance(value, dict) else ():
        try:
            json_format.ParseDict({key: item}, type(message)(), max_recursion_depth=MAX_DEPTH)
        except _PARSE_ERRORS:
            field = _field_of(descriptor_of(message), key)
            if field is None or field.message_type is None or field.is_repeated:
                return _join(path, key)
            inner = class_of(field.message_type)()
            return _culprit(item, inner, _join(path, key))
    return path


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _invalid(path: str, problem: str) -> StatusError:
    return invalid_argument(path, problem, "INVALID_JSON")

"""What Anys hold: the messages in them, and the types that are needed to read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

from google.protobuf import any_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.message_types import descriptor_of, is_map, type_name, value_type
from lro_gateway.descriptors.type_set import TypeSet

MAX_DEPTH: Final = 64
"""The deepest that the JSON of one message may nest; past it, the nearest Any stays encoded."""

TOO_DEEP: Final = f"nested deeper than {MAX_DEPTH} levels"
SHADOWED: Final = "a field of it is called {}"
"""Of a message with a `Traits.shadow`, which json_format can neither print nor parse."""


class UndecodableError(ValueError):
    """Why an Any cannot be shown as what it holds."""


def unpack(any_message: any_pb2.Any, types: TypeSet) -> Message | None:
    """Return the message in an Any, or None if its type is unknown or its bytes are not of it."""
    try:
        return unpack_or_raise(any_message, types)
    except UndecodableError:
        return None


def unpack_or_raise(any_message: any_pb2.Any, types: TypeSet) -> Message:
    """Return the message in an Any; `UndecodableError` says why it cannot be read."""
    name = type_name(any_message.type_url)
    message_class = types.message_class(name)
    if message_class is None:
        raise UndecodableError(types.why_missing(name))
    if shadow := types.traits(cast("Descriptor", message_class.DESCRIPTOR)).shadow:
        raise UndecodableError(SHADOWED.format(shadow))
    try:
        payload = message_class.FromString(any_message.value)
    except DecodeError:
        raise UndecodableError(f"the bytes are not a {name}") from None
    check_text(payload, types)
    return payload


def unresolved(message: Message, types: TypeSet) -> set[str]:
    """Return the names of the types in a message's Anys, however deep, that the set lacks."""
    return set(_unresolved(message, types, 0))


def _unresolved(message: Message, types: TypeSet, depth: int) -> Iterator[str]:
    descriptor = descriptor_of(message)
    traits = types.traits(descriptor)
    if depth > MAX_DEPTH or traits.shadow or not traits.reaches_any:
        return
    if descriptor.full_name == well_known.ANY:
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
    if is_map(field):
        yield from (value[key] for key in value if isinstance(value[key], Message))
    elif field.is_repeated:
        yield from value
    else:
        yield value


def may_hold_any(field: FieldDescriptor, types: TypeSet) -> bool:
    """Tell whether an Any may be in a field, however deep."""
    inner = value_type(field)
    return inner is not None and types.traits(inner).reaches_any


def check_text(message: Message, types: TypeSet) -> None:
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
            raise UndecodableError("a string of it is not UTF-8")


def _has_broken_text(message: Message) -> bool:
    """Tell whether a string is not UTF-8: Python gives its bytes then, and raises for a key."""
    for field, value in message.ListFields():
        if is_map(field) and field.message_type is not None:
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

"""Functions that read the messages inside Anys, and that find the types of these messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

from google.protobuf import any_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.elements import Budget, TooManyElementsError, size_of
from lro_gateway.descriptors.extensions import (
    ExtensionNumber,
    Missing,
    unknown_extensions,
)
from lro_gateway.descriptors.message_types import descriptor_of, is_map, type_name, value_type
from lro_gateway.descriptors.type_set import TypeSet

MAX_DEPTH: Final = 64
"""The maximum number of nesting levels in the JSON of one message.

If an Any is deeper than this, `printing` prints it in the lossless form.
"""

TOO_DEEP: Final = f"nested deeper than {MAX_DEPTH} levels"
SHADOWED: Final = "its field {} has a name that protobuf's Python library reserves"
"""The error text for a message type with a `Traits.shadowing_field`."""


class UndecodableError(ValueError):
    """A message cannot be read, or cannot be printed as JSON. The error text gives the reason."""


def unpack(
    any_message: any_pb2.Any, types: TypeSet, budget: Budget | None = None
) -> Message | None:
    """Return the message in an Any, or None if the Any is not readable."""
    try:
        return unpack_or_raise(any_message, types, budget)
    except UndecodableError:
        return None


def unpack_or_raise(
    any_message: any_pb2.Any, types: TypeSet, budget: Budget | None = None
) -> Message:
    """Return the message in an Any, whose elements are taken off the budget.

    Raises `UndecodableError` if the Any is not readable, for example because its type is unknown,
    or because it has too many elements.
    """
    name = type_name(any_message.type_url)
    message_class = types.message_class(name)
    if message_class is None:
        raise UndecodableError(types.why_missing(name))
    descriptor = cast("Descriptor", message_class.DESCRIPTOR)
    if field_name := types.traits(descriptor).shadowing_field:
        raise UndecodableError(SHADOWED.format(field_name))
    content = any_message.value
    if budget is None:
        budget = types.capacity.budget(len(content))
    try:
        if budget is not None:
            budget.take(content, descriptor)
        payload = message_class.FromString(content)
    except TooManyElementsError as error:
        raise UndecodableError(str(error)) from None
    except DecodeError:
        raise UndecodableError(f"the bytes are not a {name}") from None
    check_text(payload, types)
    return payload


def unresolved(message: Message, types: TypeSet) -> set[Missing]:
    """Return the unknown types of Anys and the unknown extensions in a message, at any depth.

    Does not look into Anys that have too many elements.
    """
    return set(_unresolved(message, types, types.capacity.budget(size_of(message)), 0))


def _unresolved(
    message: Message, types: TypeSet, budget: Budget | None, depth: int
) -> Iterator[Missing]:
    descriptor = descriptor_of(message)
    traits = types.traits(descriptor)
    if depth > MAX_DEPTH or traits.shadowing_field or not traits.reaches_any:
        return
    if descriptor.full_name == well_known.ANY:
        name = type_name(message.type_url)  # type: ignore[attr-defined]  # it is an Any
        message_class = types.message_class(name) if name else None
        if message_class is None:
            yield from [name] if name else []
        elif types.traits(cast("Descriptor", message_class.DESCRIPTOR)).reaches_any:
            inner = unpack(message, types, budget)  # type: ignore[arg-type]  # it is an Any
            if inner is not None:
                yield from _unresolved(inner, types, budget, depth + 1)
        return
    yield from unknown_extensions(message)
    for field, value in message.ListFields():
        if value_type(field) is not None:
            for item in _items(field, value):
                yield from _unresolved(item, types, budget, depth + 1)


def left_out(message: Message, types: TypeSet, depth: int = 0) -> Iterator[ExtensionNumber]:
    """Yield the unknown extensions in a message, without those inside Anys.

    The ProtoJSON of the message leaves them out.
    """
    descriptor = descriptor_of(message)
    if depth > MAX_DEPTH or not types.traits(descriptor).reaches_extensions:
        return
    yield from unknown_extensions(message)
    for field, value in message.ListFields():
        inner = value_type(field)
        if inner is not None and inner.full_name != well_known.ANY:
            for item in _items(field, value):
                yield from left_out(item, types, depth + 1)


def _items(field: FieldDescriptor, value: Any) -> Iterator[Message]:
    if is_map(field):
        yield from (value[key] for key in value if isinstance(value[key], Message))
    elif field.is_repeated:
        yield from value
    else:
        yield value


def may_hold_any(field: FieldDescriptor, types: TypeSet) -> bool:
    """Return whether a field may hold an Any, at any depth."""
    inner = value_type(field)
    return inner is not None and types.traits(inner).reaches_any


def check_text(message: Message, types: TypeSet) -> None:
    """Raise `UndecodableError` if a string in a message is not UTF-8.

    Only proto2 allows such strings. json_format would print them in Python's notation for bytes.
    """
    if types.traits(descriptor_of(message)).unchecked_text:
        try:
            is_broken = _has_broken_text(message)
        except UnicodeDecodeError:
            is_broken = True
        if is_broken:
            raise UndecodableError("one of its strings is not UTF-8")


def _has_broken_text(message: Message) -> bool:
    """Return whether a string in a message is not UTF-8.

    Raises UnicodeDecodeError if a map key is not UTF-8, because protobuf raises it. If any other
    string is not UTF-8, protobuf returns bytes for it.
    """
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

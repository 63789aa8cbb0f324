"""The names, descriptors and Python classes of message types."""

from __future__ import annotations

from typing import cast

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message


def type_name(type_url: str) -> str:
    """Return the full message name in an Any's type URL, which is the text after the last slash."""
    return type_url.rpartition("/")[2]


def descriptor_of(message: Message) -> Descriptor:
    """Return a message's descriptor."""
    # Ask the class, because the message itself may have a field named DESCRIPTOR.
    return cast("Descriptor", type(message).DESCRIPTOR)


def class_of(descriptor: Descriptor) -> type[Message]:
    """Return the Python class of a message type."""
    try:
        return message_factory.GetMessageClass(descriptor)
    except RecursionError:
        # The first call also makes the classes of all field types, which may nest deeper than
        # Python's stack. That call made the class of this type first, so the second call returns
        # the class. The missing inner classes are made when they are first needed.
        return message_factory.GetMessageClass(descriptor)


def is_map(field: FieldDescriptor) -> bool:
    """Return whether a field is a map."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def value_type(field: FieldDescriptor) -> Descriptor | None:
    """Return the message type of a field, or of the values of a map field.

    The result is None if the field or the map holds scalars or enums.
    """
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        message = message.fields_by_name["value"].message_type
    return message

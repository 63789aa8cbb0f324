"""Message types as Python has them: their names, descriptors and classes."""

from __future__ import annotations

from typing import cast

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message


def type_name(type_url: str) -> str:
    """Return the full message name in an Any's type URL: the text after the last slash."""
    return type_url.rpartition("/")[2]


def descriptor_of(message: Message) -> Descriptor:
    """Return a message's descriptor, by the type that the rest of the code knows."""
    # The class is asked, because a field of this name would hide it on the message.
    return cast("Descriptor", type(message).DESCRIPTOR)


def class_of(descriptor: Descriptor) -> type[Message]:
    """Return a message type's class."""
    try:
        return message_factory.GetMessageClass(descriptor)
    except RecursionError:
        # It goes on to the types of all fields, which may nest deeper than Python's stack. This
        # type's own class was made first, and inner ones are made when they are met.
        return message_factory.GetMessageClass(descriptor)


def is_map(field: FieldDescriptor) -> bool:
    """Tell whether a field is a map."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def value_type(field: FieldDescriptor) -> Descriptor | None:
    """Return the message type that a field holds, or that a map field's values are of.

    None if these are scalars.
    """
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        message = message.fields_by_name["value"].message_type
    return message

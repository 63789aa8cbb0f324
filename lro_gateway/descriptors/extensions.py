"""Extensions of messages that no known file declares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from lro_gateway.descriptors.message_types import descriptor_of


class ExtensionNumber(NamedTuple):
    """An extension, by the full name of the message type that it extends and by its number."""

    extended: str
    number: int

    def __str__(self) -> str:
        return f"extension {self.number} of {self.extended}"


Missing = str | ExtensionNumber
"""The full name of a type or an extension that may be unknown, or the number of an extension."""


def unknown_extensions(message: Message) -> Iterator[ExtensionNumber]:
    """Yield the extensions in a message that are unknown, without those of inner messages."""
    descriptor = descriptor_of(message)
    if not descriptor.is_extendable:
        return
    fields = UnknownFieldSet(message)
    numbers = {fields[at].field_number for at in range(len(fields))}
    for number in sorted(numbers):
        if _may_extend(descriptor, number) and not is_declared(descriptor, number):
            yield ExtensionNumber(descriptor.full_name, number)


def _may_extend(descriptor: Descriptor, number: int) -> bool:
    return any(start <= number < end for start, end in descriptor.extension_ranges)


def is_declared(descriptor: Descriptor, number: int) -> bool:
    """Return whether the pool of a message type has an extension of this number.

    A message that was read before the pool had it still holds the extension as an unknown field.
    """
    try:
        descriptor.file.pool.FindExtensionByNumber(descriptor, number)
    except KeyError:
        return False
    return True

"""Counting the elements of a message in its bytes, before protobuf makes objects of them.

An element is one field of a message, one number of a packed field, or one entry of a map and its
key and its value. A message of 4 MiB may hold two million of them. Each costs the gateway some
microseconds and some hundred bytes of memory, so `Capacity` bounds their number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import EncodeError, Message

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.message_types import type_name

MAX_ELEMENTS: Final = 50_000
"""The default number of elements that one answer of a backend may have."""

_LARGE: Final = 4096
"""A message of more bytes is handled in a thread. One of 4096 bytes may have 2,000 elements."""
_LONGEST_VARINT: Final = 10
_CONTINUED: Final = bytes(range(128, 256))
"""The bytes of a varint except its last byte."""
_FIELDS_OF_AN_ELEMENT: Final = 32
"""A message counts as one more element for each 32 fields of its type.

protobuf gives a message the memory of all its fields, even if it is empty.
"""
_NAME_OF_AN_ELEMENT: Final = 64
"""A field counts as one more element for each 64 characters of its name."""
_CONTROLS_OF_AN_ELEMENT: Final = 16
"""A text counts as one more element for each 16 control characters.

JSON writes each of them with six characters, such as `\\u0001`.
"""
_LONG_TEXT: Final = 1024
"""The size in bytes from which the control characters of a text are counted."""
_NO_CONTROLS: Final = bytes({*range(256)} - {*range(32)} | {*b"\t\n\r"})
_TEXT: Final = -1
_MAX_GROUPS: Final = 100
"""Levels of groups. protobuf refuses a message that nests deeper."""

_T = TypeVar("_T")


FindDescriptor = Callable[[str], Descriptor | None]
"""Returns the descriptor of a message type by its full name, or None."""


class Capacity:
    """How much of one message the gateway reads, and the thread that reads large messages.

    Each backend has its own, so that the large messages of one backend do not delay those of the
    others. Measured: `json_format` needs 1 to 16 microseconds for an element. In a thread it shares
    the interpreter with the event loop, which goes on after a millisecond (`serving/http`).
    """

    def __init__(self, max_elements: int = MAX_ELEMENTS) -> None:
        self.max_elements = max_elements
        self._was_used = False
        self._thread = ThreadPoolExecutor(1, "large messages")

    @staticmethod
    def is_large(size: int) -> bool:
        """Return whether a message of `size` bytes is handled in the thread."""
        return size > _LARGE

    async def run(self, size: int, work: Callable[[], _T]) -> _T:
        """Return the result of work with a message of `size` bytes.

        The work with a large message runs in the thread. Works run in the order of their calls.
        """
        if not self.is_large(size):
            return work()
        self._was_used = True
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def was_used(self) -> bool:
        """Return whether there was a large message since the last call of this function."""
        was_used, self._was_used = self._was_used, False
        return was_used

    def exceeds(
        self, content: bytes, descriptor: Descriptor, find: FindDescriptor | None = None
    ) -> bool:
        """Return whether the bytes of a message have more elements than are allowed.

        With `find`, the elements of the messages inside Anys count too.
        """
        limit = self.max_elements
        return count(content, descriptor, limit, find) > limit

    def budget(self, size: int) -> Budget | None:
        """Return the elements that the Anys of a message of `size` bytes may have in all.

        The result is None if a message of this size cannot have too many elements.
        """
        return Budget(self.max_elements) if size > self.max_elements else None


class TooManyElementsError(ValueError):
    """A message has more elements than the gateway reads. The error text gives the setting."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"it has more than {limit} elements, the limit of max_message_elements of its backend"
        )


class Budget:
    """The number of elements that the gateway still reads of one answer."""

    def __init__(self, limit: int) -> None:
        self._limit = self._left = limit

    def take(self, content: bytes, descriptor: Descriptor) -> None:
        """Take the elements of a message off. Raise `TooManyElementsError` if too few are left."""
        elements = count(content, descriptor, self._left)
        if elements > self._left:
            raise TooManyElementsError(self._limit)
        self._left -= elements


def count(
    content: bytes, descriptor: Descriptor, limit: int, find: FindDescriptor | None = None
) -> int:
    """Return the number of elements in the bytes of a message, or any number above `limit`.

    Stops soon after the limit. Counts the bytes of a malformed message as far as they are readable.
    With `find`, the elements of the messages inside Anys count too.
    """
    return _Count(content, limit, find).of(descriptor)


def size_of(message: Message) -> int:
    """Return the size of a message in bytes of its wire format."""
    try:
        return message.ByteSize()
    except EncodeError:
        # A required field of proto2 is missing.
        return len(message.SerializePartialToString())


class _Count:
    def __init__(self, content: bytes, limit: int, find: FindDescriptor | None) -> None:
        self._content = content
        self._limit = limit
        self._find = find
        self._total = 0
        self._pending: list[tuple[int, int, Descriptor]] = []
        """The messages that are not counted yet: where they start and end, and their types."""

    def of(self, descriptor: Descriptor) -> int:
        self._pending.append((0, len(self._content), descriptor))
        while self._pending and self._total <= self._limit:
            start, end, kind = self._pending.pop()
            try:
                if self._find is not None and kind.full_name == well_known.ANY:
                    self._open_any(start, end)
                self._message(start, end, kind)
            except LookupError:
                # The message is malformed, so protobuf will refuse it.
                break
        return self._total

    def _message(self, at: int, end: int, kind: Descriptor) -> None:
        content, limit = self._content, self._limit
        layout = _layout_of(kind)
        total = self._total + layout.weight
        outer: list[_Layout] = []
        while at < end and total <= limit:
            tag, at = (content[at], at + 1) if content[at] < 128 else _varint(content, at)
            number, wire_type = tag >> 3, tag & 7
            extra = layout.extra.get(number, 0) if layout.extra else 0
            total += 1 + extra
            if wire_type == 0:
                at = at + 1 if content[at] < 128 else _varint(content, at)[1]
            elif wire_type == 2:
                size, at = (content[at], at + 1) if content[at] < 128 else _varint(content, at)
                known = layout.fields.get(number)
                if known is not None:
                    total += self._inside(at, size, known, limit - total) * (1 + extra)
                at += size
            elif wire_type in _GROUP:
                layout = _of_group(layout, outer, number, is_start=wire_type == 3)
            else:
                at += _WIDTHS[wire_type]
        self._total = total

    def _inside(self, at: int, size: int, known: Descriptor | int, room: int) -> int:
        """Return the elements in a field besides itself; note the inner message of a field."""
        if isinstance(known, Descriptor):
            self._pending.append((at, at + size, known))
            return 0
        if known == _TEXT:
            if size < _LONG_TEXT:
                return 0
            text = self._content[at : at + size]
            return len(text.translate(None, _NO_CONTROLS)) // _CONTROLS_OF_AN_ELEMENT
        if known:
            return size // known
        if size > room * _LONGEST_VARINT:
            return room + 1
        return len(self._content[at : at + size].translate(None, _CONTINUED))

    def _open_any(self, at: int, end: int) -> None:
        """Note the message in an Any, if its type is known."""
        url, value = b"", (0, 0)
        while at < end:
            tag, at = _varint(self._content, at)
            if tag & 7 != 2:
                return
            size, at = _varint(self._content, at)
            if tag >> 3 == 1:
                url = self._content[at : at + size]
            elif tag >> 3 == 2:
                value = (at, at + size)
            at += size
        name = type_name(url.decode(errors="replace"))
        inner = self._find(name) if self._find is not None and name else None
        if inner is not None:
            self._pending.append((*value, inner))


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Return the number at a position, and the position after it."""
    value = 0
    for shift in range(0, 7 * _LONGEST_VARINT, 7):
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise LookupError


class _Layout(NamedTuple):
    """The numbers by which the elements in a message of one type are counted.

    `fields` are the fields that may have elements inside, by their numbers. The value is the type
    of an inner message, the size in bytes of each number in a packed field, 0 if its numbers are
    varints, or -1 for a text. A message counts as `weight` further elements, and a field as `extra`
    ones.
    """

    fields: Mapping[int, Descriptor | int]
    extra: Mapping[int, int]
    weight: int


_GROUP: Final = frozenset({3, 4})
_WIDTHS: Final[Mapping[int, int]] = {1: 8, 5: 4}
"""The sizes in bytes of values by their wire types."""
_NO_LAYOUT: Final = _Layout({}, {}, 0)
_FIXED: Final[Mapping[int, int]] = {
    FieldDescriptor.TYPE_DOUBLE: 8,
    FieldDescriptor.TYPE_FLOAT: 4,
    FieldDescriptor.TYPE_FIXED64: 8,
    FieldDescriptor.TYPE_FIXED32: 4,
    FieldDescriptor.TYPE_SFIXED64: 8,
    FieldDescriptor.TYPE_SFIXED32: 4,
}


def _of_group(layout: _Layout, outer: list[_Layout], number: int, *, is_start: bool) -> _Layout:
    """Return the layout of the fields in a group, or of those after its end."""
    if not is_start:
        return outer.pop()
    if len(outer) == _MAX_GROUPS:
        raise LookupError
    outer.append(layout)
    inner = layout.fields.get(number)
    return _layout_of(inner) if isinstance(inner, Descriptor) else _NO_LAYOUT


def _layout_of(descriptor: Descriptor) -> _Layout:
    if descriptor.is_extendable:
        # The pool may have got further extensions since the last call.
        extensions = descriptor.file.pool.FindAllExtensions(descriptor)
        return _layout([*descriptor.fields, *extensions])
    return _known_layout(descriptor)


@lru_cache(maxsize=1024)
def _known_layout(descriptor: Descriptor) -> _Layout:
    return _layout(descriptor.fields)


def _layout(fields: Sequence[FieldDescriptor]) -> _Layout:
    inside: dict[int, Descriptor | int] = {}
    extra: dict[int, int] = {}
    for field in fields:
        if field.message_type is not None:
            inside[field.number] = field.message_type
        elif field.type == FieldDescriptor.TYPE_STRING:
            inside[field.number] = _TEXT
        elif field.is_repeated and field.type != FieldDescriptor.TYPE_BYTES:
            inside[field.number] = _FIXED.get(field.type, 0)
        # The JSON repeats the name of a field and of an enum value, which may be long.
        if more := _longest_name(field) // _NAME_OF_AN_ELEMENT:
            extra[field.number] = more
    return _Layout(inside, extra, len(fields) // _FIELDS_OF_AN_ELEMENT)


def _longest_name(field: FieldDescriptor) -> int:
    name = field.full_name if field.is_extension else field.json_name
    values = field.enum_type.values if field.enum_type is not None else ()
    return max([len(name), *(len(value.name) for value in values)])

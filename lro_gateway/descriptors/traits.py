"""Properties of a message type that decide how the gateway prints and parses its messages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.message import Message

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.message_types import is_map, value_type

_DEEP: Final = 32
"""Levels of nesting. The printer measures the depth of a message only if it can nest deeper."""


@dataclass(frozen=True, slots=True)
class Traits:
    """Properties of a message type, and of all types that its fields can hold.

    - `reaches_any`: a message of the type may have an Any inside.
    - `reaches_mask`: a message of the type may have a FieldMask inside.
    - `reaches_extensions`: a message of the type may have extensions, which may hold anything.
    - `reaches_floats`: a message of the type may have a float or a double inside.
    - `nests_deep`: its JSON may nest more than 32 levels deep.
    - `unchecked_text`: a string field may hold bytes that are not UTF-8, as proto2 allows.
    - `shadowing_field`: the name of a field that hides an attribute of Python's messages, such as
      DESCRIPTOR, or empty. json_format can neither print nor parse such a message.
    """

    reaches_any: bool
    reaches_mask: bool
    reaches_extensions: bool
    reaches_floats: bool
    nests_deep: bool
    unchecked_text: bool
    shadowing_field: str


def traits_of(descriptor: Descriptor, has_checked_text: Callable[[FileDescriptor], bool]) -> Traits:
    """Return the traits of a message type.

    `has_checked_text` returns whether strings in the messages of a file are always UTF-8.
    """
    reachable = _reachable(descriptor)
    extends = any(t.is_extendable for t in reachable)
    return Traits(
        reaches_any=any(t.full_name == well_known.ANY or t.is_extendable for t in reachable),
        reaches_mask=any(t.full_name == well_known.FIELD_MASK for t in reachable),
        reaches_extensions=extends,
        reaches_floats=extends or any(_holds_float(f) for t in reachable for f in t.fields),
        nests_deep=_nests_deep(reachable),
        unchecked_text=not all(has_checked_text(t.file) for t in reachable),
        shadowing_field=next((f.name for t in reachable for f in t.fields if _is_shadowing(f)), ""),
    )


def _is_shadowing(field: FieldDescriptor) -> bool:
    return hasattr(Message, field.name)


def _holds_float(field: FieldDescriptor) -> bool:
    """Return whether a field has floats or doubles, or is a map with such values."""
    if field.message_type is not None and is_map(field):
        field = field.message_type.fields_by_name["value"]
    return field.cpp_type in {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}


def _inner_types(descriptor: Descriptor) -> Iterator[Descriptor]:
    return (inner for field in descriptor.fields if (inner := value_type(field)) is not None)


def _reachable(root: Descriptor) -> list[Descriptor]:
    """Return a type and all types that its fields can hold, inner types first.

    In a cycle of types, the type that was reached first comes last.
    """
    opened: set[str] = {root.full_name}
    closed: list[Descriptor] = []
    # A list serves as the stack, because types may nest deeper than Python's stack.
    stack = [(root, _inner_types(root))]
    while stack:
        descriptor, pending = stack[-1]
        inner = next(pending, None)
        if inner is None:
            closed.append(descriptor)
            stack.pop()
        elif inner.full_name not in opened:
            opened.add(inner.full_name)
            stack.append((inner, _inner_types(inner)))
    return closed


def _nests_deep(closed: Sequence[Descriptor]) -> bool:
    """Return whether the JSON of the last type may nest deep.

    `closed` are types in the order of `_reachable`.
    """
    heights: dict[str, float] = {}
    for descriptor in closed:
        # The extensions of a message may hold anything, and its descriptor does not list them.
        endless = descriptor.full_name in well_known.ENDLESS or descriptor.is_extendable
        height = math.inf if endless else 1.0
        for field in descriptor.fields:
            if (inner := value_type(field)) is not None:
                # If the inner type has no height yet, it is recursive, because it holds this type.
                below = heights.get(inner.full_name, math.inf)
                height = max(height, 1 + below + bool(field.is_repeated))
        heights[descriptor.full_name] = height
    return heights[closed[-1].full_name] > _DEEP

"""The values of enums that a caller may send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.descriptor import EnumDescriptor, EnumValueDescriptor

_UNSPECIFIED: Final = "_UNSPECIFIED"
"""The end of the name of an enum's first value, which says nothing (AIP-126)."""


def says_nothing(first: EnumValueDescriptor) -> bool:
    """Return whether the first value of an enum stands for no value."""
    return bool(first.name.endswith(_UNSPECIFIED))


def sent_names(descriptor: EnumDescriptor) -> list[str]:
    """Return the names of an enum's values, without one that says nothing."""
    return [value.name for value in sent_values(descriptor)]


def sent_values(descriptor: EnumDescriptor) -> Sequence[EnumValueDescriptor]:
    """Return the values of an enum, without a first one that says nothing."""
    values = descriptor.values
    return values[1:] if len(values) > 1 and says_nothing(values[0]) else values

"""ProtoJSON values of the well-known types whose JSON is one string, number or boolean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import durationpy
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.field_masks import mask_paths
from lro_gateway.descriptors.message_types import descriptor_of
from lro_gateway.descriptors.scalars import expected, holds_json, scalar, text

_TIME: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
# protobuf's own parsers also accept texts such as `2026-1-2T3:4:5Z` and `1_0s`.
_PATTERNS: Final[Mapping[str, re.Pattern[str]]] = {
    well_known.TIMESTAMP: re.compile(_TIME + "(?:Z|[+-][0-9]{2}:[0-9]{2})"),
    well_known.DURATION: re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?s"),
}
_BARE_NUMBER: Final = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?")
_LONGEST: Final = 40
_NANOSECONDS: Final = 10**9
_MAX_SECONDS: Final = 315_576_000_000
"""The longest Duration, about 10,000 years."""
_EXPECTED: Final[Mapping[str, str]] = {
    well_known.TIMESTAMP: 'a time such as "2026-01-02T03:04:05Z"',
    well_known.FIELD_MASK: 'a field mask such as "displayName,labels"',
    well_known.STRUCT: "an object",
    well_known.LIST_VALUE: "a list",
    well_known.VALUE: "a JSON value whose numbers are finite",
}


def set_scalar(message: Any, value: Any, resources: Iterable[Descriptor] = ()) -> None:
    """Set a message of a type in `well_known.SCALAR` from a value in ProtoJSON.

    `resources` are the messages whose fields the paths of a FieldMask may name. A number in place
    of a Duration is a number of seconds. Raises `ValueError` if the value is wrong.
    `expected_message` has words for the error.
    """
    descriptor = descriptor_of(message)
    name = descriptor.full_name
    if name in well_known.WRAPPERS:
        message.value = scalar(descriptor.fields_by_name["value"], value)
    elif name == well_known.FIELD_MASK and not (isinstance(value, str) and holds_json(value)):
        message.paths.extend(mask_paths(text(value), resources))
    elif name == well_known.DURATION and _is_number(value):
        if not abs(value) <= _MAX_SECONDS:
            raise ValueError
        message.FromNanoseconds(round(value * _NANOSECONDS))
    elif name in _PATTERNS and _PATTERNS[name].fullmatch(text(value)):
        message.FromJsonString(value)
    else:
        raise ValueError


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def expected_message(descriptor: Descriptor, value: Any) -> str:
    """Return words for the JSON of a message, such as `an object`, in place of a wrong value."""
    if descriptor.full_name == well_known.DURATION:
        return expected_duration(value)
    if descriptor.full_name in well_known.WRAPPERS:
        return expected(descriptor.fields_by_name["value"], value)
    return _EXPECTED.get(descriptor.full_name, "an object")


def expected_value(field: FieldDescriptor, value: Any) -> str:
    """Return words for what a field needs in place of a wrong value; it may be a message."""
    kind = field.message_type
    return expected(field, value) if kind is None else expected_message(kind, value)


def expected_duration(value: Any) -> str:
    """Return words for a duration in place of a wrong value.

    The example is what the value probably means. For example, it is `600s` for `10m`.
    """
    example = "30s"
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        example = _in_seconds(value) or example
    return f'a duration in seconds such as "{example}"'


def _in_seconds(value: str | float) -> str | None:
    """Return the ProtoJSON of a duration such as `10m` or 90, or None for anything else."""
    if isinstance(value, int) and abs(value) > _MAX_SECONDS:
        return None
    text = "".join(str(value)[:_LONGEST].split()).lower()
    try:
        seconds = float(text) if _BARE_NUMBER.fullmatch(text) else _seconds_of(text)
    except (durationpy.DurationError, OverflowError, ValueError):
        return None
    if not 0 < abs(seconds) <= _MAX_SECONDS:
        return None
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"


def _seconds_of(text: str) -> float:
    return durationpy.from_str(text).total_seconds()

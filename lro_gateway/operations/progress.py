"""Progress, status texts and times in the metadata of operations.

No standard defines a field for progress. This module knows the forms in Google's published metadata
types. These are fields with a percentage or a ratio, pairs of fields with the done and the total
work, and nested messages with such fields.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from lro_gateway.descriptors import well_known

_SINGLE: Final = (
    ("progress_percent", 1),
    ("progress_percentage", 1),
    ("percent_complete", 1),
    ("completed_percent", 1),
    ("estimated_completion_ratio", 100),
)
_PAIRS: Final = (
    (("completed_work",), "estimated_work"),
    (("work_completed",), "work_estimated"),
    (("success_count", "failure_count"), "total_count"),
)
_NESTED: Final = (
    "progress",
    *("progress_documents", "progress_entities", "progress_bytes"),
    "annotation_progress",
    *("generic_metadata", "common", "common_metadata"),
)
_TEXT: Final = ("status_message", "status_detail", "progress_message", "ephemeral_message")
_STATES: Final = ("state", "stage", "operation_state", "phase", "step")
"""Fields with an enum. The last three may also hold a text, which stands for a state."""
_STEPS: Final = frozenset({"stage", "phase", "step"})
_TEXT_FIELDS: Final = frozenset({*_TEXT, *_STATES, *_NESTED})
_CREATED: Final = ("create_time", "start_time", "insert_time")
_UPDATED: Final = ("end_time", "update_time", "last_update_time")
_KNOWN_FIELDS: Final = frozenset(
    {
        *(name for name, _ in _SINGLE),
        *(name for done, total in _PAIRS for name in (*done, total)),
        *_NESTED,
        *_TEXT,
        *_STATES,
        *_CREATED,
        *_UPDATED,
    }
)
_INNER_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])[A-Z]")
_NUMBERS: Final = frozenset(
    {
        *(FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64),
        *(FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64),
        *(FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE),
    }
)
_LARGEST_SECONDS: Final = 253402300799  # The end of the year 9999, the last time of a Timestamp.
_LARGEST_NANOS: Final = 999_999_999


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an operation.

    `percent` is from 0 to 100. `source` is the path of the metadata field that has the
    progress.
    """

    percent: float
    source: str


@dataclass(frozen=True, slots=True)
class Details:
    """The progress in the metadata of an operation, with None for each part that it lacks."""

    progress: Progress | None = None
    status_text: str | None = None
    create_time: dt.datetime | None = None
    update_time: dt.datetime | None = None

    @classmethod
    def of(cls, metadata: Message, progress_fields: Sequence[str]) -> Details:
        """Read metadata. `progress_fields` are those of `progress_of`."""
        return cls(
            progress_of(metadata, progress_fields),
            text_of(metadata),
            create_time_of(metadata),
            update_time_of(metadata),
        )


def rounded(percent: float) -> float:
    """Return a percentage in tenths for JSON; a whole one is an int, which is written as 42."""
    tenths = round(percent, 1)
    return int(tenths) if tenths.is_integer() else tenths


def progress_of(metadata: Message, fields: Sequence[str] = ()) -> Progress | None:
    """Return the progress in an operation's metadata, or None if it has none.

    The configured `fields` are read first. Each is a path of names, such as `job.percent_done`, or
    two paths to the done and the total work, such as `job.rows_done/job.rows`.
    """
    stated = (_at(metadata, field) for field in fields)
    found = next((progress for progress in stated if progress is not None), None)
    return found or next(_found(metadata, "", 2), None)


def _at(metadata: Message, field: str) -> Progress | None:
    done, _, total = field.partition("/")
    value = _number_at(metadata, done)
    if value is None or value < 0:
        return None
    if total:
        whole = _number_at(metadata, total)
        if not whole or whole < 0:
            return None
        value = value * 100 / whole
    return Progress(min(100.0, value), done)


def _number_at(message: Message, path: str) -> float | None:
    *outer, name = path.split(".")
    for each in outer:
        field = type(message).DESCRIPTOR.fields_by_name.get(each)
        if field is None or field.message_type is None or field.is_repeated:
            return None
        message = getattr(message, each)
    return _value(message, type(message).DESCRIPTOR.fields_by_name.get(name))


def _found(message: Message, path: str, levels: int) -> Iterator[Progress]:
    known = _known_fields(type(message).DESCRIPTOR)
    for name, factor in _SINGLE:
        # Some services set -1 if the progress is unknown.
        if name in known and (value := _value(message, known[name])) is not None and value >= 0:
            yield Progress(min(100.0, value * factor), path + name)
    for done, total in _PAIRS:
        whole = _value(message, known.get(total))
        parts = [_value(message, known.get(name)) for name in done] if whole else []
        if whole and whole > 0 and any(part is not None for part in parts):
            percent = sum(part or 0.0 for part in parts) * 100 / whole
            yield Progress(min(100.0, max(0.0, percent)), path + done[0])
    for name in _NESTED if levels > 0 else ():
        if name in known:
            yield from _nested(message, known[name], f"{path}{name}", levels)


def _nested(message: Message, field: Any, path: str, levels: int) -> Iterator[Progress]:
    """Yield the progress that a nested message reports; `path` is that of its field.

    If the field is a list and each of its messages reports progress, yield the mean.
    """
    if field.message_type is None or field.message_type.GetOptions().map_entry:
        return
    value = getattr(message, field.name)
    if not field.is_repeated:
        if message.HasField(field.name):
            yield from _found(value, f"{path}.", levels - 1)
        return
    each = [next(_found(item, "", 0), None) for item in value]
    known = [progress for progress in each if progress]
    if known and len(known) == len(each):
        mean = sum(progress.percent for progress in known) / len(known)
        yield Progress(mean, f"{path}[].{known[0].source}")


@lru_cache(maxsize=1024)
def _known_fields(descriptor: Any) -> Mapping[str, FieldDescriptor]:
    """Return the fields of a type that this module reads, by their names in snake_case.

    Some .proto files write field names in camelCase.
    """
    named = ((_INNER_CAPITAL.sub(_underscored, field.name), field) for field in descriptor.fields)
    return {name: field for name, field in named if name in _KNOWN_FIELDS}


def _underscored(capital: re.Match[str]) -> str:
    return f"_{capital[0].lower()}"


def _value(message: Message, field: Any) -> float | None:
    """Return the number in a field, or None if the field is missing, unset or not a number.

    An unset field without presence counts as zero.
    """
    if field is None or field.is_repeated or field.cpp_type not in _NUMBERS:
        return None
    if field.has_presence and not message.HasField(field.name):
        return None
    value = float(getattr(message, field.name))
    return value if math.isfinite(value) else None


def text_of(metadata: Message, levels: int = 1) -> str | None:
    """Return the status text in metadata.

    If there is no text, return the name of the state, such as `RUNNING`. If there is no state
    either, return None.
    """
    if _known_fields(type(metadata).DESCRIPTOR).keys().isdisjoint(_TEXT_FIELDS):
        return None
    return _message_of(metadata, levels) or _state_of(metadata, levels)


def _message_of(metadata: Message, levels: int) -> str | None:
    known = _known_fields(type(metadata).DESCRIPTOR)
    for name in _TEXT:
        field = known.get(name)
        if field is not None and not field.is_repeated:
            value = getattr(metadata, field.name)
            if isinstance(value, str) and value:
                return value
    inner = (_message_of(message, levels - 1) for message in _below(metadata, levels))
    return next((text for text in inner if text), None)


def _state_of(metadata: Message, levels: int) -> str | None:
    known = _known_fields(type(metadata).DESCRIPTOR)
    for name in _STATES:
        field = known.get(name)
        if field is None or field.is_repeated:
            continue
        if name in _STEPS and field.type == FieldDescriptor.TYPE_STRING:
            if text := str(getattr(metadata, field.name)):
                return text
        elif field.enum_type is not None:
            value = field.enum_type.values_by_number.get(getattr(metadata, field.name))
            # The value zero is UNSPECIFIED by convention, and an unset field reads as zero.
            if value is not None and value.number != 0:
                return str(value.name)
    inner = (_state_of(message, levels - 1) for message in _below(metadata, levels))
    return next((state for state in inner if state), None)


def _below(metadata: Message, levels: int) -> Iterator[Message]:
    """Yield the nested messages that may hold the text, the state or the times."""
    if levels > 0:
        for name in _inner_fields(type(metadata).DESCRIPTOR):
            yield getattr(metadata, name)


@lru_cache(maxsize=1024)
def _inner_fields(descriptor: Any) -> Sequence[str]:
    """Return the names of the fields of a type with such messages."""
    known = _known_fields(descriptor)
    fields = [known[name] for name in _NESTED if name in known]
    return [each.name for each in fields if each.message_type is not None and not each.is_repeated]


def create_time_of(metadata: Message, levels: int = 1) -> dt.datetime | None:
    """Return the start time of the operation in its metadata, or None if it has none."""
    return _first_time(metadata, _CREATED, levels)


def update_time_of(metadata: Message, levels: int = 1) -> dt.datetime | None:
    """Return the end time or the last update time in the metadata, or None if it has neither."""
    return _first_time(metadata, _UPDATED, levels)


def _first_time(metadata: Message, names: tuple[str, ...], levels: int) -> dt.datetime | None:
    for name in _time_fields(type(metadata).DESCRIPTOR, names):
        if metadata.HasField(name):
            time = getattr(metadata, name)
            if 0 < time.seconds <= _LARGEST_SECONDS:
                # A backend may send more nanoseconds than a second has.
                fraction = min(max(time.nanos, 0), _LARGEST_NANOS) // 1000
                return dt.datetime.fromtimestamp(time.seconds, dt.UTC).replace(microsecond=fraction)
    inner = (_first_time(message, names, levels - 1) for message in _below(metadata, levels))
    return next((time for time in inner if time), None)


@lru_cache(maxsize=2048)
def _time_fields(descriptor: Any, names: tuple[str, ...]) -> Sequence[str]:
    """Return the names of the fields of a type with one Timestamp, in the order of `names`."""
    known = _known_fields(descriptor)
    fields = [known[name] for name in names if name in known]
    return [each.name for each in fields if _is_timestamp(each)]


def _is_timestamp(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return not field.is_repeated and kind is not None and kind.full_name == well_known.TIMESTAMP

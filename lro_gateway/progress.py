"""Progress, as the metadata of real services tells it.

There is no standard field. These are the forms that Google's published metadata types use: percent
fields, ratios, done-of-total pairs, and a nested message of progress or of common metadata.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

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
_NESTED: Final = ("progress", "generic_metadata", "common", "common_metadata")
_TEXT: Final = ("status_message", "status_detail", "progress_message", "ephemeral_message")
_CREATED: Final = ("create_time", "start_time", "insert_time")
_LARGEST_SECONDS: Final = 253402300799  # the end of year 9999, which is Timestamp's last


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation is: percent from 0 to 100, and the metadata field that says so."""

    percent: float
    source: str


def progress_of(metadata: Message) -> Progress | None:
    """Return the progress that metadata tells, or None when it tells none."""
    return next(_found(metadata, "", 2), None)


def _found(message: Message, path: str, levels: int) -> Iterator[Progress]:
    fields = message.DESCRIPTOR.fields_by_name
    for name, factor in _SINGLE:
        if name in fields and (value := _number(message, name)) is not None:
            yield Progress(_bounded(value * factor), path + name)
    for done, total in _PAIRS:
        if total in fields and all(name in fields for name in done):
            whole = _number(message, total)
            parts = [_number(message, name) or 0.0 for name in done]
            if whole:
                yield Progress(_bounded(sum(parts) * 100 / whole), path + done[0])
    if levels > 0:
        for name in _NESTED:
            if name in fields:
                yield from _nested(message, name, path, levels)


def _nested(message: Message, name: str, path: str, levels: int) -> Iterator[Progress]:
    """Look one level down; of a list, one progress for each statement, take the mean."""
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.message_type is None or field.message_type.GetOptions().map_entry:
        return
    value = getattr(message, name)
    if not field.is_repeated:
        if message.HasField(name):
            yield from _found(value, f"{path}{name}.", levels - 1)
        return
    each = [next(_found(item, "", 0), None) for item in value]
    known = [progress for progress in each if progress]
    if known and len(known) == len(each):
        mean = sum(progress.percent for progress in known) / len(known)
        yield Progress(mean, f"{path}{name}[].{known[0].source}")


def _number(message: Message, name: str) -> float | None:
    value: Any = getattr(message, name)
    if isinstance(value, Message):
        # A wrapper or a message such as Firestore's Progress; only a plain number is meant here.
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _bounded(percent: float) -> float:
    return min(100.0, max(0.0, percent))


def text_of(metadata: Message) -> str | None:
    """Return what metadata says of its state in words, or None."""
    for name in _TEXT:
        if name in metadata.DESCRIPTOR.fields_by_name:
            value = getattr(metadata, name)
            if isinstance(value, str) and value:
                return value
    return None


def create_time_of(metadata: Message, levels: int = 1) -> dt.datetime | None:
    """Return when metadata says the operation began, or None."""
    fields = metadata.DESCRIPTOR.fields_by_name
    for name in _CREATED:
        if name in fields and (moment := _moment(metadata, name)) is not None:
            return moment
    for name in _NESTED if levels else ():
        field = fields.get(name)
        if field is not None and field.message_type is not None and not field.is_repeated:
            moment = create_time_of(getattr(metadata, name), levels - 1)
            if moment is not None:
                return moment
    return None


def _moment(metadata: Message, name: str) -> dt.datetime | None:
    field = metadata.DESCRIPTOR.fields_by_name[name]
    is_timestamp = (
        field.message_type is not None
        and field.message_type.full_name == "google.protobuf.Timestamp"
        and not field.is_repeated
    )
    if not is_timestamp or not metadata.HasField(name):
        return None
    seconds = getattr(metadata, name).seconds
    if not 0 < seconds <= _LARGEST_SECONDS:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.UTC)

"""What a field is for, by google.api.field_behavior (AIP-203) and by its oneof."""

from __future__ import annotations

from collections.abc import Iterable

from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor, OneofDescriptor


def is_output_only(field: FieldDescriptor) -> bool:
    """Tell whether only the backend sets a field."""
    return field_behavior_pb2.OUTPUT_ONLY in _behaviors(field)


def is_required(field: FieldDescriptor) -> bool:
    """Tell whether a request must have a field, by its annotation or as proto2 has it."""
    return field.is_required or field_behavior_pb2.REQUIRED in _behaviors(field)


def alternatives(field: FieldDescriptor) -> OneofDescriptor | None:
    """Return the oneof of a field; the oneof of a single `optional` field does not count."""
    oneof = field.containing_oneof
    return oneof if oneof is not None and len(oneof.fields) > 1 else None


def _behaviors(field: FieldDescriptor) -> Iterable[int]:
    if not field.has_options:
        return ()
    behaviors: Iterable[int] = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return behaviors

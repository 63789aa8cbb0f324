"""Whether a field is required, output only, an identifier or in a oneof (AIP-203)."""

from __future__ import annotations

from collections.abc import Iterable

from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor, OneofDescriptor


def is_output_only(field: FieldDescriptor) -> bool:
    """Return whether a field is annotated OUTPUT_ONLY, so that only the backend sets it."""
    return field_behavior_pb2.OUTPUT_ONLY in _behaviors(field)


def is_identifier(field: FieldDescriptor) -> bool:
    """Return whether a field is annotated IDENTIFIER, so that its value names a resource."""
    return field_behavior_pb2.IDENTIFIER in _behaviors(field)


def is_required(field: FieldDescriptor) -> bool:
    """Return whether a request must have a field.

    Such a field is annotated REQUIRED, or declared `required` in proto2.
    """
    return field.is_required or field_behavior_pb2.REQUIRED in _behaviors(field)


def alternatives(field: FieldDescriptor) -> OneofDescriptor | None:
    """Return the oneof of a field, or None if the field has no alternatives.

    A proto3 `optional` field is alone in a oneof that protobuf adds, so it has no alternatives.
    """
    oneof = field.containing_oneof
    return oneof if oneof is not None and len(oneof.fields) > 1 else None


def _behaviors(field: FieldDescriptor) -> Iterable[int]:
    if not field.has_options:
        return ()
    behaviors: Iterable[int] = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return behaviors

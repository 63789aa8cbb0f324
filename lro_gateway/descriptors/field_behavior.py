"""The fields that a caller must, may and cannot send, by their annotations (AIP-203)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor

from lro_gateway.descriptors import well_known

_MAY_BE_OMITTED: Final = re.compile(
    r"\A\W*optional\b|\b(?:may|can) be (?:omitted|left (?:out|empty|unset|blank))\b"
    r"|\bif (?:it is |this is |this field is )?"
    r"(?:omitted|unset|unspecified|left (?:out|empty|unset|blank)"
    r"|not (?:set|specified|provided))\b",
    re.IGNORECASE,
)
"""Matches the comment on a field that a caller may omit, whatever its annotation says."""


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


def must_be_given(field: FieldDescriptor, comment: str) -> bool:
    """Return whether a caller must give a field of a message that the caller sends.

    `comment` is the comment on the field. If it says that the field may be omitted, the field need
    not be given, although it is annotated REQUIRED. The fields of a oneof need not be given either.
    """
    return is_needed(field) and not _MAY_BE_OMITTED.search(comment)


def is_needed(field: FieldDescriptor) -> bool:
    """Return what `must_be_given` returns for a field without a comment."""
    return is_required(field) and alternatives(field) is None and not is_output_only(field)


def is_update(request: Descriptor) -> bool:
    """Return whether a request is an update (AIP-134).

    An update has a FieldMask, which names the fields that the request sets. So the messages in an
    update have no fields that must be given.
    """
    return any(
        field.message_type is not None and field.message_type.full_name == well_known.FIELD_MASK
        for field in request.fields
    )


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

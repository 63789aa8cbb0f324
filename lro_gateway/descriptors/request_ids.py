"""The field `request_id` of a request message, which identifies a call (AIP-155)."""

from __future__ import annotations

from typing import Any, Final

from google.api import field_info_pb2, resource_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from lro_gateway.descriptors.field_behavior import (
    alternatives,
    is_identifier,
    is_output_only,
    is_required,
)

_REQUEST_ID: Final = "request_id"
_UUID4: Final = field_info_pb2.FieldInfo.UUID4
_FORMATS: Final = frozenset({field_info_pb2.FieldInfo.FORMAT_UNSPECIFIED, _UUID4})
"""The formats of a field that can hold a UUID."""


def optional_request_id(request: Descriptor) -> FieldDescriptor | None:
    """Return the string field `request_id` that a caller may omit, or None if there is none.

    If the field is REQUIRED, the caller sets it. If it is OUTPUT_ONLY, the backend sets it. If it
    is an IDENTIFIER, or refers to a resource, it names a resource. If it is in a oneof, setting it
    would clear another field. If it declares another format than UUID4, a UUID is not valid.
    """
    field = request.fields_by_name.get(_REQUEST_ID)
    if field is None or field.type != FieldDescriptor.TYPE_STRING or field.is_repeated:
        return None
    if is_required(field) or is_output_only(field) or is_identifier(field):
        return None
    if alternatives(field) is not None or _refers(field) or _format(field) not in _FORMATS:
        return None
    return field


def is_declared_unique(field: FieldDescriptor) -> bool:
    """Return whether a `request_id` declares the format UUID4.

    Google's clients fill in and repeat only such a field (AIP-4235). Without the declaration, the
    backend may ignore the field, or give it another meaning than AIP-155.
    """
    return bool(_format(field) == _UUID4)


def value_of(request: Any, field: FieldDescriptor) -> str | None:
    """Return the `request_id` of a request, or None if the request has no value for it.

    If the field tracks its presence, an empty text is a value, as in AIP-4235. The request may have
    newer descriptors than the method. If the field is missing there, or has another type, the value
    is an empty text, so that the gateway fills in no id.
    """
    value = getattr(request, field.name, None)
    if not isinstance(value, str):
        return ""
    if not field.has_presence:
        return value or None
    try:
        return value if request.HasField(field.name) else None
    except ValueError:
        return value


def _format(field: FieldDescriptor) -> int:
    format_: int = field_info_pb2.FieldInfo.FORMAT_UNSPECIFIED
    if field.has_options:
        format_ = field.GetOptions().Extensions[field_info_pb2.field_info].format
    return format_


def _refers(field: FieldDescriptor) -> bool:
    return bool(
        field.has_options and field.GetOptions().HasExtension(resource_pb2.resource_reference)
    )

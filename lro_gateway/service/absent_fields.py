"""The refusal of a request that lacks REQUIRED fields, before the backend sees it (AIP-203)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from google.protobuf.descriptor import FieldDescriptor

from lro_gateway.background import Slices
from lro_gateway.descriptors.enums import says_nothing
from lro_gateway.descriptors.field_behavior import must_be_given
from lro_gateway.descriptors.parsing import Absent
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.errors import Code, StatusError, bad_request, invalid_argument, status_error

_MAX_NAMED: Final = 10
_TEXTS: Final = (FieldDescriptor.CPPTYPE_STRING, FieldDescriptor.CPPTYPE_MESSAGE)


async def check_absent(
    absent: Iterable[Absent],
    types: TypeSet,
    slices: Slices,
    *,
    is_update: bool,
    by_library: bool,
) -> None:
    """Raise INVALID_ARGUMENT if a request lacks fields that it must have.

    `absent` are the REQUIRED fields that the request lacks. A comment in `types` may say that a
    field can be omitted. An update need not have the REQUIRED fields of its inner messages.

    `by_library` is as for `StartRequest`. Client libraries do not print fields that are 0 or false.
    gcloud and others leave out REQUIRED fields of inner messages, such as the name of a resource
    that they create, and services do not need them. So such a request is not refused.
    """
    found = [
        each
        for each in absent
        if not (each.depth and (is_update or by_library))
        and not (by_library and _may_be_zero(each.field))
    ]
    if not found:
        return
    comments = await slices.run(types.reading_comments())
    missing = [
        each.path
        for each in found
        if must_be_given(each.field, comments.of_name(each.field.full_name))
    ]
    if missing:
        raise required(missing)


def required(paths: list[str]) -> StatusError:
    """Return the error for missing fields, all of which it names."""
    if len(paths) == 1:
        return invalid_argument(paths[0], "is required", "REQUIRED_FIELD")
    more = ", ..." if paths[_MAX_NAMED:] else ""
    named = paths[:_MAX_NAMED]
    return status_error(
        Code.INVALID_ARGUMENT,
        f"{', '.join(named)}{more}: are required",
        "REQUIRED_FIELD",
        metadata={"field": paths[0]},
        details=[bad_request([(path, "is required") for path in named])],
    )


def _may_be_zero(field: FieldDescriptor) -> bool:
    """Return whether a field may have the value 0 or false, which printed ProtoJSON omits.

    The first value of an enum is no such value if its name says that it is unspecified (AIP-126).
    """
    if field.has_presence or field.is_repeated or field.cpp_type in _TEXTS:
        return False
    return field.enum_type is None or not says_nothing(field.enum_type.values[0])

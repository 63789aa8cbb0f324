"""The argument `fields` of the tools that read. It selects the parts of their answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lro_gateway.descriptors.scalars import shown
from lro_gateway.descriptors.selection import Selection, parse_fields
from lro_gateway.errors import JSON, invalid_argument

_OF_PAGE: Final = ("nextPageToken", "unreachable")
"""The fields of a page beside its operations. An answer always has them."""

_OPERATIONS: Final = "operations"

FIELDS: Final = "fields"
FIELDS_SCHEMA: Final[JSON] = {
    "type": "string",
    "description": "Such as name,done.",
}
"""The property of the argument in the input schema of a tool."""


def take_fields(arguments: Mapping[str, Any]) -> tuple[Mapping[str, Any], Selection]:
    """Return the other arguments, and the selection, which is empty if the caller gives none.

    The argument has the same meaning as the parameter `fields` over REST. Raises INVALID_ARGUMENT
    if it is malformed.
    """
    if FIELDS not in arguments:
        return arguments, {}
    others = dict(arguments)
    text = others.pop(FIELDS)
    if text is None:  # ProtoJSON reads null as the field's default.
        return others, {}
    if not isinstance(text, str):
        problem = f'a string such as "name,done" is needed, not {shown(text)}'
        raise invalid_argument(FIELDS, problem)
    return others, parse_fields(text) if text else {}


def of_page(fields: Selection) -> Selection:
    """Return the selection from a page of operations, for a selection from each of them.

    A selection from the page itself, such as `operations/name`, means the same.
    """
    if not fields or "*" in fields:
        return fields
    each = {key: inner for key, inner in fields.items() if key not in {_OPERATIONS, *_OF_PAGE}}
    of_operations = {**fields.get(_OPERATIONS, {}), **each}
    rest: Selection = {key: {} for key in _OF_PAGE}
    return {_OPERATIONS: of_operations, **rest} if of_operations else rest

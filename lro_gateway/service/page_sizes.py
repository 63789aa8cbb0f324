"""The page size of a request, as AIP-158 reads it."""

from __future__ import annotations

import re
from typing import Any, Final

from lro_gateway.descriptors.scalars import shown
from lro_gateway.errors import StatusError, invalid_argument

ARGUMENT: Final = "pageSize"
_DIGITS: Final = re.compile(r"-?[0-9]+\Z")


def whole(value: Any) -> int | None:
    """Return a whole number that is given as a number or as a text, or None for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _DIGITS.match(value):
        # The first 20 characters suffice, because a longer number is beyond any bound.
        return int(value[:20])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def page_size(value: Any, *, default: int, most: int) -> int:
    """Return the number of rows of a page. None, "" and 0 mean the default.

    A number above `most` is reduced to it. Raises INVALID_ARGUMENT for a negative number, and for
    anything that is no whole number.
    """
    if value is None or value == "":
        return default
    number = whole(value)
    if number is None:
        raise invalid_argument(ARGUMENT, f"a whole number is needed, not {shown(value)}")
    if number < 0:
        raise negative_page_size()
    return min(number, most) or default


def negative_page_size() -> StatusError:
    """Return the error for a negative page size."""
    return invalid_argument(ARGUMENT, "must not be negative", "NEGATIVE_PAGE_SIZE")

"""The names by which a person may mean a method that is offered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from lro_gateway.descriptors.choices import choices
from lro_gateway.errors import invalid_argument, quote
from lro_gateway.service.catalog import Offer

UNKNOWN_METHOD: Final = "UNKNOWN_METHOD"
"""The reason of the error for a filter that no method matches."""
_LONGEST: Final = 64
_MOST_COMPARED: Final = 1000
"""The longest text, and the largest number of names, that are compared. Comparing takes time."""


def meant(name: str, offers: Iterable[Offer]) -> Offer | None:
    """Return the one offer that a name means, or None if it means none.

    The name of a tool and a full name mean one method. A short name, such as `CreateDatabase` or
    `DatabaseAdmin.CreateDatabase`, may mean several, and then INVALID_ARGUMENT is raised.
    """
    found = [each for each in offers if name in _names(each)]
    exact = [each for each in found if name in {each.name, each.method.path}]
    chosen = exact or found
    if len(chosen) > 1:
        paths = " and ".join(each.method.path for each in found)
        raise invalid_argument("method", f"{quote(name)} may be {paths}; name one of them")
    return chosen[0] if chosen else None


def _names(offer: Offer) -> tuple[str, ...]:
    """Return the names of a method, as `lro-gateway call` takes them."""
    method = offer.method
    short = f"{method.service.rpartition('.')[2]}.{method.name}"
    return (offer.name, method.path, method.full_name, short, method.name)


def nearest(given: str, offers: Sequence[Offer]) -> str:
    """Return the paths of methods for an error, those first whose names are spelt like `given`."""
    last = re.split(r"[./]", given[:_LONGEST])[-1].lower()
    names = [each.method.name.lower() for each in offers[:_MOST_COMPARED]]
    near = [each for name in get_close_matches(last, names) for each in offers if _is(each, name)]
    return choices(each.method.path for each in [*near, *offers])


def _is(offer: Offer, name: str) -> bool:
    return offer.method.name.lower() == name

"""The request for a page of calls that wait for an approval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lro_gateway.descriptors.choices import choices
from lro_gateway.descriptors.scalars import shown
from lro_gateway.errors import invalid_argument
from lro_gateway.records.approval import ApprovalState
from lro_gateway.service.page_sizes import ARGUMENT, page_size

_PAGE_SIZE: Final = 20
_MAX_PAGE_SIZE: Final = 100
ARGUMENTS: Final = ("state", ARGUMENT, "pageToken")
STATES: Final = tuple(each.value for each in ApprovalState)
"""The values of the argument `state`."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A request for the calls in a state, or in any state, the newest first."""

    state: ApprovalState | None = None
    page_size: int = _PAGE_SIZE
    page_token: str = ""


def parse_page(arguments: Mapping[str, str]) -> PageRequest:
    """Parse those of `ARGUMENTS` that a query has. Raise INVALID_ARGUMENT for a wrong value.

    A page size of 0 means the default, and a large one is reduced (AIP-158).
    """
    state = arguments.get("state", "").lower()
    if state and state not in STATES:
        problem = f"one of {choices(STATES, state)} is needed, not {shown(state)}"
        raise invalid_argument("state", problem)
    size = page_size(arguments.get(ARGUMENT), default=_PAGE_SIZE, most=_MAX_PAGE_SIZE)
    found = ApprovalState(state) if state else None
    return PageRequest(found, size, arguments.get("pageToken", ""))

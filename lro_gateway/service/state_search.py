"""Lists the operations in one state, on backends that cannot select them themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from lro_gateway.operations.operation import Operation, OperationPage
from lro_gateway.service.verb_requests import ListRequest

MAX_PAGES: Final = 25
"""The number of pages that one search reads."""
_SIZE: Final = 100
"""The page size of a search whose caller gives none."""

ReadPage = Callable[[ListRequest], Awaitable[OperationPage]]
"""Reads one page of operations in any state."""


async def in_state(
    read: ReadPage, request: ListRequest, followed: set[str] | None = None
) -> OperationPage:
    """Return a page of the operations in the request's state, by reading pages of all states.

    The search ends when the page is more than half full, after the last page, or after `MAX_PAGES`
    pages. The page's token continues the search, and `searched` is the number of operations that
    were read. The page is never larger than requested, unless a backend returns too many.

    A watch searches again and again. It passes the same set `followed` each time, which holds the
    names that earlier pages had. The page then also has these operations in any other state.
    """
    size = request.page_size or _SIZE
    found: list[Operation] = []
    left: list[Operation] = []
    unreachable: dict[str, None] = {}
    token, searched = request.page_token, 0
    for _ in range(MAX_PAGES):
        page = await read(replace(request, page_size=size - len(found), page_token=token))
        for each in page.operations:
            if each.state is request.state:
                found.append(each)
            elif followed and each.name in followed:
                left.append(each)
        unreachable.update(dict.fromkeys(page.unreachable))
        searched += len(page.operations)
        token = page.next_page_token
        # A page that is nearly full would be filled by ever smaller pages.
        if not token or 2 * len(found) > size:
            break
    if followed is not None:
        followed.clear()
        followed.update(each.name for each in (*found, *left))
    return OperationPage((*found, *left), token, tuple(unreachable), searched)

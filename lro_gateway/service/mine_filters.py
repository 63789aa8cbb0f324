"""The filters of a list of starts. They name only backends and methods that the caller may use.

A filter that is mistyped would select nothing, and the caller would believe that nothing runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from lro_gateway.errors import StatusError, invalid_argument, quote
from lro_gateway.principal import Principal
from lro_gateway.records.entries import Journal
from lro_gateway.service.catalog import Catalog, Offer
from lro_gateway.service.method_names import UNKNOWN_METHOD, meant, nearest
from lro_gateway.service.mine_request import MineRequest
from lro_gateway.service.views import Views

_NO_BACKENDS: Final[tuple[str, ...]] = ()


class MineFilters:
    """Knows the methods and the backends that a caller may name."""

    def __init__(self, catalog: Catalog, views: Views) -> None:
        self._catalog = catalog
        self._views = views

    async def resolved(self, caller: Principal, request: MineRequest) -> MineRequest:
        """Return the request with the path of its method, if it names the tool of one method.

        The name of a tool, such as `create_database`, is no part of the path.
        """
        if not request.method:
            return request
        offers = [*(await self._offers(caller)).values()]
        if _is_part(request.method, offers):
            return request
        try:
            offer = meant(request.method, offers)
        except StatusError:
            return request
        return request if offer is None else replace(request, method=offer.method.path)

    async def check(self, caller: Principal, request: MineRequest, journal: Journal) -> None:
        """Raise INVALID_ARGUMENT if nothing can match a request that has matched nothing.

        Operations that the caller has started stay if their backend or method is gone. A backend or
        a method that is hidden from the caller gives the error of one that does not exist, in the
        same time.
        """
        if request.backend:
            router = self._views.router(caller)
            has_some = await _has_any(caller, MineRequest(backend=request.backend), journal)
            is_gone = not self._views.whole.knows(request.backend)
            if not router.knows(request.backend) and not (is_gone and has_some):
                raise router.unknown("backend", request.backend)
        if request.method:
            await self._check_method(caller, request, journal)

    async def _check_method(
        self, caller: Principal, request: MineRequest, journal: Journal
    ) -> None:
        offers = [*(await self._offers(caller)).values()]
        has_some = await _has_any(caller, MineRequest(method=request.method), journal)
        is_incomplete = self._catalog.unreached(self._views.backends(caller)) is not None
        if has_some or is_incomplete or _is_part(request.method, offers):
            return
        known = nearest(request.method, offers)
        problem = f"{quote(request.method)} is no part of the name of a method that you may use"
        problem += f"; there are: {known}" if known else ""
        raise invalid_argument("method", problem, UNKNOWN_METHOD)

    async def _offers(self, caller: Principal) -> dict[str, Offer]:
        # The list answers although backends are down, so it waits for none of them.
        offers = await self._catalog.offers_soon(lambda: _NO_BACKENDS)
        return {**await self._views.policy.offered(caller, offers)}


async def _has_any(caller: Principal, request: MineRequest, journal: Journal) -> bool:
    page = await journal.page(replace(request, page_size=1).query(caller, ""))
    return bool(page.entries)


def _is_part(text: str, offers: Iterable[Offer]) -> bool:
    lowered = text.lower()
    return any(lowered in each.method.path.lower() for each in offers)

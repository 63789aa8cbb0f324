"""Lists: pages that merge the operations of several backends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

import orjson

from lro_gateway.access.ownership import Ownership
from lro_gateway.access.policy import ListAction, Policy
from lro_gateway.access.sealing import Sealer, UnsealError
from lro_gateway.backends.backend import Backend
from lro_gateway.backends.list_query import ListQuery
from lro_gateway.backends.router import Route
from lro_gateway.errors import Code, StatusError, invalid_argument, unexpected_error
from lro_gateway.operations.names import GatewayName
from lro_gateway.operations.operation import Operation, OperationPage
from lro_gateway.principal import Principal
from lro_gateway.service.state_search import in_state
from lro_gateway.service.verb_requests import ListRequest
from lro_gateway.service.views import Views

Turn = Callable[[Backend], Awaitable[None]]
"""Waits for the turn of a poll of a backend."""

_PAGE_TOKEN: Final = "page_token"  # noqa: S105 - the name of a purpose, not a secret
_REFUSED: Final = frozenset({Code.NOT_FOUND, Code.PERMISSION_DENIED})
"""The codes with which a policy refuses a list."""


class Listing:
    """Lists the operations of all backends that a request selects."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        views: Views,
        policy: Policy,
        sealer: Sealer,
        ownership: Ownership | None = None,
    ) -> None:
        self._backends = backends
        self._views = views
        self._policy = policy
        self._sealer = sealer
        self._ownership = ownership

    async def page(
        self,
        caller: Principal,
        request: ListRequest,
        turn: Turn | None = None,
        *,
        followed: set[str] | None = None,
    ) -> OperationPage:
        """Return one page of the operations that the caller may see.

        The gateway calls all backends in parallel, and divides the page size among them. One sealed
        token holds the page token of each backend. If a backend fails, the call fails, unless the
        request sets `return_partial_success` (AIP-217), or `skips_listless` for a backend
        without ListOperations. In that case `unreachable` names the failed backend as
        `//backend`, and later pages leave that backend out. If all refuse the request as
        wrong, the call fails. A page may hold fewer operations than its size, because the
        policy hides some. Each call of a backend waits for its `turn`. If the request has a
        state, the page has only operations in this state, and those that `followed` names
        (see `in_state`).
        """
        if request.state is not None:
            return await in_state(partial(self._page, caller, turn=turn), request, followed)
        return await self._page(caller, request, turn)

    async def _page(
        self, caller: Principal, request: ListRequest, turn: Turn | None
    ) -> OperationPage:
        routes = await self._allowed(
            caller, self._views.router(caller).find_parents(request.name, request.backend)
        )
        positions = self._positions(caller, request, routes)
        return await self._merged(caller, request, routes, positions, turn)

    async def _allowed(self, caller: Principal, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        """Return the routes that the caller may list. Raise the first refusal if there are none."""
        allowed: list[Route] = []
        refusals: list[StatusError] = []
        for route in routes:
            try:
                await self._policy.authorize(caller, self._action(route))
            except StatusError as error:
                if error.code not in _REFUSED:
                    raise
                refusals.append(error)
            else:
                allowed.append(route)
        if refusals and not allowed:
            raise refusals[0]
        return tuple(allowed)

    def _action(self, route: Route) -> ListAction:
        return ListAction(route.backend, self.parent_of(route))

    def parent_of(self, route: Route) -> GatewayName:
        """Return the canonical name of the parent that a list has at a backend."""
        backend = self._backends[route.backend]
        return backend.public_parent(backend.listed_parent(route.name))

    async def _merged(
        self,
        caller: Principal,
        request: ListRequest,
        routes: tuple[Route, ...],
        positions: Mapping[str, str],
        turn: Turn | None,
    ) -> OperationPage:
        active = [route for route in routes if route.backend in positions]
        # If there are more backends than the page size, later pages list the remaining backends.
        listed = active[: request.page_size] if request.page_size else active
        share = request.page_size // len(listed) if listed else 0
        pages = await asyncio.gather(
            *(
                self._page_of(caller, request, route, share, positions[route.backend], turn)
                for route in listed
            )
        )
        operations: list[Operation] = []
        unreachable: list[str] = []
        remaining = {route.backend: positions[route.backend] for route in active[len(listed) :]}
        for route, page in zip(listed, pages, strict=True):
            if isinstance(page, StatusError):
                if len(routes) == 1 or not _may_lack(request, page):
                    raise page
                unreachable.append(f"//{route.backend}")
                continue
            operations.extend(page.operations)
            unreachable.extend(page.unreachable)
            if page.next_page_token:
                remaining[route.backend] = page.next_page_token
        errors = [page for page in pages if isinstance(page, StatusError)]
        wrong = next((each for each in errors if each.code is Code.INVALID_ARGUMENT), None)
        if wrong is not None and len(errors) == len(routes):
            # Such as a wrong filter. An empty list would look as if nothing ran.
            raise wrong
        visible = await self._policy.visible(caller, operations)
        token = self._token(caller, request, remaining) if remaining else ""
        return OperationPage(tuple(visible), token, tuple(unreachable))

    async def _page_of(
        self,
        caller: Principal,
        request: ListRequest,
        route: Route,
        page_size: int,
        page_token: str,
        turn: Turn | None,
    ) -> OperationPage | StatusError:
        """Return a page of one backend, or its error.

        The error is not raised, because that would cancel the calls to the other backends.
        """
        partial = request.return_partial_success
        query = ListQuery(route.name, request.filter, page_size, page_token, partial)
        try:
            page = await _list(self._backends[route.backend].for_caller(caller), query, turn)
            if self._ownership is None:
                return page
            shown = await self._ownership.shown(caller, route.backend, page.operations)
            return replace(page, operations=tuple(shown))
        except StatusError as error:
            return error
        except Exception as error:  # noqa: BLE001 - unexpected_error logs it
            return unexpected_error(f"the list of backend {route.backend!r}", error)

    def _token(self, caller: Principal, request: ListRequest, positions: dict[str, str]) -> str:
        context = _token_context(caller, request)
        return self._sealer.seal(orjson.dumps(positions), _PAGE_TOKEN, context)

    def _positions(
        self, caller: Principal, request: ListRequest, routes: tuple[Route, ...]
    ) -> dict[str, str]:
        """Return the next page token of each backend that has more pages.

        On the first page every backend has an empty token.
        """
        if not request.page_token:
            return {route.backend: "" for route in routes}
        try:
            context = _token_context(caller, request)
            content = self._sealer.unseal(request.page_token, _PAGE_TOKEN, context)
        except UnsealError:
            raise invalid_argument(
                "pageToken",
                "this gateway did not make this token for this name, filter and backend",
                "INVALID_PAGE_TOKEN",
            ) from None
        positions: dict[str, str] = orjson.loads(content)
        return positions


async def _list(backend: Backend, query: ListQuery, turn: Turn | None) -> OperationPage:
    """List the operations of one backend, without partial success if the backend lacks it.

    A backend that lacks partial success answers UNIMPLEMENTED, as operations.proto requires. The
    merged list still has partial success, because the gateway leaves out a failed backend.
    """
    if turn is not None:
        await turn(backend)
    try:
        return await backend.list(query)
    except StatusError as error:
        if not query.return_partial_success or error.code is not Code.UNIMPLEMENTED:
            raise
    if turn is not None:
        await turn(backend)
    return await backend.list(replace(query, return_partial_success=False))


def _may_lack(request: ListRequest, error: StatusError) -> bool:
    """Return whether a list of several backends may lack the one that fails with this error."""
    is_listless = error.code is Code.UNIMPLEMENTED
    return request.return_partial_success or (request.skips_listless and is_listless)


def _token_context(caller: Principal, request: ListRequest) -> tuple[str, ...]:
    """Return the values that must not change between pages (AIP-158)."""
    state = (request.state.value,) if request.state is not None else ()
    return (*caller.identity, request.name, request.filter, request.backend, *state)

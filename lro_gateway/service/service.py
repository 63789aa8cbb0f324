"""What the gateway does: every verb once, caller first."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final

import orjson

from lro_gateway.backends.backend import (
    CANCEL_OPERATION,
    DELETE_OPERATION,
    Backend,
    ListQuery,
)
from lro_gateway.backends.router import Route, Router
from lro_gateway.errors import Code, StatusError, invalid_argument
from lro_gateway.operations.operation import Operation, OperationPage
from lro_gateway.principal import Policy, Principal, Verb
from lro_gateway.sealing import Sealer, UnsealError
from lro_gateway.service.catalog import Catalog, Offer, backend_argument
from lro_gateway.service.confirmation import confirmation_required, told
from lro_gateway.service.list_watch import ListWatches
from lro_gateway.service.starting import Started, StartOptions, prepare, routing_names, start
from lro_gateway.service.verb_requests import ListRequest, NameRequest, StartRequest, WaitRequest
from lro_gateway.service.watch import Sighting, Watches
from lro_gateway.telemetry import VerbSpan

MAX_WAIT: Final = timedelta(seconds=50)
"""The longest that a wait lasts: clients and proxies give up at a minute."""

HEARTBEAT: Final = 5.0
"""Seconds after which whoever waits is told that it still does: clients' clocks run out."""
_LAST_LOOK: Final = 2.0
"""Seconds after its end that a wait gets to bring home what it asked for last."""
_PAGE_TOKEN: Final = "page_token"  # noqa: S105 - the name of a purpose, not a secret

Tell = Callable[[Sighting], Awaitable[None]]
"""Takes what was seen of an operation."""


class OperationService:
    """The verbs of google.longrunning.Operations over any number of backends.

    Each takes the caller first, finds the backend, checks the policy, and raises `StatusError` for
    a failed call. A failed operation is an `Operation`.
    """

    def __init__(
        self,
        backends: Mapping[str, Backend],
        router: Router,
        catalog: Catalog,
        policy: Policy,
        sealer: Sealer,
        starting: StartOptions,
        watches: Watches,
    ) -> None:
        self._backends = backends
        self._router = router
        self._catalog = catalog
        self._policy = policy
        self._starting = starting
        self._sealer = sealer
        self._watches = watches
        self._reads = watches.reads
        self._list_watches = ListWatches(watches.spawn)
        self._closing = asyncio.Event()

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends' names, in the order of the configuration."""
        return self._router.backends

    def owns(self, name: str) -> bool:
        """Tell whether a name is an operation's by what the configuration says of names."""
        return self._router.is_declared(name)

    async def get(self, caller: Principal, request: NameRequest) -> Operation:
        """Return the latest state of an operation."""
        with VerbSpan("get", request.name):
            backend, name = self._authorized(caller, Verb.GET, request)
            return await self._reads.get(backend, name)

    async def wait(
        self, caller: Principal, request: WaitRequest, tell: Tell | None = None
    ) -> Operation:
        """Return an operation when it is done, or its latest state after timeout or `MAX_WAIT`.

        Meanwhile `tell` is called with every sighting, and with the last one again every few
        seconds.
        """
        with VerbSpan("wait", request.name):
            backend, name = self._authorized(caller, Verb.WAIT, request)
            limit = MAX_WAIT if request.timeout is None else min(request.timeout, MAX_WAIT)
            operation = await self._reads.get(backend, name)
            if operation.done or not limit:
                return operation
            latest = await self._end_within(backend, name, operation, limit, tell=tell)
            return latest if latest.done else await self._last_look(backend, name, latest)

    async def _quick_end(
        self, backend: Backend, operation: Operation, grace: timedelta
    ) -> Operation:
        """Return a new operation at its end if that comes soon."""
        name = operation.proto.name
        try:
            return await self._end_within(backend, name, operation, grace, hurried=True)
        except StatusError:
            # It began; that is the answer, whatever the look at it met.
            return operation

    async def _end_within(
        self,
        backend: Backend,
        name: str,
        latest: Operation,
        limit: timedelta,
        *,
        hurried: bool = False,
        tell: Tell | None = None,
    ) -> Operation:
        """Return an operation at its end, or its latest state when the time is up."""
        every = HEARTBEAT if tell is not None else None
        sightings = self._watches.follow(backend, name, every=every, hurried=hurried)
        try:
            async with asyncio.timeout(limit.total_seconds()), aclosing(sightings):
                async for sighting in sightings:
                    latest = sighting.operation
                    if tell is not None:
                        await tell(sighting)
        except TimeoutError:
            pass
        return latest

    async def _last_look(self, backend: Backend, name: str, latest: Operation) -> Operation:
        """Look once more: on a slow cadence the latest state may be old. Else it will do."""
        try:
            async with asyncio.timeout(_LAST_LOOK):
                return await self._reads.get(backend, name)
        except (StatusError, TimeoutError):
            return latest

    def watch(
        self, caller: Principal, request: NameRequest, *, every: float | None = None
    ) -> AsyncGenerator[Sighting]:
        """Yield an operation's state at once, then every newer one, until it is done.

        The same again whenever `every` seconds have brought nothing new. Raises what the first look
        meets, and later whatever is not about reaching the backend; an outage is a sighting.
        """
        backend, name = self._authorized(caller, Verb.WAIT, request)
        return self._watches.follow(backend, name, every=every)

    async def watch_list(
        self, caller: Principal, request: ListRequest, *, every: float
    ) -> AsyncGenerator[tuple[Operation, ...]]:
        """Yield the operations of a page, then those of it that are new or changed, without an end.

        Nothing whenever `every` seconds have brought none. Raises what the first look meets, and
        later whatever is not about reaching the backends.
        """
        key = (str(caller), request)
        look = partial(self.list, caller, request)
        async with aclosing(self._list_watches.follow(key, look, every=every)) as changes:
            async for news in changes:
                yield news

    def close(self) -> None:
        """End every wait with UNAVAILABLE, so that a gateway that stops need not wait for them."""
        self._closing.set()
        self._watches.close()
        self._list_watches.close()

    @property
    def is_closing(self) -> bool:
        """Whether the gateway has begun to stop."""
        return self._closing.is_set()

    async def closing(self) -> None:
        """Return once the gateway begins to stop: whoever serves a stream is to end it."""
        await self._closing.wait()

    async def cancel(self, caller: Principal, request: NameRequest) -> None:
        """Ask for an operation to be cancelled; whether it was shows in its state (AIP-151)."""
        with VerbSpan("cancel", request.name):
            backend, name = self._authorized(caller, Verb.CANCEL, request)
            if self._must_ask(request, backend, CANCEL_OPERATION):
                does = f"It asks for operation {told(request.name)} to be cancelled."
                raise confirmation_required(backend.name, CANCEL_OPERATION, does)
            with self._changing(backend, name):
                await backend.cancel(name)

    async def delete(self, caller: Principal, request: NameRequest) -> None:
        """Have an operation forgotten; this does not cancel it."""
        with VerbSpan("delete", request.name):
            backend, name = self._authorized(caller, Verb.DELETE, request)
            if self._must_ask(request, backend, DELETE_OPERATION):
                does = f"It has operation {told(request.name)} and its result forgotten."
                raise confirmation_required(backend.name, DELETE_OPERATION, does)
            with self._changing(backend, name):
                await backend.delete(name)

    async def offers(self, *, settled: bool = False) -> Mapping[str, Offer]:
        """Return the methods that can be called, by the name of each; ordered by name.

        With `settled` a backend that did not tell its methods before is waited for.
        """
        return await self._catalog.offers(settled=settled)

    async def start(self, caller: Principal, request: StartRequest) -> Started:
        """Call a method: start an operation and wait a moment for it, or get a plain response.

        INVALID_ARGUMENT if several backends offer it and neither `backend` nor a name in the
        request says which. The call goes on when the caller leaves.
        """
        with VerbSpan("start", request.method):
            offer = await self._catalog.find(request.method)
            backend = self._backends[self._chosen(offer, request)]
            self._policy.check(caller, Verb.START, backend.name, offer.method.path)
            prepared = await prepare(backend, offer.method, request.arguments)
            if self._must_ask(request, backend, offer.method.path):
                does = _what_it_does(offer, request)
                raise confirmation_required(backend.name, offer.method.path, does)
            return await start(backend, prepared, self._starting, self._quick_end, self.closing)

    @contextmanager
    def _changing(self, backend: Backend, name: str) -> Iterator[None]:
        """Forget what is known of an operation before and after a call, and have its watch look."""
        self._reads.drop(backend, name)
        try:
            yield
        finally:
            self._reads.drop(backend, name)
            self._watches.hurry(backend, name)

    def _must_ask(self, request: NameRequest | StartRequest, backend: Backend, path: str) -> bool:
        return not request.confirmed and self._catalog.confirms(backend.name, path)

    def _chosen(self, offer: Offer, request: StartRequest) -> str:
        if request.backend:
            if request.backend in offer.backends:
                return request.backend
        elif len(offer.backends) == 1:
            return offer.backends[0]
        else:
            named = {
                route.backend
                for name in routing_names(offer.method, request.arguments)
                for route in self._router.owners_of_parent(name)
            }
            owners = [backend for backend in offer.backends if backend in named]
            if len(owners) == 1:
                return owners[0]
        choices = ", ".join(offer.backends)
        raise invalid_argument(
            backend_argument(offer.method),
            f"{offer.method.path} is offered by: {choices}; say which",
            "BACKEND_NEEDED",
            backends=",".join(offer.backends),
        )

    async def list(self, caller: Principal, request: ListRequest) -> OperationPage:
        """Return a page of operations of every backend that the name and `backend` leave.

        All are asked at once. The page size is shared among them, and one sealed token holds where
        each stands. One that fails makes the call fail, unless partial success was asked for: then
        it is named in `unreachable`, as `//backend`, and left out of further pages (AIP-217).
        """
        with VerbSpan("list", request.name):
            routes = self._router.find_parents(request.name, request.backend)
            for route in routes:
                self._policy.check(caller, Verb.LIST, route.backend, request.name)
            positions = self._positions(caller, request, routes)
            return await self._merged(caller, request, routes, positions)

    def _authorized(
        self, caller: Principal, verb: Verb, request: NameRequest | WaitRequest
    ) -> tuple[Backend, str]:
        route = self._router.find(request.name, request.backend)
        self._policy.check(caller, verb, route.backend, request.name)
        return self._backends[route.backend], route.name

    async def _merged(
        self,
        caller: Principal,
        request: ListRequest,
        routes: tuple[Route, ...],
        positions: dict[str, str],
    ) -> OperationPage:
        active = [route for route in routes if route.backend in positions]
        # Never more than was asked for: who gets no share now has its turn on the next page.
        asked = active[: request.page_size] if request.page_size else active
        share = request.page_size // len(asked) if asked else 0
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._page(request, route, share, positions[route.backend]))
                for route in asked
            ]
        operations: list[Operation] = []
        unreachable: list[str] = []
        remaining = {route.backend: positions[route.backend] for route in active[len(asked) :]}
        for route, task in zip(asked, tasks, strict=True):
            page = task.result()
            if isinstance(page, StatusError):
                if not request.return_partial_success or len(routes) == 1:
                    raise page
                unreachable.append(f"//{route.backend}")
                continue
            operations.extend(page.operations)
            unreachable.extend(page.unreachable)
            if page.next_page_token:
                remaining[route.backend] = page.next_page_token
        token = self._token(caller, request, remaining) if remaining else ""
        return OperationPage(tuple(operations), token, tuple(unreachable))

    async def _page(
        self, request: ListRequest, route: Route, page_size: int, page_token: str
    ) -> OperationPage | StatusError:
        query = ListQuery(
            route.name, request.filter, page_size, page_token, request.return_partial_success
        )
        try:
            return await _list(self._backends[route.backend], query)
        except StatusError as error:
            # Returned, not raised: one backend's failure must not cancel the calls to the others.
            return error

    def _token(self, caller: Principal, request: ListRequest, positions: dict[str, str]) -> str:
        return self._sealer.seal(
            orjson.dumps(positions), _PAGE_TOKEN, _token_context(caller, request)
        )

    def _positions(
        self, caller: Principal, request: ListRequest, routes: tuple[Route, ...]
    ) -> dict[str, str]:
        """Return the page token of each backend that has more; at the start they are empty."""
        if not request.page_token:
            return {route.backend: "" for route in routes}
        try:
            content = self._sealer.unseal(
                request.page_token, _PAGE_TOKEN, _token_context(caller, request)
            )
        except UnsealError:
            raise invalid_argument(
                "pageToken",
                "it is not a token of this gateway for this name, filter and backend",
                "INVALID_PAGE_TOKEN",
            ) from None
        positions: dict[str, str] = orjson.loads(content)
        return positions


def _what_it_does(offer: Offer, request: StartRequest) -> str:
    """Say what a call would do: the method's own comment, and with what it is called."""
    comment = offer.types.comments.of_name(offer.method.full_name).partition(". ")[0].rstrip(".")
    starts = (
        "It starts a long-running operation" if offer.method.is_long_running else "It is called"
    )
    arguments = told(json.dumps(request.arguments, ensure_ascii=False))
    return f"{f'{told(comment)}. ' if comment else ''}{starts} with {arguments}."


async def _list(backend: Backend, query: ListQuery) -> OperationPage:
    """List, without partial success where the backend does not offer it.

    operations.proto has a service say UNIMPLEMENTED then; all or nothing of one backend is still
    partial success of several.
    """
    try:
        return await backend.list(query)
    except StatusError as error:
        if not query.return_partial_success or error.code is not Code.UNIMPLEMENTED:
            raise
    return await backend.list(replace(query, return_partial_success=False))


def _token_context(caller: Principal, request: ListRequest) -> tuple[str, ...]:
    """Return what must not change between pages (AIP-158)."""
    return (str(caller), request.name, request.filter, request.backend)

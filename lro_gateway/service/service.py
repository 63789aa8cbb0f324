"""The service: the five verbs, watches and starts, which every face calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Final

from lro_gateway.access.audit import Audit, unaudited
from lro_gateway.access.expiry import until_expiry
from lro_gateway.access.policy import MethodAction, OperationAction, Policy, Verb
from lro_gateway.backends.backend import Backend
from lro_gateway.backends.rounds import READER
from lro_gateway.backends.router import Route, Router
from lro_gateway.errors import Code, StatusError
from lro_gateway.operations.names import BackendName
from lro_gateway.operations.operation import Operation, OperationPage
from lro_gateway.principal import Principal
from lro_gateway.service.approvals import Approvals
from lro_gateway.service.archiving import Archiving
from lro_gateway.service.beginnings import Beginnings
from lro_gateway.service.catalog import Catalog, Offer
from lro_gateway.service.changes import CANCELLATION, DELETION, Change
from lro_gateway.service.choosing import check_backend, chosen, owners
from lro_gateway.service.confirmation import confirmation_required, displayed_name, effect_of
from lro_gateway.service.existence import Existence
from lro_gateway.service.idempotency import Idempotency
from lro_gateway.service.list_watch import ListChange, ListWatches, View
from lro_gateway.service.listing import Listing
from lro_gateway.service.mine import Mine
from lro_gateway.service.outcomes import logged
from lro_gateway.service.patience import first_read
from lro_gateway.service.preparing import prepare
from lro_gateway.service.rates import Rates
from lro_gateway.service.reads import Reads
from lro_gateway.service.short_names import ShortNames
from lro_gateway.service.shutdown import Shutdown
from lro_gateway.service.starting import Started, Starts
from lro_gateway.service.verb_requests import (
    ListRequest,
    NameRequest,
    StartRequest,
    WaitRequest,
)
from lro_gateway.service.views import Views
from lro_gateway.service.waiting import OnProgress, Waits
from lro_gateway.service.watch import Sighting
from lro_gateway.service.watch_bounds import WatchBounds
from lro_gateway.service.watches import CallerStream, Watches
from lro_gateway.telemetry.spans import VerbSpan

_READ_LIMIT: Final = 2.0
"""Seconds that `can_read` waits for an answer."""
_REFUSED: Final = frozenset(
    {
        *(Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.UNAUTHENTICATED),
        *(Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED),
    }
)
"""The codes of refusals that a later read gets too."""


@dataclass(frozen=True, kw_only=True)
class OperationService:
    """The verbs of google.longrunning.Operations, over any number of backends.

    Each verb takes the caller as its first argument. Each verb finds the backend, and asks the
    policy before it calls the backend. A failed call raises `StatusError`. A failed operation
    is returned as an `Operation`.
    """

    backends: Mapping[str, Backend]
    router: Router
    """The router of all backends, which knows the canonical names."""
    views: Views
    """The routers of callers, each with the backends that the caller may use."""
    policy: Policy
    audit: Audit
    catalog: Catalog
    """All offers. The method `offers` returns only those that a caller may see."""
    reads: Reads
    watches: Watches
    list_watches: ListWatches
    listing: Listing
    watch_bounds: WatchBounds
    rates: Rates
    waits: Waits
    starts: Starts
    idempotency: Idempotency
    shutdown: Shutdown
    mine: Mine
    short_names: ShortNames
    """The backends of short names that the gateway has returned when it had fewer backends."""
    archiving: Archiving
    beginnings: Beginnings
    existence: Existence | None = None
    """Checks that operations exist for callers. None if each exists for everybody."""
    approvals: Approvals | None = None
    """The calls that wait for an approval, on a gateway that has such calls."""

    def backend_names(self, caller: Principal, verb: Verb | None = None) -> tuple[str, ...]:
        """Return the backends that the caller may use, or may use with a verb, in their order."""
        return self.views.backends(caller, verb)

    def owns(self, caller: Principal, name: str) -> bool:
        """Return whether a configured pattern matches a name, or the name starts with `//`."""
        return self.views.router(caller).is_declared(name)

    def owner(self, caller: Principal, name: str) -> str | None:
        """Return the one backend that can have an operation of this name, or None."""
        return self.views.router(caller).owner(name)

    def owners(self, caller: Principal, names: Iterable[str]) -> frozenset[str]:
        """Return the backends whose patterns allow operations under one of these resources."""
        return owners(self.views.router(caller), names)

    async def get(
        self, caller: Principal, request: NameRequest, *, patiently: bool = False
    ) -> Operation:
        """Return the latest state of an operation.

        With `patiently` the read is repeated after an error that may pass, such as INTERNAL.
        """
        with VerbSpan("get", request.name) as span:
            backend, name = await self._authorized(caller, Verb.GET, request)
            span.backend = backend.name
            if patiently:
                return await first_read(partial(self.reads.get, backend, name))
            return await self.reads.get(backend, name)

    async def followed(self, _caller: Principal, request: NameRequest) -> NameRequest:
        """Return the request for the operation whose events tell of what is requested."""
        return request

    async def can_read(self, caller: Principal, operation: Operation) -> bool:
        """Return False if reads of a started operation are refused, and will be refused later.

        This calls the backend only if no answer with the operation is kept, and only for a moment.
        """
        request = NameRequest(operation.name, operation.backend)
        try:
            await self.check(caller, request)
            backend, name = await self._authorized(caller, Verb.GET, request)
            if not self.reads.knows(backend, name):
                async with asyncio.timeout(_READ_LIMIT):
                    await self.reads.get(backend, name)
        except TimeoutError:
            return True
        except StatusError as error:
            return error.code not in _REFUSED
        return True

    async def check(self, caller: Principal, request: NameRequest) -> None:
        """Raise the error of a caller that may not read an operation.

        The audit does not have it, because the caller has not asked. The backend is asked only if
        ownership needs it.
        """
        request = await self.short_names.resolved(caller, request, Verb.GET)
        route = self.views.router(caller).find(request.name, request.backend)
        action = self._action(Verb.GET, route)
        await unaudited(self.policy).authorize(caller, action)
        if self.existence is not None:
            backend = self.backends[route.backend].for_caller(caller)
            await self.existence.look(caller, action, backend, route.name)

    def expect(self, caller: Principal, request: NameRequest, begun: float) -> None:
        """Note that another worker met an operation at `begun`, in seconds since the epoch.

        The operation's backend may not find it yet, so NOT_FOUND does not mean its end.
        """
        route = self.router.find(request.name, request.backend)
        self.backends[route.backend].for_caller(caller).expect(route.name, begun)

    async def list(self, caller: Principal, request: ListRequest) -> OperationPage:
        """Return a page of operations of all backends that `name` and `backend` select."""
        READER.set(caller.reader)
        with VerbSpan("list", request.name):
            await self.rates.spend(caller, Verb.LIST)
            return await self.listing.page(caller, request)

    async def wait(
        self, caller: Principal, request: WaitRequest, on_progress: OnProgress | None = None
    ) -> Operation:
        """Return an operation once it is done, or its latest state at the end of the timeout.

        Until then `on_progress` gets every new state. After 5 seconds without a new state it gets
        the latest one again.
        """
        with VerbSpan("wait", request.name) as span:
            backend, name = await self._authorized(caller, Verb.WAIT, request)
            span.backend = backend.name
            async with until_expiry(caller):
                return await self.waits.until_done(
                    caller.reader, backend, name, request.timeout, on_progress
                )

    def watch(
        self, caller: Principal, request: NameRequest, *, every: float | None = None
    ) -> AsyncGenerator[Sighting]:
        """Yield an operation's state at once, then every newer one, until it is done.

        The latest sighting is repeated after `every` seconds without a newer one. Errors that
        `Patience` outlasts are yielded as the `outage` of a sighting once there is a state, and
        other errors are raised. The caller of this method resolves a short name (`told`).
        """
        route = self.views.router(caller).find(request.name, request.backend)
        backend = self.backends[route.backend].for_caller(caller)
        action = self._action(Verb.WAIT, route)
        authorize: Callable[[], Awaitable[object]] = (
            partial(self.policy.authorize, caller, action)
            if self.existence is None
            else partial(self.existence.authorize_watch, caller, action, backend, route.name)
        )
        # Measured: a generator around this one would cost each reader a kilobyte.
        return self.watches.follow(
            caller.reader,
            backend,
            route.name,
            every=every,
            stream=CallerStream(request.name, authorize),
        )

    def check_watches(self, caller: Principal, number: int) -> None:
        """Raise TOO_MANY_WATCHES if the caller may not have so many more watches at a time."""
        self.watch_bounds.check(caller.reader, number)

    def watch_list(
        self, caller: Principal, request: ListRequest, view: View, *, every: float
    ) -> AsyncGenerator[ListChange]:
        """Yield the operations of a page, then each change of the list, until the reader stops.

        If the request has a state, it yields operations in this state, and an operation once more
        when it leaves the state. Yields an empty change if the page has changed and the views have
        not, and after `every` seconds without a change. Raises an error that `Patience` does not
        outlast.
        """
        read = partial(self.listing.page, caller, request, followed=set())
        return self.list_watches.follow(caller, request, read, view, every=every)

    async def cancel(self, caller: Principal, request: NameRequest) -> None:
        """Request the cancellation of an operation.

        The operation may go on. Read its state later to see whether it has ended (AIP-151).
        """
        await self._change(caller, request, CANCELLATION)

    async def delete(self, caller: Principal, request: NameRequest) -> None:
        """Delete the record of an operation. This does not cancel the operation."""
        await self._change(caller, request, DELETION)

    async def offers(
        self,
        caller: Principal,
        *,
        of: Iterable[str] | None = None,
        challenged: bool = False,
    ) -> Mapping[str, Offer]:
        """Return the methods that the caller may see, by name, sorted by name.

        If the caller may see all methods, this is the catalog's own mapping. The call waits for the
        first discoveries of the backends in `of`, or of all backends, as `Catalog.offers` does.
        `challenged` is as for `Policy.offered`.
        """
        offers = await self.catalog.offers(of=of)
        return await self.policy.offered(caller, offers, challenged=challenged)

    async def offers_so_far(self, caller: Principal) -> AsyncGenerator[Mapping[str, Offer]]:
        """Yield the methods that the caller may see of those in `Catalog.offers_so_far`."""
        async with aclosing(self.catalog.offers_so_far()) as growing:
            async for offers in growing:
                yield await self.policy.offered(caller, offers)

    async def start(self, caller: Principal, request: StartRequest) -> Started:
        """Call a method. A long-running one starts an operation, and a plain one has a response.

        Waits for the operation to end, but at most for `server.sync_grace`. Fails with
        INVALID_ARGUMENT if several backends offer the method, and neither `backend` nor a resource
        name in the arguments selects one. The call goes on if its caller leaves.
        """
        READER.set(caller.reader)
        offer = request.offer
        verb = Verb.START if offer.method.is_long_running else Verb.CALL
        path = offer.method.path
        with VerbSpan(verb.value, path, method=path) as span:
            backend = self.backends[
                chosen(self.catalog, self.views.router(caller), offer, request)
            ].for_caller(caller)
            span.backend = backend.name
            method = offer.declared[backend.name]
            rules = self.catalog.rules_of(backend.name)
            prepared = await prepare(backend, method, request, rules, self.catalog.slices)
            hints, types = offer.hints, backend.registry.types
            action = MethodAction(verb, backend.name, method, prepared.request, hints, types)
            rule = await self.policy.authorize(caller, action)
            prepared = self.idempotency.keyed(caller, backend, prepared, request)
            needs_agreement = self._needs_agreement(request, backend, path)
            if needs_agreement and not await self.idempotency.is_repeat(prepared):
                effect = effect_of(offer, request.arguments)
                note = partial(self.audit.confirmation, caller, action, rule)
                raise confirmation_required(backend.name, path, effect, note)
            await self.rates.spend(caller, verb)
            if self.approvals is not None and prepared.rules.needs_approval(path):
                ask = partial(self.approvals.ask, caller, backend, action)
                return await self.idempotency.once(caller, backend, prepared, self.get, ask)
            reads = verb is Verb.CALL and offer.hints.reads
            with (
                self.audit.call(caller, action, rule, confirmed=request.confirmed) as made,
                nullcontext() if reads else logged(verb, path, backend),
            ):
                started = await self.idempotency.start(caller, backend, prepared, self.get)
                made.name = started.operation.name if started.operation is not None else ""
                made.is_repeat = started.is_repeat
            if started.operation is not None:
                self.rates.expect(caller, started.operation.name)
            return started

    def unreached(
        self, caller: Principal, among: Iterable[str] | None = None
    ) -> StatusError | None:
        """Return the error of `Catalog.unreached`, for the backends that the caller may use."""
        return self.catalog.unreached(self.backend_names(caller) if among is None else among)

    def check_backend(self, caller: Principal, offer: Offer, backend: str) -> None:
        """Raise an error if the backend that a caller names does not offer a method."""
        check_backend(self.catalog, self.views.router(caller), offer, backend)

    def close(self) -> None:
        """Fail every wait with UNAVAILABLE, because waits must not delay the gateway's stop."""
        self.shutdown.begin()
        self.watches.close()
        self.list_watches.close()

    async def _authorized(
        self, caller: Principal, verb: Verb, request: NameRequest | WaitRequest
    ) -> tuple[Backend, BackendName]:
        """Return the backend of a request, and the operation's name in that backend's form.

        Raises an error if the policy refuses the request.
        """
        backend, name, action, _ = await self._permitted(caller, verb, request)
        if self.existence is not None:
            await self.existence.check(caller, action, backend, name)
        return backend, name

    async def _permitted(
        self, caller: Principal, verb: Verb, request: NameRequest | WaitRequest
    ) -> tuple[Backend, BackendName, OperationAction, str]:
        """Return what `_authorized` returns, the action, and the rule that allows it."""
        READER.set(caller.reader)
        request = await self.short_names.resolved(caller, request, verb)
        route = self.views.router(caller).find(request.name, request.backend)
        action = self._action(verb, route)
        if verb is Verb.GET:
            # This comes before the policy, so that it tells nothing of which operations exist.
            await self.rates.read(caller, action.name)
        rule = await self.policy.authorize(caller, action)
        return self.backends[route.backend].for_caller(caller), route.name, action, rule

    def _action(self, verb: Verb, route: Route) -> OperationAction:
        """Return the action on an operation, under the operation's canonical name."""
        canonical = self.router.public_name(route.backend, route.name)
        return OperationAction(verb, route.backend, canonical)

    async def _change(self, caller: Principal, request: NameRequest, change: Change) -> None:
        """Make a change, drop the kept state, and poll the operation at once if it is watched."""
        with VerbSpan(change.verb.value, request.name) as span:
            backend, name, action, rule = await self._permitted(caller, change.verb, request)
            span.backend = backend.name
            if self._needs_agreement(request, backend, change.rpc):
                effect = change.effect.format(displayed_name(request.name))
                note = partial(self.audit.confirmation, caller, action, rule)
                raise confirmation_required(backend.name, change.rpc, effect, note)
            await self.rates.spend(caller, change.verb)
            if self.existence is not None:
                await self.existence.check(caller, action, backend, name)
            deletes = change.verb is Verb.DELETE
            self.reads.drop(backend, name, also_done=deletes)
            try:
                with (
                    self.audit.call(caller, action, rule, confirmed=request.confirmed),
                    logged(change.verb, name, backend),
                ):
                    archiving = self.archiving
                    await (archiving.delete if deletes else archiving.cancel)(backend, name)
            finally:
                self.reads.drop(backend, name, also_done=deletes)
                self.watches.expect_change(backend, name)

    def _needs_agreement(
        self, request: NameRequest | StartRequest, backend: Backend, path: str
    ) -> bool:
        return not request.confirmed and self.catalog.rules_of(backend.name).confirms(path)

"""The catalog: the methods that backends offer, each under a unique name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

from lro_gateway.backends.backend import Backend
from lro_gateway.background import BackgroundTasks, Slices, Steps
from lro_gateway.descriptors.hints import Hints, most_cautious
from lro_gateway.descriptors.methods import Method
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.errors import Code, StatusError, status_error
from lro_gateway.service.described import Declared, describing, differences
from lro_gateway.service.discovered import Discovered, OutcomeLog, discovered, outcome
from lro_gateway.service.offer_rules import OfferRules
from lro_gateway.service.tool_names import naming

VERB_NAMES: Final = frozenset(
    {"list_operations", *(f"{verb}_operation" for verb in ("get", "wait", "cancel", "delete"))}
)
"""The tool names of the five verbs."""
RESERVED_NAMES: Final = VERB_NAMES | {"search_methods", "describe_method", "call_method"}
"""The names of the tools that are no method's tool. No method may have one of these names."""

_FIRST_DISCOVERY: Final = 1.0
"""Seconds after the start of a backend's first discovery in which reads of operations wait for it.

A read waits, because its path may be a method's. It does not wait longer, because a backend that
hangs must not delay the operations of other backends.
"""
_MOMENT: Final = 0.1
"""Seconds for which callers wait longer, because a discovery begins a moment after its task."""
_BACKEND: Final = "backend"
_GLANCE: Final = 0.05
"""Seconds after which `offers_so_far` looks again what first discoveries have found."""


@dataclass(frozen=True)
class Offer:
    """A method that one or more backends offer.

    `name` is unique in the catalog. `method` is the declaration that describes it, and `types` are
    the message types of its backend. `confirm` names the backends on which a person must agree
    before the call. `recognizes_repeats` is true if a repeat with the same `request_id` has no
    further effect on any of the backends. `declared` has the method as each backend declares it, by
    the backend's name. `types_on` are its types there. `approval` names the backends on which each
    call waits for an approval.
    """

    name: str
    method: Method
    backends: tuple[str, ...]
    types: TypeSet = field(repr=False, compare=False)
    hints: Hints
    confirm: tuple[str, ...] = ()
    recognizes_repeats: bool = False
    declared: Mapping[str, Method] = field(default_factory=dict, repr=False, compare=False)
    types_on: Mapping[str, TypeSet] = field(default_factory=dict, repr=False, compare=False)
    approval: tuple[str, ...] = ()

    def on(self, backends: Iterable[str]) -> Self:
        """Return the offer of only these backends, as one of them declares it."""
        chosen = tuple(backends)
        first, method = describing([(each, self.declared[each]) for each in chosen])
        return replace(
            self,
            method=method,
            backends=chosen,
            types=self.types_on[first],
            confirm=tuple(each for each in self.confirm if each in chosen),
            approval=tuple(each for each in self.approval if each in chosen),
            declared={name: self.declared[name] for name in chosen},
        )


def backend_argument(method: Method) -> str:
    """Return the name of the argument that chooses a backend.

    The name is `backend`. If the request message has a field called `backend`, the name is
    `gateway_backend`, because one argument cannot both set that field and choose a backend. If it
    also has a field of that name, the name begins with a further `gateway_`.
    """
    names = {name for field in method.request.fields for name in (field.name, field.json_name)}
    argument = _BACKEND
    while argument in names:
        argument = f"gateway_{argument}"
    return argument


class Catalog:
    """All offers of all backends. It is rebuilt when the descriptors of a backend change."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        rules: Mapping[str, OfferRules],
        reserved: frozenset[str],
        tasks: BackgroundTasks,
        slices: Slices | None = None,
    ) -> None:
        """Prepare an empty catalog. No method may have one of the `reserved` names."""
        self._slices = slices or Slices()
        self._backends = backends
        self._tasks = tasks
        self._discoveries: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, float] = {}
        self._patience_ends: dict[str, float] = {}
        self._rules = rules
        self._reserved = reserved
        self._built_from: tuple[int, ...] = ()
        self._outcomes = OutcomeLog()
        self._differences: dict[str, list[str]] = {}
        self._offers: Mapping[str, Offer] = {}
        self._building = asyncio.Lock()

    async def offers(
        self, *, of: Iterable[str] | None = None, wait_for_all: bool = False
    ) -> Mapping[str, Offer]:
        """Return the offers by name, sorted by name.

        This method returns the same object until descriptors change. It waits for the first
        discovery of each backend, or of the backends in `of`, but for each of them only for the
        backend's `discovery_wait`. After that time it returns what is known, and the discovery goes
        on. Later discoveries run in the background, and this method waits for them, for the same
        time, only if `wait_for_all` is true.
        """
        self._start_discoveries()
        needed = self._discoveries if of is None else self._discoveries.keys() & {*of}
        await self._wait(
            name
            for name in needed
            if wait_for_all or not self._backends[name].registry.was_discovered
        )
        return await self._latest()

    async def offers_so_far(self) -> AsyncGenerator[Mapping[str, Offer]]:
        """Yield what first discoveries have found so far, until `offers` would not wait for them.

        Each time, at least half as many services again are known as before. The offers are not
        those that other methods return, because the names may still change.
        """
        self._start_discoveries()
        now = asyncio.get_running_loop().time
        seen = 0
        while running := [
            task
            for name, task in self._discoveries.items()
            if not self._backends[name].registry.was_discovered and self._ends[name] > now()
        ]:
            await asyncio.wait(running, timeout=_GLANCE)
            found = {name: each.registry.services_so_far for name, each in self._backends.items()}
            if (number := sum(map(len, found.values()))) >= max(1, 1.5 * seen):
                seen = number
                yield (await self._slices.run(self._build(found)))[0]

    async def offers_soon(self, needed: Callable[[], Iterable[str]]) -> Mapping[str, Offer]:
        """Return the offers that are known now, or shortly after the gateway's start.

        This method waits only for the first discoveries of the backends that `needed` returns, and
        only until a second after they began.
        """
        self._start_discoveries()
        first = {
            name for name in self._discoveries if not self._backends[name].registry.was_discovered
        }
        if first:
            ends = {name: self._patience_ends[name] for name in first.intersection(needed())}
            now = asyncio.get_running_loop().time()
            if ends and (left := max(ends.values()) - now) > 0:
                await asyncio.wait([self._discoveries[name] for name in ends], timeout=left)
        return await self._latest()

    async def prepare(self, backend: str) -> None:
        """Look up the methods of a backend now, if no caller has needed them yet."""
        if not self._backends[backend].registry.was_discovered:
            await self._start_discovery(backend)

    def unreached(self, among: Iterable[str] | None = None) -> StatusError | None:
        """Return an UNAVAILABLE error that names the backends with unknown methods, or None.

        A caller of an unknown method gets this error, because such a backend may have the method.
        By default it is about all backends, and otherwise about those in `among`.
        """
        asked = self._backends if among is None else among
        registries = {name: self._backends[name].registry for name in asked}
        names = [name for name, each in registries.items() if each.may_lack_services]
        if not names:
            return None
        down = [name for name in names if registries[name].was_discovered]
        slow = [name for name in names if name not in down]
        states = ((down, "cannot be reached"), (slow, "has not told all its methods yet"))
        problem = ", and ".join(f"{self._named(who)} {state}" for who, state in states if who)
        return status_error(
            Code.UNAVAILABLE,
            f"{problem}, so its methods are not known yet; try again later",
            "METHODS_NOT_KNOWN",
            metadata={"backends": ",".join(names)},
            backend=names[0],
        )

    def _named(self, names: Iterable[str]) -> str:
        return " and ".join(
            f"backend {name!r} at {self._backends[name].endpoint.target}" for name in names
        )

    @property
    def slices(self) -> Slices:
        """The slices in which long computations about offers run."""
        return self._slices

    def rules_of(self, backend: str) -> OfferRules:
        """Return the rules of a backend."""
        return self._rules[backend]

    async def discovered(self) -> Mapping[str, Discovered]:
        """Return the services and RPCs of each backend, in the order of the configuration."""
        await self.offers(wait_for_all=True)
        return {name: await self._discovered(name) for name in self._backends}

    async def _discovered(self, backend: str) -> Discovered:
        registry = self._backends[backend].registry
        # The first discovery may still be running.
        is_slow = backend in self._discoveries and not registry.was_discovered
        differing = self._differences.get(backend, ())
        return await discovered(
            registry, self._rules[backend], self._slices, is_slow=is_slow, differing=differing
        )

    async def _log_outcomes(self) -> None:
        """Log how many methods each backend offers, when this is known first or has changed."""
        for name, backend in self._backends.items():
            if backend.registry.was_discovered:
                found = await outcome(backend.registry, self._rules[name], self._slices)
                self._outcomes.note(name, found)

    def _generations(self) -> tuple[int, ...]:
        return tuple(backend.registry.generation for backend in self._backends.values())

    def _start_discoveries(self) -> None:
        """Run all due discoveries in parallel."""
        for name, backend in self._backends.items():
            if backend.registry.is_discovery_due:
                self._start_discovery(name)

    def _start_discovery(self, name: str) -> asyncio.Task[None]:
        """Return the running discovery of a backend, or start one."""
        if name not in self._discoveries:
            self._discoveries[name] = self._tasks.start(self._discover_one(name))
            now = asyncio.get_running_loop().time()
            self._ends[name] = now + self._backends[name].registry.limits.wait + _MOMENT
            self._patience_ends.setdefault(name, now + _FIRST_DISCOVERY)
        return self._discoveries[name]

    async def _wait(self, names: Iterable[str]) -> None:
        """Wait for the running discoveries of these backends, for each at most for its limit."""
        now = asyncio.get_running_loop().time
        for name in sorted(names, key=self._ends.__getitem__):
            if name in self._discoveries:
                left = max(self._ends[name] - now(), 0)
                await asyncio.wait([self._discoveries[name]], timeout=left)

    async def _latest(self) -> Mapping[str, Offer]:
        """Return the offers. Rebuild them if any descriptors have changed."""
        for name in self._discoveries:
            self._backends[name].registry.offer_known()
        if self._generations() != self._built_from:
            async with self._building:
                if (generations := self._generations()) != self._built_from:
                    built = await self._slices.run(self._build())
                    self._offers, self._differences = built
                    self._built_from = generations
                    await self._log_outcomes()
        return self._offers

    async def _discover_one(self, name: str) -> None:
        try:
            await self._backends[name].registry.discover()
        finally:
            del self._discoveries[name]
            del self._ends[name]
        await self._log_outcomes()

    def _build(
        self, services: Mapping[str, Sequence[str]] | None = None
    ) -> Steps[tuple[dict[str, Offer], dict[str, list[str]]]]:
        """Return the steps that build the offers, and what differs between backends, by backend.

        By default the offers are those of all services that the backends offer.
        """
        by_method: dict[str, list[Declared]] = {}
        for name, backend in self._backends.items():
            of = None if services is None else services[name]
            for method in (yield from backend.registry.reading(of)):
                yield
                if self._rules[name].offers(method):
                    by_method.setdefault(method.full_name, []).append((name, method))
        differing: dict[str, list[str]] = {name: [] for name in self._backends}
        for found in by_method.values():
            yield
            for name, difference in differences(found):
                differing[name].append(difference)
        described = [describing(found)[1] for found in by_method.values()]
        names_of = yield from naming(described, self._reserved)
        offers = []
        for name, found in by_method.items():
            yield
            offers.append(self._offer(names_of[name], found))
        by_name = {offer.name: offer for offer in sorted(offers, key=lambda offer: offer.name)}
        return by_name, differing

    def _offer(self, name: str, found: list[Declared]) -> Offer:
        backend, method = describing(found)
        return Offer(
            name,
            method,
            tuple(backend for backend, _ in found),
            self._backends[backend].registry.types,
            most_cautious(self._rules[each].hints_of(own) for each, own in found),
            tuple(each for each, _ in found if self._rules[each].confirms(method.path)),
            all(self._rules[each].recognizes_repeats(own) for each, own in found),
            dict(found),
            {each: self._backends[each].registry.types for each, _ in found},
            tuple(each for each, _ in found if self._rules[each].needs_approval(method.path)),
        )

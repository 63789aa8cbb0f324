"""The known message types of one backend, which its sources provide on demand."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final

from lro_gateway.background import Slices, Steps
from lro_gateway.descriptors.discovery import Discovery, announced, within
from lro_gateway.descriptors.elements import Capacity
from lro_gateway.descriptors.extensions import ExtensionNumber, Missing
from lro_gateway.descriptors.limits import DescriptorLimits
from lro_gateway.descriptors.methods import Method
from lro_gateway.descriptors.source_list import (
    FAILED_FOR,
    NOT_FOUND_FOR,
    Files,
    SourceList,
    each_of,
    unexpected_failure,
)
from lro_gateway.descriptors.sources import DescriptorSource, SourceError
from lro_gateway.descriptors.type_set import Clock, TypeSet
from lro_gateway.errors import quote
from lro_gateway.telemetry import metrics

logger: Final = logging.getLogger(__name__)

_MAX_LOOK_UPS: Final = 128
"""The maximum number of types that are looked up for one message."""

_INFRASTRUCTURE: Final = ("grpc.", "google.longrunning.Operations")
"""Prefixes of the names of services whose methods the gateway does not offer to callers."""


_REST: Final = 10.0
"""How many times as long as a look-up of services with problems the pause after it is."""


class TypeRegistry:
    """The types of one backend. Unknown types are looked up when a message needs them.

    `sources` are tried in order, and googleapis-common-protos last. The registry keeps each type
    that was found. A type that was not found is not looked up again for some time. `clock` returns
    seconds. Declarations beyond the `limits` are left out. Long computations run in `slices`.
    """

    def __init__(
        self,
        backend: str,
        sources: Sequence[DescriptorSource],
        *,
        clock: Clock = time.monotonic,
        limits: DescriptorLimits | None = None,
        slices: Slices | None = None,
        capacity: Capacity | None = None,
    ) -> None:
        self.limits = limits or DescriptorLimits()
        self.slices = slices or Slices()
        self._capacity = capacity or Capacity()
        self._backend = backend
        self._sources = SourceList(sources, clock, self.slices)
        self._clock = clock
        self._lock = asyncio.Lock()
        self._adding = asyncio.Lock()
        self._discovering = asyncio.Lock()
        self._discovery: Discovery | None = None
        self._found: dict[Missing, DescriptorSource] = {}
        self._logged: set[Missing] = set()
        self.services: tuple[str, ...] = ()
        self.problems: tuple[str, ...] = ()
        self.without_services: tuple[str, ...] = ()
        """The labels of the sources that have no services, and so bring messages alone."""
        self.is_unreached = False
        """Whether some services are unknown because a source failed that may succeed later."""
        self.is_incomplete = asyncio.Event()
        """Set while declarations are left out because a look-up failed that may succeed later."""
        self._discover_from = -math.inf
        self.types = TypeSet(clock, self._capacity)
        self.generation = 0

    async def ensure(self, names: Collection[Missing]) -> None:
        """Look up the unknown types and extensions in `names`. Does not raise if one is missing."""
        async with self._lock:
            for name in names:
                if not self.types.is_missed(name) and not self.types.has(name):
                    source, problems = await self._find(self.types, name)
                    if source is not None:
                        self._found[name] = source
                    else:
                        self._miss(name, problems)

    async def complete(
        self, unresolved: Callable[[TypeSet], Collection[Missing]], size: int = 0
    ) -> TypeSet:
        """Look up the types and extensions that `unresolved` returns, and return the known types.

        `unresolved` is called again after each round of look-ups, because an Any may hold a message
        with further Anys. Each of them is looked up at most once. At most 128 are looked up,
        because a message may name any number of types. `size` is the size of the message in bytes.
        """
        looked_up: set[Missing] = set()
        while True:
            types = self.types
            found = await self._capacity.run(size, partial(unresolved, types))
            unknown = (name for name in found if name not in looked_up)
            names = sorted((name for name in unknown if not types.is_missed(name)), key=str)
            names = names[: _MAX_LOOK_UPS - len(looked_up)]
            if not names:
                return types
            looked_up.update(names)
            await self.ensure(names)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the configured sources."""
        return tuple(source.label for source in self._sources.configured)

    @property
    def was_discovered(self) -> bool:
        """Whether the services were looked up at least once, with any outcome."""
        return self._discover_from > -math.inf

    @property
    def is_discovery_due(self) -> bool:
        """Whether `discover` would look up the services."""
        return self._discover_from <= self._clock()

    @property
    def may_lack_services(self) -> bool:
        """Whether services are unknown that a running or a later look-up may find."""
        return self.is_unreached or not self.was_discovered

    async def discover(self) -> None:
        """Look up the services at the configured sources, and add their types. Never raises.

        The result is in `services`, `types` and `problems`. A further call does nothing, unless a
        source failed in the last look-up and at least `FAILED_FOR` seconds have passed. In that
        case all services are looked up again. `generation` increases by one if the services have
        changed.
        """
        async with self._discovering:
            if not self.is_discovery_due:
                return
            began = self._clock()
            self._discovery = running = Discovery(began, began + self.limits.wait)
            problems: Sequence[object] = ["the look-up of services was cancelled"]
            services = self.services
            try:
                services, problems = await self._discover(self.types, running)
                self.is_unreached = any(problem.is_transient for problem in problems)
            finally:
                self._discovery = None
                self.problems = tuple(str(problem) for problem in problems)
                now = self._clock()
                pause = max(FAILED_FOR, _REST * (now - began))
                self._discover_from = now + pause if problems else math.inf
            self._offer(services)

    def offer_known(self) -> None:
        """Offer what a first look-up has found, if it has run for longer than callers wait.

        It does so again after twice the time, and so on, because callers rebuild their lists.
        """
        running, now = self._discovery, self._clock()
        if running is not None and not self.was_discovered and now >= running.offers_at:
            running.offers_at = now + (now - running.began)
            self._offer(tuple(running.found))

    def _offer(self, services: tuple[str, ...]) -> None:
        if services != self.services:
            self.services = services
            self.generation += 1

    @property
    def services_so_far(self) -> tuple[str, ...]:
        """The services, or those that the first look-up has found so far."""
        running = self._discovery
        if running is not None and not self.was_discovered:
            return tuple(running.found)
        return self.services

    def reading(self, services: Sequence[str] | None = None) -> Steps[list[Method]]:
        """Return the steps that read the unary methods of all services, up to the limit.

        If `services` are given, only their methods are read.
        """
        methods: list[Method] = []
        for service in self.services if services is None else services:
            try:
                methods += (yield from self.types.reading(service)).unary
            except Exception:
                # An unreadable service must not hide the methods of other services and backends.
                logger.exception("backend %s: service %s cannot be read", self._backend, service)
            if len(methods) >= self.limits.methods:
                break
        return methods[: self.limits.methods]

    async def _discover(
        self, types: TypeSet, running: Discovery
    ) -> tuple[tuple[str, ...], list[SourceError]]:
        """Add the types of all services to a set. Return the services and the errors."""
        names: dict[str, None] = {}
        problems: list[SourceError] = []
        bare: list[str] = []
        for source in self._sources.configured:
            try:
                services = await source.services()
            except SourceError as error:
                problems.append(error)
                logger.warning("backend %s: its services are not known: %s", self._backend, error)
            except Exception as error:  # noqa: BLE001 - unexpected_failure logs it
                problems.append(unexpected_failure(f"services of {self._backend}", error))
            else:
                offered = [name for name in services if not name.startswith(_INFRASTRUCTURE)]
                bare += [] if offered else [source.label]
                # The first source that knows a service wins, as for a type.
                services = [name for name in dict.fromkeys(offered) if name not in running.found]
                services = self._limited(services, self.limits.services - len(names), types)
                names.update(dict.fromkeys(services))
                problems += await self._add_services(types, source, services, running)
        self.without_services = tuple(bare)
        lacking = await self.slices.run(announced(types, running.found))
        for where, failures in await each_of(lacking, lambda name: self._find(types, name)):
            if where is None and any(failure.is_transient for failure in failures):
                self.is_incomplete.set()
        return tuple(name for name in names if name in running.found), problems

    def _limited(self, services: list[str], room: int, types: TypeSet) -> list[str]:
        """Return the services for which there is room within the limit."""
        if len(services) > room:
            number = self.limits.services
            self._note(types, f"more than {number} services", "max_services")
        return services[: max(room, 0)]

    def _note(self, types: TypeSet, what: str, setting: str) -> None:
        """Record and log that descriptors exceed a limit."""
        problem = f"the backend has {what}, and the gateway leaves out the rest; raise {setting}"
        types.note(problem)
        if problem not in self._logged:
            logger.warning("backend %s: %s", self._backend, problem)
            self._logged.add(problem)

    async def _add_services(
        self,
        types: TypeSet,
        source: DescriptorSource,
        services: Sequence[str],
        running: Discovery,
    ) -> list[SourceError]:
        """Add the types of services to a set, and return an error for each look-up that failed."""
        problems: dict[str, SourceError] = {}

        async def look_up(service: str) -> SourceError | None:
            if running.methods > self.limits.methods:
                return None
            try:
                files = await self._sources.find(source, service, types)
                await self._add(types, [file for file in files if file not in running.added])
                running.added.update(files)
                rpcs = await self.slices.run(types.reading(service))
            except SourceError as error:
                return error
            except Exception as error:  # noqa: BLE001 - unexpected_failure logs it
                return unexpected_failure(service, error)
            running.methods += len(rpcs.unary)
            running.found[service] = None
            return None

        outcomes = await each_of(services, look_up)
        for service, outcome in zip(services, outcomes, strict=True):
            if outcome is not None and str(outcome) not in problems:
                # If a source is unavailable, the look-ups of all its services fail alike.
                details = (self._backend, quote(service), outcome)
                logger.warning("backend %s: service %s is not known: %s", *details)
                problems[str(outcome)] = outcome
        if running.methods > (most := self.limits.methods):
            self._note(types, f"more than {most} unary RPCs", "max_methods")
        return list(problems.values())

    async def _find(
        self, types: TypeSet, name: Missing
    ) -> tuple[DescriptorSource | None, list[SourceError]]:
        """Add a type or an extension to a set. Return its source and the errors of other sources.

        The source is None if no source has the type or extension.
        """
        problems: list[SourceError] = []
        for source in self._sources:
            try:
                files = await self._sources.find(source, name, types)
                left_out = await self._add(types, files)
            except SourceError as error:
                problems.append(error)
                continue
            except Exception as error:  # noqa: BLE001 - unexpected_failure logs it
                problems.append(unexpected_failure(str(name), error))
                continue
            if types.has(name):
                return source, problems
            problems += [SourceError(f"{source.label}: {problem}") for problem in left_out]
        return None, problems

    async def _add(self, types: TypeSet, files: Files) -> list[str]:
        """Add files to a set, and log each problem that was not logged before."""
        async with self._adding:
            problems = await self.slices.run(
                types.adding(within(self.limits, files, types, partial(self._note, types)))
            )
        if problems and self._sources.lacks_files:
            self.is_incomplete.set()
        for problem in problems:
            if problem not in self._logged:
                logger.warning("backend %s: descriptors: %s", self._backend, problem)
        self._logged.update(problems)
        return problems

    def _miss(self, name: Missing, problems: Sequence[SourceError]) -> None:
        wanted = f"no descriptor of {name}"
        if problems:
            reasons = "; ".join(str(problem) for problem in problems)
            self.types.miss(name, f"{wanted}: {reasons}", FAILED_FOR)
        else:
            labels = ", ".join(source.label for source in self._sources)
            self.types.miss(name, f"{wanted} in {labels}", NOT_FOUND_FOR)
        if isinstance(name, ExtensionNumber) and name not in self._logged:
            self._logged.add(name)
            text = self.types.why_missing(name)
            logger.warning("backend %s: answers lack an extension: %s", self._backend, text)

    async def refresh(self) -> bool:
        """Look up all known types and services again, and return whether any has changed.

        If a source fails or a type is no longer found, the old types and services are kept.
        """
        async with self._discovering:
            return await self._refresh()

    async def _refresh(self) -> bool:
        self.slices.drop()
        is_complete = not (self.problems or self.is_incomplete.is_set())
        if is_complete and await self._sources.are_unchanged():
            metrics.REFRESHES.add(self._backend, "unchanged")
            return False
        self._sources.forget()
        self.is_incomplete.clear()
        fresh = TypeSet(self._clock, self._capacity)
        found: dict[Missing, DescriptorSource] = {}
        lost: list[str] = []
        services = self.services
        if self.was_discovered:
            running = Discovery(began := self._clock(), began)
            services, problems = await self._discover(fresh, running)
            lost += [str(problem) for problem in problems]
        lost += await self._find_again(fresh, found)
        async with self._lock:
            # During the look-ups above, calls may have added types. Look these up too. The lock now
            # prevents calls from adding further types.
            lost += await self._find_again(fresh, found)
            changed = not lost and (fresh.files, services) != (self.types.files, self.services)
            if changed:
                self.slices.drop_later()
                self.types, self._found, self.services = fresh, found, services
                self.generation += 1
            self.is_unreached = self.is_unreached and bool(lost)
        outcome = "failed" if lost else "changed" if changed else "unchanged"
        metrics.REFRESHES.add(self._backend, outcome)
        if lost:
            logger.warning("backend %s: the old descriptors are kept: %s", self._backend, lost[0])
        elif changed:
            logger.info("backend %s: the descriptors have changed", self._backend)
        return changed

    async def _find_again(
        self, fresh: TypeSet, found: dict[Missing, DescriptorSource]
    ) -> list[str]:
        """Look up all known types that `found` lacks, and return why some were not found.

        A type also counts as not found if a source failed and another source than before has it.
        """
        lost = []
        for name in sorted(self._found.keys() - found.keys(), key=_order):
            source, problems = await self._find(fresh, name)
            if source is None or (problems and source is not self._found[name]):
                reasons = "; ".join(str(problem) for problem in problems) or "no source has it"
                lost.append(f"{name}: {reasons}")
            found[name] = source or self._found[name]
        return lost


def _order(name: Missing) -> tuple[bool, str]:
    """Sort types before extensions, because an extension is found only if its type is known."""
    return isinstance(name, ExtensionNumber), str(name)

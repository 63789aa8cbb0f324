"""A backend's message types: found in its sources at the moment of need, and refreshed."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from lro_gateway import telemetry
from lro_gateway.descriptors.sources import (
    COMMON_PROTOS,
    DescriptorSource,
    SourceError,
    SourceUnavailableError,
    SourceUnreachableError,
)
from lro_gateway.descriptors.type_set import Clock, Miss, TypeSet
from lro_gateway.errors import quote

logger: Final = logging.getLogger(__name__)

_MAX_ASKED: Final = 128
"""The most types that are asked for on behalf of one message."""

_INFRASTRUCTURE: Final = ("grpc.", "google.longrunning.Operations")
"""Services of every backend, which are not what it is for."""

NOT_FOUND_FOR: Final = 60.0
"""Seconds for which a type that no source knows is not asked for again."""
FAILED_FOR: Final = 5.0
"""Seconds for which a type is not asked for again after a source failed to answer."""


class TypeRegistry:
    """A backend's types: found in its pool, else asked of its sources at the moment of need.

    `sources` are asked in order; googleapis-common-protos and the well-known types always come
    last. What was found and what was not is remembered.
    """

    def __init__(
        self,
        backend: str,
        sources: Sequence[DescriptorSource],
        *,
        clock: Clock = time.monotonic,
    ) -> None:
        self._backend = backend
        self._sources: tuple[DescriptorSource, ...] = (*sources, COMMON_PROTOS)
        self._clock = clock
        self._lock = asyncio.Lock()
        self._found: dict[str, DescriptorSource] = {}
        self._unavailable: dict[DescriptorSource, Miss] = {}
        self.services: tuple[str, ...] = ()
        self.problems: tuple[str, ...] = ()
        self.is_unreached = False
        """Whether no services are known because a source did not answer, which it may do later."""
        self._discover_from = -math.inf
        self.types = TypeSet(clock)
        self.generation = 0

    async def ensure(self, names: Collection[str]) -> None:
        """Try to make these message types known; never raises for one that cannot be found."""
        async with self._lock:
            for name in names:
                if not self.types.is_missed(name) and self.types.message_class(name) is None:
                    source, problems = await self._find(self.types, name)
                    if source is not None:
                        self._found[name] = source
                    else:
                        self._miss(name, problems)

    async def complete(self, unresolved: Callable[[TypeSet], Collection[str]]) -> TypeSet:
        """Fetch types until `unresolved(types)` names none that can still be found; return the set.

        Each round can show new ones, since an Any may hold a message with Anys of its own. No type
        is asked for twice, and no more than `_MAX_ASKED`: a message may name any number of them.
        """
        asked: set[str] = set()
        while True:
            types = self.types
            unknown = (name for name in unresolved(types) if name not in asked)
            wanted = sorted(name for name in unknown if not types.is_missed(name))
            wanted = wanted[: _MAX_ASKED - len(asked)]
            if not wanted:
                return types
            asked.update(wanted)
            await self.ensure(wanted)

    @property
    def was_discovered(self) -> bool:
        """Whether the sources have been asked for their services, whatever they said."""
        return self._discover_from > -math.inf

    @property
    def is_discovery_due(self) -> bool:
        """Whether `discover` would ask the sources."""
        return self._discover_from <= self._clock()

    async def discover(self) -> None:
        """Ask the sources for their `services`, whose types are in `types` then; never raises.

        Once; when a source failed, as `problems` tell, all are asked again after `FAILED_FOR`.
        `generation` tells when services or types have changed.
        """
        async with self._lock:
            if self.is_discovery_due:
                problems: Sequence[object] = ["it did not end"]
                try:
                    services, problems = await self._discover(self.types)
                    unreachable = any(isinstance(p, SourceUnreachableError) for p in problems)
                    self.is_unreached = unreachable and not services
                finally:
                    self.problems = tuple(str(problem) for problem in problems)
                    self._discover_from = self._clock() + FAILED_FOR if problems else math.inf
                if services != self.services:
                    self.services = services
                    self.generation += 1

    async def _discover(self, types: TypeSet) -> tuple[tuple[str, ...], list[SourceError]]:
        """Return the services of all sources, and what went wrong on the way."""
        found: dict[str, None] = {}
        problems: list[SourceError] = []
        for source in self._sources[:-1]:
            try:
                services = await source.services()
            except SourceError as error:
                problems.append(error)
                logger.warning("backend %s: services not known: %s", self._backend, error)
            else:
                services = [name for name in services if not name.startswith(_INFRASTRUCTURE)]
                had, failed = await self._add_services(types, source, services)
                found.update(dict.fromkeys(had))
                problems += failed
        for service in found:
            for method in types.methods_of(service):
                for name in (method.response_type, method.metadata_type):
                    if name and types.message_class(name) is None:
                        await self._find(types, name)
        return tuple(found), problems

    async def _add_services(
        self, types: TypeSet, source: DescriptorSource, services: Sequence[str]
    ) -> tuple[list[str], list[SourceError]]:
        """Return the services that could be had; one that cannot does not take the others along."""
        had: list[str] = []
        problems: list[SourceError] = []
        for service in services:
            try:
                types.add(await self._ask(source, service))
            except SourceError as error:
                problems.append(error)
                told = (self._backend, quote(service), error)
                logger.warning("backend %s: service %s not known: %s", *told)
                if isinstance(error, SourceUnavailableError):
                    break
            else:
                had.append(service)
        return had, problems

    async def _find(
        self, types: TypeSet, name: str
    ) -> tuple[DescriptorSource | None, list[SourceError]]:
        """Return the source that a type was found at, and what went wrong on the way."""
        problems: list[SourceError] = []
        for source in self._sources:
            try:
                left_out = types.add(await self._ask(source, name))
            except SourceError as error:
                problems.append(error)
                continue
            if types.message_class(name) is not None:
                return source, problems
            problems += [SourceError(f"{source.label}: {problem}") for problem in left_out]
        return None, problems

    async def _ask(self, source: DescriptorSource, name: str) -> Sequence[FileDescriptorProto]:
        """Ask a source, but not again at once when it lately did not answer at all."""
        unavailable = self._unavailable.get(source)
        if unavailable and unavailable.until > self._clock():
            raise SourceUnavailableError(unavailable.reason)
        try:
            return await source.find(name)
        except SourceUnavailableError as error:
            self._unavailable[source] = Miss(str(error), self._clock() + FAILED_FOR)
            raise

    def _miss(self, name: str, problems: Sequence[SourceError]) -> None:
        if problems:
            told = "; ".join(str(problem) for problem in problems)
            self.types.miss(name, f"no descriptor of {name}: {told}", FAILED_FOR)
        else:
            known_to = ", ".join(source.label for source in self._sources)
            self.types.miss(name, f"no descriptor of {name} in {known_to}", NOT_FOUND_FOR)

    async def refresh(self) -> bool:
        """Fetch anew every type found so far; return whether anything changed.

        The last good set is kept when a source fails or a type is gone.
        """
        fresh = TypeSet(self._clock)
        found: dict[str, DescriptorSource] = {}
        lost: list[str] = []
        services = self.services
        if self.was_discovered:
            services, problems = await self._discover(fresh)
            lost += [str(problem) for problem in problems]
        lost += await self._find_again(fresh, found)
        async with self._lock:
            # Those that calls have met in the meantime; from here on they wait.
            lost += await self._find_again(fresh, found)
            changed = not lost and (fresh.files, services) != (self.types.files, self.services)
            if changed:
                self.types, self._found, self.services = fresh, found, services
                self.generation += 1
        outcome = "failed" if lost else "changed" if changed else "unchanged"
        telemetry.REFRESHES.add(1, {"backend": self._backend, "outcome": outcome})
        if lost:
            logger.warning("backend %s: descriptors kept as they were: %s", self._backend, lost[0])
        elif changed:
            logger.info("backend %s: descriptors changed", self._backend)
        return changed

    async def _find_again(self, fresh: TypeSet, found: dict[str, DescriptorSource]) -> list[str]:
        """Find what `found` lacks; return why each type was lost, or was replaced in a failure."""
        lost = []
        for name in sorted(self._found.keys() - found.keys()):
            source, problems = await self._find(fresh, name)
            if source is None or (problems and source is not self._found[name]):
                told = "; ".join(str(problem) for problem in problems) or "it is gone"
                lost.append(f"{name}: {told}")
            found[name] = source or self._found[name]
        return lost

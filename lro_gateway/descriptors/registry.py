"""One pool of message types per backend, filled as types are met."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from lro_gateway import telemetry
from lro_gateway.descriptors.comments import Comments
from lro_gateway.descriptors.methods import Method
from lro_gateway.descriptors.sources import (
    COMMON_PROTOS,
    WELL_KNOWN_FILES,
    DescriptorSource,
    SourceError,
    SourceUnavailableError,
    SourceUnreachableError,
)
from lro_gateway.errors import quote

logger: Final = logging.getLogger(__name__)

ANY: Final = "google.protobuf.Any"
_UNBOUNDED: Final = frozenset(
    {"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"}
)
_TYPE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*\Z", re.ASCII)
_MAX_TYPE_NAME: Final = 512
_MAX_MISSES: Final = 1024
_MAX_ASKED: Final = 128
"""The most types that are asked for on behalf of one message."""
_DEEP: Final = 32
"""A type whose JSON cannot nest deeper than this needs no counting."""

_INFRASTRUCTURE: Final = ("grpc.", "google.longrunning.Operations")
"""Services of every backend, which are not what it is for."""

NOT_FOUND_FOR: Final = 60.0
"""Seconds for which a type that no source knows is not asked for again."""
FAILED_FOR: Final = 5.0
"""Seconds for which a type is not asked for again after a source failed to answer."""


def type_name(type_url: str) -> str:
    """Return the full message name in an Any's type URL: what follows the last slash."""
    return type_url.rpartition("/")[2]


def descriptor_of(message: Message) -> Descriptor:
    """Return a message's descriptor, by the type that the rest of the code knows."""
    # Of the class: on the message a field of this name would hide it.
    return cast("Descriptor", type(message).DESCRIPTOR)


def value_type(field: FieldDescriptor) -> Descriptor | None:
    """Return the message type that a field holds; of a map field its values'; None of a scalar."""
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        message = message.fields_by_name["value"].message_type
    return message


Clock = Callable[[], float]
"""Tells seconds that only grow."""


@dataclass(frozen=True, slots=True)
class _Miss:
    reason: str
    until: float


@dataclass(frozen=True, slots=True)
class Traits:
    """What is worth knowing of a message type, and of all that its fields can hold.

    `reaches_any`: an Any may be inside. `nests_deep`: there is no limit to nesting, or a high one.
    `unchecked_text`: a string field may hold bytes that are not UTF-8, as proto2 lets it.
    `shadow`: a field that hides an attribute of Python's messages, such as DESCRIPTOR; or empty.
    """

    reaches_any: bool
    nests_deep: bool
    unchecked_text: bool
    shadow: str


class TypeSet:
    """Message types in one pool, with what is worth knowing of each.

    Types are only ever added. A refresh makes a new set; an operation keeps its own.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._pool = DescriptorPool()
        self._clock = clock
        self._files: dict[str, bytes] = {}
        self._classes: dict[str, type[Message]] = {}
        # By descriptor, not by name: an answer's own messages are of the default pool.
        self._traits: dict[Descriptor, Traits] = {}
        self._checked_text: dict[FileDescriptor, bool] = {}
        self._misses: dict[str, _Miss] = {}
        self._comments = Comments.of({})
        self._left_out: dict[str, str] = {}
        self.add(WELL_KNOWN_FILES)

    def add(self, files: Iterable[FileDescriptorProto]) -> list[str]:
        """Add files, dependencies first, and return why any was left out.

        A file of the same name stays as it is; one that clashes is left out.
        """
        problems = []
        for file in files:
            if file.name in self._files:
                continue
            content = file.SerializeToString(deterministic=True)
            try:
                self._pool.AddSerializedFile(content)
            except (TypeError, ValueError) as error:
                # TypeError is the pool's one exception for every conflict, ValueError comes of text
                # that is not UTF-8; types of other files stay usable.
                problems.append(f"{quote(file.name)} was left out: {quote(str(error), 300)}")
                logger.warning("descriptor file %s", problems[-1])
                self._left_out[file.name] = problems[-1]
                continue
            self._files[file.name] = content
            self._left_out.pop(file.name, None)
        return problems

    @property
    def files(self) -> dict[str, bytes]:
        """The files that are in the pool, by name."""
        return dict(self._files)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Why each file that is not in the pool was left out."""
        return tuple(self._left_out.values())

    def methods_of(self, service: str) -> tuple[Method, ...]:
        """Return the unary methods of a service in its file's order; none if it is unknown."""
        try:
            descriptor = self._pool.FindServiceByName(service)
        except KeyError:
            return ()
        return tuple(
            method for each in descriptor.methods if (method := Method.of(each)) is not None
        )

    def streaming_methods_of(self, service: str) -> tuple[str, ...]:
        """Return the full names of a service's streaming methods, which cannot be offered."""
        try:
            descriptor = self._pool.FindServiceByName(service)
        except KeyError:
            return ()
        return tuple(each.full_name for each in descriptor.methods if Method.of(each) is None)

    @property
    def comments(self) -> Comments:
        """The comments of the files that carry them."""
        if len(self._comments.files) != len(self._files):
            self._comments = self._comments.and_of(self._files)
        return self._comments

    def message_class(self, name: str) -> type[Message] | None:
        """Return the class of a message type, or None if the set lacks it."""
        known = self._classes.get(name)
        if known is None:
            try:
                descriptor = self._pool.FindMessageTypeByName(name)
            except (KeyError, TypeError):
                # A TypeError is what the pool makes of a lone surrogate.
                return None
            known = self._classes[name] = class_of(descriptor)
        return known

    def traits(self, descriptor: Descriptor) -> Traits:
        """Return what is worth knowing of a message type, of this pool or another."""
        known = self._traits.get(descriptor)
        if known is None:
            reachable = _reachable(descriptor)
            known = self._traits[descriptor] = Traits(
                reaches_any=any(t.full_name == ANY or t.is_extendable for t in reachable),
                nests_deep=_nests_deep(reachable),
                unchecked_text=not all(self._has_checked_text(t.file) for t in reachable),
                shadow=next((f.name for t in reachable for f in t.fields if _is_shadow(f)), ""),
            )
        return known

    def _has_checked_text(self, file: FileDescriptor) -> bool:
        known = self._checked_text.get(file)
        if known is None:
            syntax = FileDescriptorProto.FromString(file.serialized_pb).syntax
            known = self._checked_text[file] = syntax == "proto3"
        return known

    def miss(self, name: str, reason: str, seconds: float) -> None:
        """Remember that a type could not be found, and why, for so long."""
        self._misses.pop(name, None)
        if len(self._misses) >= _MAX_MISSES:
            self._misses.pop(next(iter(self._misses)))
        self._misses[name] = _Miss(reason, self._clock() + seconds)

    def is_missed(self, name: str) -> bool:
        """Tell whether a type was looked for in vain lately, or cannot be one."""
        miss = self._misses.get(name)
        return (miss is not None and miss.until > self._clock()) or not _is_type_name(name)

    def why_missing(self, name: str) -> str:
        """Say why a type is not in the set."""
        if not _is_type_name(name):
            return "its type URL does not end in a message name"
        miss = self._misses.get(name)
        return miss.reason if miss else "no descriptor of it was found"


def class_of(descriptor: Descriptor) -> type[Message]:
    """Return a message type's class."""
    try:
        return message_factory.GetMessageClass(descriptor)
    except RecursionError:
        # It goes on to the types of all fields, which may nest deeper than Python's stack. This
        # type's own class was made first, and inner ones are made when they are met.
        return message_factory.GetMessageClass(descriptor)


def _is_type_name(name: str) -> bool:
    return len(name) <= _MAX_TYPE_NAME and _TYPE_NAME.match(name) is not None


def _is_shadow(field: FieldDescriptor) -> bool:
    return hasattr(Message, field.name)


def _inner_types(descriptor: Descriptor) -> Iterator[Descriptor]:
    return (inner for field in descriptor.fields if (inner := value_type(field)) is not None)


def _reachable(root: Descriptor) -> list[Descriptor]:
    """Return a type and all that its fields can hold, each after those that it alone can hold."""
    opened: set[str] = {root.full_name}
    closed: list[Descriptor] = []
    # Depth first with a stack of our own: a backend's types may nest deeper than Python's stack.
    stack = [(root, _inner_types(root))]
    while stack:
        descriptor, pending = stack[-1]
        inner = next(pending, None)
        if inner is None:
            closed.append(descriptor)
            stack.pop()
        elif inner.full_name not in opened:
            opened.add(inner.full_name)
            stack.append((inner, _inner_types(inner)))
    return closed


def _nests_deep(closed: Sequence[Descriptor]) -> bool:
    """Tell whether JSON of the last of these types, as `_reachable` gives them, may nest deep."""
    heights: dict[str, float] = {}
    for descriptor in closed:
        # Extensions of a message are not known from its descriptor, so they may hold anything.
        endless = descriptor.full_name in _UNBOUNDED or descriptor.is_extendable
        height = math.inf if endless else 1.0
        for field in descriptor.fields:
            if (inner := value_type(field)) is not None:
                # What is not closed yet holds this type in turn.
                below = heights.get(inner.full_name, math.inf)
                height = max(height, 1 + below + bool(field.is_repeated))
        heights[descriptor.full_name] = height
    return heights[closed[-1].full_name] > _DEEP


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
        self._unavailable: dict[DescriptorSource, _Miss] = {}
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
            self._unavailable[source] = _Miss(str(error), self._clock() + FAILED_FOR)
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

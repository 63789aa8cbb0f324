"""One pool of message types per backend, filled as types are met."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from lro_gateway import telemetry
from lro_gateway.descriptors.sources import (
    COMMON_PROTOS,
    WELL_KNOWN_FILES,
    DescriptorSource,
    SourceError,
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

NOT_FOUND_FOR: Final = 60.0
"""Seconds for which a type that no source knows is not asked for again."""
FAILED_FOR: Final = 5.0
"""Seconds for which a type is not asked for again after a source failed to answer."""


def type_name(type_url: str) -> str:
    """Return the full message name in an Any's type URL: what follows the last slash."""
    return type_url.rpartition("/")[2]


def descriptor_of(message: Message) -> Descriptor:
    """Return a message's descriptor, by the type that the rest of the code knows."""
    return cast("Descriptor", message.DESCRIPTOR)


def value_type(field: FieldDescriptor) -> Descriptor | None:
    """Return the message type that a field holds; of a map field its values'; None of a scalar."""
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        message = message.fields_by_name["value"].message_type
    return message


@dataclass(frozen=True, slots=True)
class _Miss:
    reason: str
    until: float


class TypeSet:
    """Message types in one pool, with what is worth knowing of each.

    Types are only ever added. A refresh makes a new set; an operation keeps its own.
    """

    def __init__(self) -> None:
        self._pool = DescriptorPool()
        self._files: dict[str, bytes] = {}
        self._classes: dict[str, type[Message]] = {}
        self._traits: dict[str, tuple[bool, bool]] = {}
        self._misses: dict[str, _Miss] = {}
        self.add(WELL_KNOWN_FILES)

    def add(self, files: Iterable[FileDescriptorProto]) -> None:
        """Add files, dependencies first. A file of the same name stays; a clash is left out."""
        for file in files:
            if file.name in self._files:
                continue
            content = file.SerializeToString(deterministic=True)
            try:
                self._pool.AddSerializedFile(content)
            except TypeError as error:
                # The pool's one exception for every conflict; types of other files stay usable.
                logger.warning("descriptor file %s was left out: %s", quote(file.name), error)
                continue
            self._files[file.name] = content

    @property
    def files(self) -> dict[str, bytes]:
        """The files that are in the pool, by name."""
        return dict(self._files)

    def message_class(self, name: str) -> type[Message] | None:
        """Return the class of a message type, or None if the set lacks it."""
        known = self._classes.get(name)
        if known is None:
            try:
                descriptor = self._pool.FindMessageTypeByName(name)
            except KeyError:
                return None
            known = self._classes[name] = message_factory.GetMessageClass(descriptor)
        return known

    def reaches_any(self, descriptor: Descriptor) -> bool:
        """Tell whether a message of this type may hold an Any, however deep."""
        return self._traits_of(descriptor)[0]

    def is_unbounded(self, descriptor: Descriptor) -> bool:
        """Tell whether a message of this type may nest without limit."""
        return self._traits_of(descriptor)[1]

    def _traits_of(self, descriptor: Descriptor) -> tuple[bool, bool]:
        known = self._traits.get(descriptor.full_name)
        if known is None:
            known = self._traits[descriptor.full_name] = _traits(descriptor)
        return known

    def miss(self, name: str, reason: str, seconds: float) -> None:
        """Remember that a type could not be found, and why, for so long."""
        if len(self._misses) >= _MAX_MISSES:
            self._misses.pop(next(iter(self._misses)))
        self._misses[name] = _Miss(reason, time.monotonic() + seconds)

    def is_missed(self, name: str) -> bool:
        """Tell whether a type was looked for in vain lately."""
        miss = self._misses.get(name)
        return miss is not None and miss.until > time.monotonic()

    def why_missing(self, name: str) -> str:
        """Say why a type is not in the set."""
        miss = self._misses.get(name)
        return miss.reason if miss else "no descriptor of it was found"


def _traits(root: Descriptor) -> tuple[bool, bool]:
    """Return whether Any is reachable from a type, and whether its nesting has no limit."""
    reaches_any = unbounded = False
    on_path: dict[str, bool] = {}
    # Depth first with a stack of our own: a backend's types may nest deeper than Python's stack.
    stack = [(root.full_name, iter([root]))]
    while stack:
        owner, pending = stack[-1]
        descriptor = next(pending, None)
        if descriptor is None:
            on_path[owner] = False
            stack.pop()
        elif (name := descriptor.full_name) in on_path:
            unbounded |= on_path[name]
        else:
            on_path[name] = True
            # Extensions of a message are not known from its descriptor, so they may hold anything.
            reaches_any |= name == ANY or descriptor.is_extendable
            unbounded |= name in _UNBOUNDED or descriptor.is_extendable
            inner = [t for field in descriptor.fields if (t := value_type(field)) is not None]
            stack.append((name, iter(inner)))
    return reaches_any, unbounded


class TypeRegistry:
    """A backend's types: found in its pool, else asked of its sources at the moment of need.

    `sources` are asked in order; googleapis-common-protos and the well-known types always come
    last. What was found and what was not is remembered.
    """

    def __init__(self, backend: str, sources: Sequence[DescriptorSource]) -> None:
        self._backend = backend
        self._sources = (*sources, COMMON_PROTOS)
        self._lock = asyncio.Lock()
        self._found: set[str] = set()
        self.types = TypeSet()

    async def ensure(self, names: Collection[str]) -> None:
        """Try to make these message types known; never raises for one that cannot be found."""
        async with self._lock:
            for name in names:
                if not self.types.is_missed(name) and self.types.message_class(name) is None:
                    await self._find(self.types, name)

    async def complete(self, unresolved: Callable[[TypeSet], Collection[str]]) -> TypeSet:
        """Fetch types until `unresolved(types)` names none that can still be found; return the set.

        Each round can show new ones, since an Any may hold a message with Anys of its own.
        """
        while True:
            types = self.types
            wanted = [name for name in unresolved(types) if not types.is_missed(name)]
            if not wanted:
                return types
            await self.ensure(wanted)

    async def _find(self, types: TypeSet, name: str) -> None:
        if len(name) > _MAX_TYPE_NAME or not _TYPE_NAME.match(name):
            types.miss(name, "its type URL does not end in a message name", NOT_FOUND_FOR)
            return
        failures = []
        for source in self._sources:
            try:
                types.add(await source.find(name))
            except SourceError as error:
                failures.append(str(error))
            if types.message_class(name) is not None:
                self._found.add(name)
                return
        if failures:
            types.miss(name, f"no descriptor of {name}: {'; '.join(failures)}", FAILED_FOR)
        else:
            known_to = ", ".join(source.label for source in self._sources)
            types.miss(name, f"no descriptor of {name} in {known_to}", NOT_FOUND_FOR)

    async def refresh(self) -> bool:
        """Fetch anew every type found so far; return whether anything changed.

        The last good set is kept when a source fails or a type is gone.
        """
        fresh = TypeSet()
        for name in sorted(self._found):
            await self._find(fresh, name)
        lost = sorted(name for name in self._found if fresh.message_class(name) is None)
        changed = fresh.files != self.types.files
        outcome = "failed" if lost else "changed" if changed else "unchanged"
        telemetry.REFRESHES.add(1, {"backend": self._backend, "outcome": outcome})
        if lost:
            reason = fresh.why_missing(lost[0])
            logger.warning("backend %s: descriptors kept as they were: %s", self._backend, reason)
            return False
        if changed:
            logger.info("backend %s: descriptors changed", self._backend)
            self.types = fresh
        return changed

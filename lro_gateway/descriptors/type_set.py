"""One pool of message types for each backend. The pool grows when further types are found."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, cast

from cachetools import LRUCache
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from lro_gateway.background import Steps, completed
from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.comments import Comments
from lro_gateway.descriptors.declarations import services_without_options
from lro_gateway.descriptors.descriptor_file import PROTOC, DescriptorFile
from lro_gateway.descriptors.elements import Capacity
from lro_gateway.descriptors.extensions import ExtensionNumber, Missing, is_declared
from lro_gateway.descriptors.field_behavior import is_needed
from lro_gateway.descriptors.field_names import fields_by_key
from lro_gateway.descriptors.linking import MAX_WHOLE, defines, link
from lro_gateway.descriptors.message_types import class_of
from lro_gateway.descriptors.methods import Method
from lro_gateway.descriptors.repairs import with_snake_case
from lro_gateway.descriptors.shapes import is_common
from lro_gateway.descriptors.traits import Traits, traits_of

_TYPE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*\Z", re.ASCII)
_MAX_TYPE_NAME: Final = 512
_MAX_MISSES: Final = 1024
_LOST_OPTIONS: Final = (
    "{} came without imports and options, as the reflection of Node.js sends it, so its HTTP rules"
    ' and the types of its results are lost; set descriptors = ["FILE", "reflection"] under its'
    f" [[backends]] in the configuration file, and make FILE, a FileDescriptorSet, with {PROTOC},"
    " such as the npm package google-proto-files"
)

Clock = Callable[[], float]
"""A monotonic clock that returns seconds."""


@dataclass(frozen=True, slots=True)
class Miss:
    """A look-up that failed.

    `reason` says why it failed. The look-up is not repeated before the time `until`, in seconds of
    the clock.
    """

    reason: str
    until: float


@dataclass(frozen=True, slots=True)
class Rpcs:
    """The unary methods of a service, and the full names of its streaming methods."""

    unary: tuple[Method, ...] = ()
    streaming: tuple[str, ...] = ()


class TypeSet:
    """The message types in one pool, with the traits of each.

    Types are only added, never changed or removed. A refresh makes a new set. An operation keeps
    the set with which it was read. `clock` returns seconds. `capacity` bounds the messages that are
    read with the set.
    """

    def __init__(self, clock: Clock = time.monotonic, capacity: Capacity | None = None) -> None:
        self.capacity = capacity or Capacity()
        self._pool = DescriptorPool()
        self._clock = clock
        self._files: dict[str, bytes] = {}
        self._classes: dict[str, type[Message]] = {}
        # The key is not the name, because a type in protobuf's default pool may have the same name.
        self._traits: dict[Descriptor, Traits] = {}
        self._fields: dict[Descriptor, Mapping[str, FieldDescriptor]] = {}
        self._needed: dict[Descriptor, tuple[FieldDescriptor, ...]] = {}
        self._checked_text: dict[FileDescriptor, bool] = {}
        # This is not a TTLCache, because the reason is still shown after the miss expires.
        self._misses: LRUCache[Missing, Miss] = LRUCache(_MAX_MISSES)
        self._rpcs: dict[str, Rpcs] = {}
        # The printer reads the misses in a thread, and an LRUCache also changes when it is read.
        self._misses_lock = threading.Lock()
        self._comments = Comments.of({})
        self._commented: dict[str, bytes] = {}
        self.size = 0
        """The total size of the files in bytes, without those of the well-known types."""
        self._problems: dict[str, None] = {}
        self.add(well_known.FILES)
        self._well_known = len(self._files)
        self.size = 0

    def add(self, files: Iterable[FileDescriptorProto]) -> list[str]:
        """Add files, and return an error text for each declaration that was left out.

        Each file should come after the files that it imports. A file that the set has already is
        ignored. If the pool refuses a file, its declarations are added one by one (`linking`).
        """
        return completed(self.adding(map(DescriptorFile.of, files)))

    def adding(self, files: Iterable[DescriptorFile]) -> Steps[list[str]]:
        """Return the steps of `add`, which must not be mixed with the steps of another `add`."""
        refused = []
        problems = []
        for file in files:
            yield
            if not self._is_new(file):
                continue
            for name in file.imports:
                self._add_missing_import(name)
            content = file.content
            if file.loses_imports:
                parsed = with_snake_case(file.parsed)
                lost = services_without_options(parsed)
                problems += [_LOST_OPTIONS.format(each) for each in lost if self._is_lost(each)]
                content = parsed.SerializeToString()
            if len(content) > MAX_WHOLE and _declared_size(content) > MAX_WHOLE:
                refused.append(content)
                continue
            try:
                self._pool.AddSerializedFile(content)
            except (TypeError, ValueError):
                # The pool raises ValueError for text that is not UTF-8, and TypeError otherwise.
                refused.append(content)
        if refused:
            problems += yield from link(self._pool, map(FileDescriptorProto.FromString, refused))
        self._problems.update(dict.fromkeys(problems))
        return problems

    def _is_lost(self, service: str) -> bool:
        """Return whether the options of a service matter and no other file has them."""
        return not is_common(service) and not self.defines(service)

    def _is_new(self, file: DescriptorFile) -> bool:
        """Remember a file, and return whether the set did not have it already."""
        name, number = file.name, 1
        while self._files.get(name, file.content) != file.content:
            number += 1
            name = f"{file.name} ({number})"
        is_new = name not in self._files
        if is_new:
            self._files[name] = file.content
            self.size += len(file.content)
            if file.has_comments:
                self._commented[name] = file.content
        return is_new

    def _add_missing_import(self, name: str) -> None:
        """Add an empty file for an import that no source has.

        Many imports only declare options, which nothing in the pool needs. If the file needs a type
        of the import, the pool refuses the file.
        """
        if not self.has_file(name):
            # The pool refuses some names, such as one with a null character. Then it also refuses
            # the file that has the import, whose declarations are added one by one.
            with suppress(TypeError, ValueError):
                self._pool.Add(FileDescriptorProto(name=name))

    def has_file(self, name: str) -> bool:
        """Return whether the set has a file of this name."""
        try:
            self._pool.FindFileByName(name)
        except KeyError:
            return False
        return True

    @property
    def files(self) -> dict[str, bytes]:
        """The files of the set as they were received, by name.

        If several files have one name, the names of all but the first end in a number.
        """
        return dict(self._files)

    @property
    def number_of_files(self) -> int:
        """The number of files in the set, without those of the well-known types."""
        return len(self._files) - self._well_known

    @property
    def problems(self) -> tuple[str, ...]:
        """One text for each declaration that was left out, which gives the file and the reason."""
        return tuple(self._problems)

    def note(self, problem: str) -> None:
        """Add a reason why declarations are missing in the set to its problems."""
        self._problems[problem] = None

    def defines(self, symbol: str) -> bool:
        """Return whether the set has a declaration of this full name."""
        return defines(self._pool, symbol)

    def has(self, name: Missing) -> bool:
        """Return whether the set has a type, or an extension by its name or number."""
        if not isinstance(name, ExtensionNumber):
            return self.message_class(name) is not None or self.defines(name)
        extended = self.message_class(name.extended)
        return extended is not None and is_declared(
            cast("Descriptor", extended.DESCRIPTOR), name.number
        )

    def methods_of(self, service: str) -> tuple[Method, ...]:
        """Return the unary methods of a service in the order of declaration.

        The result is empty if the service is unknown.
        """
        return completed(self.reading(service)).unary

    def streaming_methods_of(self, service: str) -> tuple[str, ...]:
        """Return the full names of a service's streaming methods, which cannot be offered."""
        return completed(self.reading(service)).streaming

    def reading(self, service: str) -> Steps[Rpcs]:
        """Return the steps that read the RPCs of a service, which the set then keeps."""
        known = self._rpcs.get(service)
        if known is not None:
            return known
        try:
            descriptor = self._pool.FindServiceByName(service)
        except KeyError:
            return Rpcs()
        unary: list[Method] = []
        streaming: list[str] = []
        for each in descriptor.methods:
            yield
            if (method := Method.of(each)) is None:
                streaming.append(each.full_name)
            else:
                unary.append(method)
        known = self._rpcs[service] = Rpcs(tuple(unary), tuple(streaming))
        return known

    @property
    def comments(self) -> Comments:
        """The comments in the files. Files without source info have none."""
        return completed(self.reading_comments())

    def reading_comments(self) -> Steps[Comments]:
        """Return the steps that read the comments of the files that were added last."""
        if len(self._comments.files) != len(self._commented):
            self._comments = yield from self._comments.reading(dict(self._commented))
        return self._comments

    def has_message(self, name: str) -> bool:
        """Return whether the set has a message type of this full name."""
        try:
            self._pool.FindMessageTypeByName(name)
        except (KeyError, TypeError):
            # The pool raises TypeError for a name with a lone surrogate.
            return False
        return True

    def message_class(self, name: str) -> type[Message] | None:
        """Return the class of a message type, or None if the type is unknown."""
        known = self._classes.get(name)
        if known is None:
            try:
                descriptor = self._pool.FindMessageTypeByName(name)
            except (KeyError, TypeError):
                # The pool raises TypeError for a name with a lone surrogate.
                return None
            known = self._classes[name] = class_of(descriptor)
        return known

    def descriptor(self, name: str) -> Descriptor | None:
        """Return the descriptor of a message type, or None if the type is unknown."""
        known = self.message_class(name)
        return cast("Descriptor", known.DESCRIPTOR) if known is not None else None

    def traits(self, descriptor: Descriptor) -> Traits:
        """Return the traits of a message type, which may be in another pool."""
        known = self._traits.get(descriptor)
        if known is None:
            known = self._traits[descriptor] = traits_of(descriptor, self._has_checked_text)
        return known

    def fields(self, descriptor: Descriptor) -> Mapping[str, FieldDescriptor]:
        """Return the fields of a message by every key that names one of them in JSON."""
        known = self._fields.get(descriptor)
        if known is None:
            known = self._fields[descriptor] = fields_by_key(descriptor)
        return known

    def needed(self, descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
        """Return the fields of a message that a caller must give, unless their comments differ."""
        known = self._needed.get(descriptor)
        if known is None:
            known = tuple(field for field in descriptor.fields if is_needed(field))
            self._needed[descriptor] = known
        return known

    def _has_checked_text(self, file: FileDescriptor) -> bool:
        known = self._checked_text.get(file)
        if known is None:
            syntax = FileDescriptorProto.FromString(file.serialized_pb).syntax
            known = self._checked_text[file] = syntax == "proto3"
        return known

    def miss(self, name: Missing, reason: str, seconds: float) -> None:
        """Record that a type or an extension was not found, and skip its look-up for `seconds`."""
        with self._misses_lock:
            self._misses[name] = Miss(reason, self._clock() + seconds)

    def is_missed(self, name: Missing) -> bool:
        """Return whether to skip the look-up of a type or an extension.

        A look-up is skipped if a recent one failed, or if no type can have this name.
        """
        miss = self._miss_of(name)
        return (miss is not None and miss.until > self._clock()) or not _may_exist(name)

    def why_missing(self, name: Missing) -> str:
        """Return an error text that says why a type or an extension is not in the set."""
        if not _may_exist(name):
            return "its type URL does not end in a message name"
        miss = self._miss_of(name)
        return miss.reason if miss else "no descriptor of its type was found"

    def _miss_of(self, name: Missing) -> Miss | None:
        with self._misses_lock:
            return self._misses.get(name)


def _declared_size(content: bytes) -> int:
    file = FileDescriptorProto.FromString(content)
    return file.ByteSize() - file.source_code_info.ByteSize()


def _may_exist(name: Missing) -> bool:
    return isinstance(name, ExtensionNumber) or _is_type_name(name)


def _is_type_name(name: str) -> bool:
    return len(name) <= _MAX_TYPE_NAME and _TYPE_NAME.match(name) is not None

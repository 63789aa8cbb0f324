"""Sources of descriptors: FileDescriptorSet files and installed Python modules."""

from __future__ import annotations

import asyncio
import importlib
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final, Protocol, runtime_checkable

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError
from google.protobuf.proto import parse_length_prefixed

from lro_gateway.background import Slices, Steps, completed
from lro_gateway.descriptors.declarations import text_of
from lro_gateway.descriptors.descriptor_file import PROTOC, DescriptorFile
from lro_gateway.descriptors.file_index import FileIndex

_FILE_TAG: Final = b"\x0a"
"""The byte before each file of a FileDescriptorSet: the field `file` of the wire type LEN."""


class SourceError(Exception):
    """A source failed to look up a symbol. The error text names the source and the reason.

    `is_transient` tells whether the same look-up may succeed later.
    """

    def __init__(self, text: str, *, is_transient: bool = False) -> None:
        super().__init__(text)
        self.is_transient = is_transient


class SourceUnavailableError(SourceError):
    """A source failed, and would now fail for every other symbol too."""


class DescriptorSource(Protocol):
    """A source at which descriptors are looked up."""

    @property
    def label(self) -> str:
        """The name of the source in the configuration, such as `reflection` or `builds.binpb`."""

    async def find(self, symbol: str) -> Sequence[DescriptorFile]:
        """Return the dependencies of the file that defines a symbol, and last the file itself.

        The list is empty if the symbol is unknown. Raises `SourceError` if the look-up failed, and
        `SourceUnavailableError` if the look-up of any other symbol would fail too.
        """

    async def find_file(self, name: str) -> Sequence[DescriptorFile]:
        """Return the dependencies of the file of this name, and last the file itself.

        The list is empty if the file is unknown. Raises as `find` does.
        """

    async def find_extension(self, extended: str, number: int) -> Sequence[DescriptorFile]:
        """Return the dependencies of the file that declares an extension, and last the file itself.

        `extended` is the full name of the message type that the extension with this number extends.
        The list is empty if the extension is unknown. Raises as `find` does.
        """

    async def services(self) -> Sequence[str]:
        """Return the full names of the known services. Raises `SourceError` if that fails."""

    def forget(self) -> None:
        """Forget what earlier look-ups found, so that later look-ups find what is true then."""


@runtime_checkable
class ComparableSource(Protocol):
    """A source that can tell at little cost whether it has changed."""

    async def is_unchanged(self) -> bool:
        """Return whether all look-ups since `forget` would find the same again. Never raises."""


class FileSource:
    """A source that reads a FileDescriptorSet file, and reads it again when it changes.

    `protoc --include_imports -o FILE` writes such a file.
    """

    def __init__(self, path: Path, slices: Slices | None = None) -> None:
        self._path = path
        self._slices = slices or Slices()
        self._index = FileIndex()
        self._modified: int | None = None
        self._used: int | None = None
        self._loading = asyncio.Lock()
        self._asked = 0
        self._checked = 0

    @property
    def label(self) -> str:
        """The path of the file."""
        return str(self._path)

    async def find(self, symbol: str) -> Sequence[DescriptorFile]:
        """Look a symbol up in the file."""
        return await self._slices.run((await self._loaded()).finding(symbol))

    async def find_file(self, name: str) -> Sequence[DescriptorFile]:
        """Look a file up by its name."""
        return await self._slices.run((await self._loaded()).finding_file(name))

    async def find_extension(self, extended: str, number: int) -> Sequence[DescriptorFile]:
        """Look an extension up in the file."""
        return await self._slices.run((await self._loaded()).finding_extension(extended, number))

    async def services(self) -> Sequence[str]:
        """Return the services in the file."""
        return (await self._loaded()).services()

    def forget(self) -> None:
        """Forget which state of the file the look-ups used; the next one checks for a change."""
        self._used = None

    async def is_unchanged(self) -> bool:
        """Return whether the file has not changed since the first look-up after `forget`."""
        try:
            return await asyncio.to_thread(self._modification) == self._used
        except OSError:
            return False

    def load(self) -> None:
        """Read the file if it changed. Raises `SourceError` if it is not a FileDescriptorSet."""
        if (content := self._changed_content()) is not None:
            modified, data = content
            try:
                self._index = completed(_file_index(data))
            except DecodeError as error:
                raise self._malformed() from error
            self._modified = modified

    async def _loaded(self) -> FileIndex:
        """Return the index of the file, as it is now.

        Look-ups that wait at the same time share a check whether the file has changed.
        """
        self._asked += 1
        asked = self._asked
        async with self._loading:
            if self._checked < asked:
                covered = self._asked
                await self._load()
                self._checked = covered
        if self._used is None:
            self._used = self._modified
        return self._index

    async def _load(self) -> None:
        content = await asyncio.to_thread(self._changed_content)
        if content is not None:
            modified, data = content
            try:
                self._index = await self._slices.run(_file_index(data))
            except DecodeError as error:
                raise self._malformed() from error
            self._modified = modified

    def _modification(self) -> int:
        return self._path.stat().st_mtime_ns

    def _changed_content(self) -> tuple[int, bytes] | None:
        """Return the time and the content of the file, or None if the file has not changed."""
        try:
            modified = self._modification()
            return None if modified == self._modified else (modified, self._path.read_bytes())
        except OSError as error:
            raise SourceUnavailableError(
                f"{self._path} cannot be read: {error.strerror}"
            ) from error

    def _malformed(self) -> SourceError:
        return SourceUnavailableError(
            f"{self._path} is not a FileDescriptorSet; make one with {PROTOC}"
        )


def _file_index(content: bytes) -> Steps[FileIndex]:
    """Parse a FileDescriptorSet file by file, because one call would hold the loop for long."""
    index = FileIndex()
    stream = io.BytesIO(content)
    is_empty = True
    while tag := stream.read(1):
        if tag != _FILE_TAG:
            # The set has other fields too, which only the parser of whole sets can skip.
            files = [*FileDescriptorSet.FromString(content).file]
        else:
            files = [_next_file(stream)]
        for file in files:
            yield
            text_of(file.name)
            yield from index.adding(file)
            is_empty = False
        if tag != _FILE_TAG:
            break
    if is_empty:
        # An empty file, and many files of other kinds, parse as an empty FileDescriptorSet.
        raise DecodeError("the set has no files")
    return index


def _next_file(stream: io.BytesIO) -> FileDescriptorProto:
    try:
        file: FileDescriptorProto | None = parse_length_prefixed(FileDescriptorProto, stream)
    except ValueError as error:
        raise DecodeError(str(error)) from error
    if file is None:
        raise DecodeError("the set ends before its last file")
    return file


class ModuleSource:
    """A source that reads the generated code of installed Python modules.

    A module may be a `_pb2` module, a package of such modules, or a proto-plus package.
    """

    def __init__(
        self, *modules: str, label: str | None = None, slices: Slices | None = None
    ) -> None:
        self._modules = modules
        self._slices = slices
        self._label = label or f"module:{','.join(modules)}"
        self._index: FileIndex | None = None

    @property
    def label(self) -> str:
        """The given label, or `module:` and the names of the modules."""
        return self._label

    async def find(self, symbol: str) -> Sequence[DescriptorFile]:
        """Look a symbol up in the modules. The first look-up imports them."""
        return await self._result((await self._loaded()).finding(symbol))

    async def find_file(self, name: str) -> Sequence[DescriptorFile]:
        """Look a file up by its name."""
        return await self._result((await self._loaded()).finding_file(name))

    async def find_extension(self, extended: str, number: int) -> Sequence[DescriptorFile]:
        """Look an extension up in the modules."""
        return await self._result((await self._loaded()).finding_extension(extended, number))

    async def services(self) -> Sequence[str]:
        """Return the services that the modules define."""
        return (await self._loaded()).services()

    def forget(self) -> None:
        """Do nothing, because imported modules do not change."""

    async def is_unchanged(self) -> bool:
        """Return True, because imported modules do not change."""
        return True

    async def _result(self, steps: Steps[list[DescriptorFile]]) -> Sequence[DescriptorFile]:
        return completed(steps) if self._slices is None else await self._slices.run(steps)

    async def _loaded(self) -> FileIndex:
        if self._index is None:
            await asyncio.to_thread(self.load)
        return self._index or FileIndex()

    def load(self) -> None:
        """Import the modules. Raises `SourceError` if an import fails."""
        if self._index is not None:
            return
        files: dict[str, FileDescriptor] = {}
        for name in self._modules:
            for module in _import_tree(name):
                for descriptor in _file_descriptors(module):
                    files[descriptor.name] = descriptor
        if not files:
            raise SourceUnavailableError(f"{self.label} has no generated protobuf code")
        self._index = FileIndex(_with_dependencies(files.values()))


def _import_tree(name: str) -> Iterator[ModuleType]:
    try:
        root = importlib.import_module(name)
        yield root
        for inner in _modules_below(root):
            # Only these modules define messages. Other modules of google.cloud are not imported,
            # because they import network transports.
            if inner.endswith("_pb2") or ".types" in inner:
                yield importlib.import_module(inner)
    except Exception as error:
        # An import may raise any exception. For example, generated code raises VersionError if the
        # installed protobuf is too old.
        raise SourceUnavailableError(f"module {name} cannot be imported: {error}") from error


def _modules_below(package: ModuleType) -> list[str]:
    """Return the names of all modules in a package's directories.

    pkgutil is not used because it skips directories without `__init__.py`, and protoc does not
    write `__init__.py` files.
    """
    found = set()
    for directory in getattr(package, "__path__", ()):
        for file in Path(directory).rglob("*.py"):
            parts = file.relative_to(directory).with_suffix("").parts
            found.add(".".join([package.__name__, *(p for p in parts if p != "__init__")]))
    return sorted(found)


def _file_descriptors(module: ModuleType) -> Iterator[FileDescriptor]:
    own = getattr(module, "DESCRIPTOR", None)
    if isinstance(own, FileDescriptor):
        yield own
    for value in vars(module).values():
        # The class of a proto-plus message has a method `pb()`, which returns the protobuf class.
        if isinstance(value, type) and hasattr(type(value), "pb"):
            try:
                generated = value.pb()  # type: ignore[attr-defined]  # proto-plus' metaclass has it
            except AttributeError:
                # Many modules import proto.Message, the base class, which has no protobuf class.
                continue
            yield generated.DESCRIPTOR.file


def _with_dependencies(files: Iterable[FileDescriptor]) -> list[FileDescriptorProto]:
    everything: dict[str, FileDescriptorProto] = {}
    pending = list(files)
    while pending:
        file = pending.pop()
        if file.name not in everything:
            everything[file.name] = FileDescriptorProto.FromString(file.serialized_pb)
            pending.extend(file.dependencies)
    return list(everything.values())


COMMON_PROTOS: Final = ModuleSource(
    "google.rpc",
    "google.type",
    "google.api",
    "google.longrunning",
    label="googleapis-common-protos",
)
"""The source of the types in google.rpc, google.type, google.api and google.longrunning."""

"""Sources of descriptors: FileDescriptorSet files and installed Python modules."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final, Protocol

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError


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

    async def find(self, symbol: str) -> Sequence[FileDescriptorProto]:
        """Return the dependencies of the file that defines a symbol, and last the file itself.

        The list is empty if the symbol is unknown. Raises `SourceError` if the look-up failed, and
        `SourceUnavailableError` if the look-up of any other symbol would fail too.
        """

    async def services(self) -> Sequence[str]:
        """Return the full names of the known services. Raises `SourceError` if that fails."""


def _dependencies_first(
    name: str, file_of: Callable[[str], FileDescriptorProto | None]
) -> list[FileDescriptorProto]:
    """Return the dependencies of a file, and last the file itself.

    Dependencies that `file_of` does not know are left out.
    """
    ordered: dict[str, FileDescriptorProto] = {}
    opened: set[str] = set()
    # A list serves as the stack, because a chain of imports may be longer than Python's stack.
    pending = [(name, False)]
    while pending:
        current, dependencies_done = pending.pop()
        file = file_of(current)
        if file is None:
            continue
        if dependencies_done:
            ordered.setdefault(current, file)
        elif current not in opened:
            opened.add(current)
            pending.append((current, True))
            pending.extend((text_of(dependency), False) for dependency in file.dependency)
    return list(ordered.values())


def text_of(value: object) -> str:
    """Return a string of a descriptor, or raise `DecodeError` if it is not UTF-8.

    descriptor.proto uses proto2, and protobuf returns bytes for a proto2 string that is not UTF-8.
    """
    if not isinstance(value, str):
        raise DecodeError("a name in a descriptor is not UTF-8")
    return value


def _symbols(file: FileDescriptorProto) -> Iterator[str]:
    package = text_of(file.package)
    prefix = f"{package}." if package else ""

    def messages(scope: str, types: Iterable[DescriptorProto]) -> Iterator[str]:
        for message in types:
            name = scope + text_of(message.name)
            yield name
            yield from messages(f"{name}.", message.nested_type)

    yield from messages(prefix, file.message_type)
    yield from (prefix + text_of(service.name) for service in file.service)


class FileIndex:
    """An index of files by name, and by the messages and services that they define.

    Raises `DecodeError` if a name in a file is not UTF-8.
    """

    def __init__(self, files: Iterable[FileDescriptorProto]) -> None:
        self._files = {text_of(file.name): file for file in files}
        self._file_of = {
            symbol: file.name for file in self._files.values() for symbol in _symbols(file)
        }

    def find(self, symbol: str) -> list[FileDescriptorProto]:
        """Return the dependencies of the file that defines a symbol, and last the file itself.

        The list is empty if the symbol is unknown.
        """
        name = self._file_of.get(symbol)
        return _dependencies_first(name, self._files.get) if name else []

    def services(self) -> list[str]:
        """Return the full names of the services in the files."""
        return [
            f"{file.package}.{service.name}" if file.package else service.name
            for file in self._files.values()
            for service in file.service
        ]


class FileSource:
    """A source that reads a FileDescriptorSet file, and reads it again when it changes.

    `protoc --include_imports -o FILE` writes such a file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._index = FileIndex(())
        self._modified: int | None = None

    @property
    def label(self) -> str:
        """The path of the file."""
        return str(self._path)

    async def find(self, symbol: str) -> Sequence[FileDescriptorProto]:
        """Look a symbol up in the file."""
        await asyncio.to_thread(self.load)
        return self._index.find(symbol)

    async def services(self) -> Sequence[str]:
        """Return the services in the file."""
        await asyncio.to_thread(self.load)
        return self._index.services()

    def load(self) -> None:
        """Read the file if it changed. Raises `SourceError` if it is not a FileDescriptorSet."""
        try:
            modified = self._path.stat().st_mtime_ns
            if modified != self._modified:
                self._index = _file_index(self._path.read_bytes())
                self._modified = modified
        except OSError as error:
            raise SourceUnavailableError(
                f"{self._path} cannot be read: {error.strerror}"
            ) from error
        except DecodeError as error:
            raise SourceUnavailableError(
                f"{self._path} is not a FileDescriptorSet; make one with"
                " protoc --include_imports --include_source_info -o FILE"
            ) from error


def _file_index(content: bytes) -> FileIndex:
    files = FileDescriptorSet.FromString(content).file
    if not files:
        # An empty file, and many files of other kinds, parse as an empty FileDescriptorSet.
        raise DecodeError("the set has no files")
    return FileIndex(files)


class ModuleSource:
    """A source that reads the generated code of installed Python modules.

    A module may be a `_pb2` module, a package of such modules, or a proto-plus package.
    """

    def __init__(self, *modules: str, label: str | None = None) -> None:
        self._modules = modules
        self._label = label or f"module:{','.join(modules)}"
        self._index: FileIndex | None = None

    @property
    def label(self) -> str:
        """The given label, or `module:` and the names of the modules."""
        return self._label

    async def find(self, symbol: str) -> Sequence[FileDescriptorProto]:
        """Look a symbol up in the modules. The first look-up imports them."""
        if self._index is None:
            await asyncio.to_thread(self.load)
        return self._index.find(symbol) if self._index else []

    async def services(self) -> Sequence[str]:
        """Return the services that the modules define."""
        if self._index is None:
            await asyncio.to_thread(self.load)
        return self._index.services() if self._index else []

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

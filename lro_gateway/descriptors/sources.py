"""Where descriptors come from: server reflection, descriptor set files, installed modules."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

import grpc
import grpc.aio
from google.protobuf import (
    any_pb2,
    api_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection_pb2

from lro_gateway.errors import Code, code_name

_MAX_FILES: Final = 4096


class SourceError(Exception):
    """A source that could not answer; its text says which and why."""


class SourceUnavailableError(SourceError):
    """A source that would not answer for another symbol either, just now."""


class SourceUnreachableError(SourceUnavailableError):
    """A source whose server did not answer, and may answer later."""


class DescriptorSource(Protocol):
    """Somewhere that descriptors can be had."""

    @property
    def label(self) -> str:
        """The source as the configuration writes it, such as `reflection`."""

    async def find(self, symbol: str) -> Sequence[FileDescriptorProto]:
        """Return the file that defines a symbol after all it depends on; nothing if it is unknown.

        Raises `SourceError` if that could not be found out, `SourceUnavailableError` if nothing
        could be.
        """

    async def services(self) -> Sequence[str]:
        """Return the full names of the services it knows; `SourceError` if it could not tell."""


def _dependencies_first(
    name: str, file_of: Callable[[str], FileDescriptorProto | None]
) -> list[FileDescriptorProto]:
    """Return a file after its dependencies; those that cannot be had are left out."""
    ordered: dict[str, FileDescriptorProto] = {}
    opened: set[str] = set()
    # A stack of our own: a chain of imports may be longer than Python's.
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
            pending.extend((_text(dependency), False) for dependency in file.dependency)
    return list(ordered.values())


def _text(value: object) -> str:
    """Return text; descriptor.proto is of proto2, whose strings come as bytes if not UTF-8."""
    if not isinstance(value, str):
        raise DecodeError("a name in a descriptor is not UTF-8")
    return value


def _symbols(file: FileDescriptorProto) -> Iterator[str]:
    package = _text(file.package)
    prefix = f"{package}." if package else ""

    def messages(scope: str, types: Iterable[DescriptorProto]) -> Iterator[str]:
        for message in types:
            name = scope + _text(message.name)
            yield name
            yield from messages(f"{name}.", message.nested_type)

    yield from messages(prefix, file.message_type)
    yield from (prefix + _text(service.name) for service in file.service)


class _FileIndex:
    """Files by name, and the file of each message and service."""

    def __init__(self, files: Iterable[FileDescriptorProto]) -> None:
        self._files = {_text(file.name): file for file in files}
        self._file_of = {
            symbol: file.name for file in self._files.values() for symbol in _symbols(file)
        }

    def find(self, symbol: str) -> list[FileDescriptorProto]:
        name = self._file_of.get(symbol)
        return _dependencies_first(name, self._files.get) if name else []

    def services(self) -> list[str]:
        return [
            f"{file.package}.{service.name}" if file.package else service.name
            for file in self._files.values()
            for service in file.service
        ]


class FileSource:
    """A FileDescriptorSet file of `protoc --include_imports -o`; read anew when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._index = _FileIndex(())
        self._modified: int | None = None

    @property
    def label(self) -> str:
        """The file's path."""
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
        """Read the file if it changed; `SourceError` if it is not a FileDescriptorSet."""
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


def _file_index(content: bytes) -> _FileIndex:
    files = FileDescriptorSet.FromString(content).file
    if not files:
        # Many other things parse as a message without known fields; an empty file does too.
        raise DecodeError("no file in it")
    return _FileIndex(files)


class ModuleSource:
    """Generated code of installed Python modules: a `_pb2`, a package of them, or proto-plus."""

    def __init__(self, *modules: str, label: str | None = None) -> None:
        self._modules = modules
        self._label = label or f"module:{','.join(modules)}"
        self._index: _FileIndex | None = None

    @property
    def label(self) -> str:
        """`module:` and the module's name."""
        return self._label

    async def find(self, symbol: str) -> Sequence[FileDescriptorProto]:
        """Look a symbol up in the modules, which are imported at the first look."""
        if self._index is None:
            await asyncio.to_thread(self.load)
        return self._index.find(symbol) if self._index else []

    async def services(self) -> Sequence[str]:
        """Return the services that the modules define."""
        if self._index is None:
            await asyncio.to_thread(self.load)
        return self._index.services() if self._index else []

    def load(self) -> None:
        """Import the modules; `SourceError` if one cannot be."""
        if self._index is not None:
            return
        files: dict[str, FileDescriptor] = {}
        for name in self._modules:
            for module in _import_tree(name):
                for descriptor in _file_descriptors(module):
                    files[descriptor.name] = descriptor
        if not files:
            raise SourceUnavailableError(f"{self.label} has no generated protobuf code")
        self._index = _FileIndex(_with_dependencies(files.values()))


def _import_tree(name: str) -> Iterator[ModuleType]:
    try:
        root = importlib.import_module(name)
        yield root
        for inner in _modules_below(root):
            # The stubs of google.cloud packages drag in transports; messages live in these two.
            if inner.endswith("_pb2") or ".types" in inner:
                yield importlib.import_module(inner)
    except Exception as error:
        # Generated code refuses an older runtime with an exception of its own, for one.
        raise SourceUnavailableError(f"module {name} cannot be imported: {error}") from error


def _modules_below(package: ModuleType) -> list[str]:
    """Return the names of all modules in a package's directories.

    Of all, as pkgutil passes over directories without `__init__.py`, and protoc makes just those.
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
        # A proto-plus message: its class answers `pb()` with the protobuf class.
        if isinstance(value, type) and hasattr(type(value), "pb"):
            try:
                generated = value.pb()  # type: ignore[attr-defined]  # proto-plus' metaclass has it
            except AttributeError:
                # proto.Message itself, which many modules import.
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


WELL_KNOWN_FILES: Final = tuple(
    FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
    # In an order that has every file after those it imports.
    for module in (
        descriptor_pb2,
        any_pb2,
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        source_context_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
        type_pb2,
        api_pb2,
    )
)
"""google/protobuf/*.proto of the well-known types, dependencies first."""

COMMON_PROTOS: Final = ModuleSource(
    "google.rpc",
    "google.type",
    "google.api",
    "google.longrunning",
    label="googleapis-common-protos",
)
"""What Google-style services share: google.rpc, google.type, google.api, google.longrunning."""

# What servers say of a symbol they do not know, or whose name they do not like.
_UNKNOWN: Final = frozenset({Code.NOT_FOUND, Code.INVALID_ARGUMENT})
_SERVICES: Final = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)


class ReflectionSource:
    """Server reflection, v1 or v1alpha, whichever the server speaks.

    `metadata` is sent with each call, as reflection may want the same credentials as the service;
    `deadline` is in seconds and covers one look-up.
    """

    def __init__(
        self, channel: grpc.aio.Channel, metadata: Sequence[tuple[str, str]], deadline: float
    ) -> None:
        self._metadata = metadata
        self._deadline = deadline
        # Both versions share their messages but for the package, which is not on the wire. One call
        # for each request: on a stream that the server refuses, a write that comes too late hides
        # the server's status behind an internal error of gRPC's own.
        self._calls: Mapping[str, grpc.aio.UnaryStreamMultiCallable[Any, Any]] = {
            service: channel.unary_stream(
                f"/{service}/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )
            for service in _SERVICES
        }
        self._service: str | None = None

    @property
    def label(self) -> str:
        """Always `reflection`."""
        return "reflection"

    async def find(self, symbol: str) -> Sequence[FileDescriptorProto]:
        """Ask the server for the file of a symbol, then for what it depends on."""
        async with self._told():
            return await self._find(symbol)

    async def services(self) -> Sequence[str]:
        """Ask the server for its services."""
        async with self._told():
            answer = await self._ask(reflection_pb2.ServerReflectionRequest(list_services=""))
            return [service.name for service in answer.list_services_response.service]

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        """Bound a look-up by the deadline, and tell every failure as a `SourceError`."""
        try:
            async with asyncio.timeout(self._deadline):
                yield
        except TimeoutError:
            raise SourceUnreachableError(
                f"reflection did not answer within {self._deadline:g} s"
            ) from None
        except grpc.aio.AioRpcError as error:
            code = error.code()
            unavailable = code is grpc.StatusCode.UNAVAILABLE
            raise (SourceUnreachableError if unavailable else SourceError)(
                f"reflection failed: {code.name}: {error.details()}"
            ) from error
        except DecodeError as error:
            raise SourceError("reflection answered with a malformed descriptor") from error

    async def _find(self, symbol: str) -> Sequence[FileDescriptorProto]:
        asked = {file.name for file in WELL_KNOWN_FILES}
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        files = {_text(file.name): file for file in await self._files(request)}
        while len(files) <= _MAX_FILES:
            needed = {_text(name) for file in files.values() for name in file.dependency}
            wanted = sorted(needed - files.keys() - asked)
            if not wanted:
                break
            asked.update(wanted)
            for name in wanted:
                request = reflection_pb2.ServerReflectionRequest(file_by_filename=name)
                files.update({_text(file.name): file for file in await self._files(request)})
        return _FileIndex(files.values()).find(symbol)

    async def _files(
        self, request: reflection_pb2.ServerReflectionRequest
    ) -> list[FileDescriptorProto]:
        """Ask for files; an unknown symbol or file is an empty answer."""
        answer = await self._ask(request)
        if answer.HasField("error_response"):
            refusal = answer.error_response
            if refusal.error_code in _UNKNOWN:
                return []
            raise SourceError(
                f"reflection failed: {code_name(refusal.error_code)}: {refusal.error_message}"
            )
        return [
            FileDescriptorProto.FromString(content)
            for content in answer.file_descriptor_response.file_descriptor_proto
        ]

    async def _ask(
        self, request: reflection_pb2.ServerReflectionRequest
    ) -> reflection_pb2.ServerReflectionResponse:
        """Send a request by the version that the server speaks."""
        for service in (self._service,) if self._service else _SERVICES:
            try:
                answer = await _first(
                    self._calls[service](request, metadata=self._metadata or None)
                )
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                    raise
                continue
            self._service = service
            return answer
        # It may be another server by the next time.
        self._service = None
        raise SourceUnavailableError("reflection is not served")


async def _first(
    stream: grpc.aio.UnaryStreamCall[Any, Any],
) -> reflection_pb2.ServerReflectionResponse:
    """Return the first response of a call, and end it.

    Raises `AioRpcError` if the call failed, `SourceError` if the server did not answer the request.
    """
    try:
        answer = await stream.read()
        if answer is grpc.aio.EOF:
            raise SourceError("reflection ended its stream without an answer")
        if not isinstance(answer, reflection_pb2.ServerReflectionResponse):
            raise SourceError("reflection answered with a malformed message")
        return answer
    finally:
        stream.cancel()

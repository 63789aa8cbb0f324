"""A file of descriptors as the gateway keeps it: serialized, with the names that look-ups need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

from lro_gateway.background import Steps, completed
from lro_gateway.descriptors.declarations import (
    joined,
    resolve,
    symbols,
    text_of,
    type_names,
    with_text,
)

PROTOC: Final = (
    "protoc --include_imports --include_source_info -I . -I GOOGLEAPIS -o FILE PROTO_FILES, where"
    " GOOGLEAPIS is the directory that has google/longrunning/operations.proto"
)
"""The command that makes a FileDescriptorSet with all that the gateway reads."""

References = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DescriptorFile:
    """A serialized file, and the names in it. Two files are equal if their contents are.

    A parsed file takes five times as much memory as its content, so the gateway parses a file each
    time that it needs more than the names. `symbols` are the full names of all messages, enums,
    services and extensions.
    """

    content: bytes
    name: str = field(compare=False)
    imports: tuple[str, ...] = field(compare=False)
    symbols: tuple[str, ...] = field(compare=False, repr=False)
    services: tuple[str, ...] = field(compare=False)
    has_comments: bool = field(compare=False)
    loses_imports: bool = field(compare=False)
    """Whether the file imports nothing although it refers to types of other files.

    protobufjs, which the reflection of Node.js uses, makes such files, one for each package. It
    drops the options too. The name of its file shows the package.
    """
    _references: list[References] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def of(cls, file: FileDescriptorProto) -> DescriptorFile:
        """Return a parsed file in this form. Bytes in its names that are not UTF-8 are replaced."""
        return completed(cls.reading(file))

    @classmethod
    def reading(cls, file: FileDescriptorProto) -> Steps[DescriptorFile]:
        """Return the steps of `of`."""
        try:
            return (yield from _read(file))
        except DecodeError:
            return (yield from _read(with_text(file)))

    @property
    def parsed(self) -> FileDescriptorProto:
        """The file, parsed anew."""
        return FileDescriptorProto.FromString(self.content)

    def references(self) -> Steps[References]:
        """Return the steps that find the types that the file refers to and does not declare.

        The names are as `declarations.type_names` returns them. The file is read only once for
        them.
        """
        if not self._references:
            written = yield from type_names(self.parsed)
            own = frozenset(self.symbols)
            self._references.append(
                tuple((scope, name) for scope, name in written if scope or name[1:] not in own)
            )
        return self._references[0]


def _read(file: FileDescriptorProto) -> Steps[DescriptorFile]:
    name, imports = text_of(file.name), tuple(map(text_of, file.dependency))
    declared: dict[str, None] = {}
    for symbol in symbols(file):
        yield
        declared[symbol] = None
    package, loses_imports = file.package, False
    if not imports:
        written = yield from type_names(file)
        loses_imports = (bool(package) and name == f"{package.replace('.', '_')}.proto") or any(
            resolve(each, scope, declared.__contains__) is None for scope, each in written
        )
    return DescriptorFile(
        file.SerializeToString(deterministic=True),
        name,
        imports,
        tuple(declared),
        tuple(joined(package, each.name) for each in file.service),
        file.HasField("source_code_info"),
        loses_imports,
    )

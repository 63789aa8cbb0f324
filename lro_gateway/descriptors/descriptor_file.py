"""A file of descriptors as the gateway keeps it: serialized, with the names that look-ups need."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

from lro_gateway.background import Steps, completed
from lro_gateway.descriptors.declarations import (
    joined,
    names_in,
    resolve,
    text_of,
    with_text,
)


@dataclass(frozen=True, slots=True)
class DescriptorFile:
    """A serialized file, and the names in it. Two files are equal if their contents are.

    A parsed file takes five times as much memory as its content, so the gateway parses a file each
    time that it needs more than the names. `symbols` are the full names of all messages, enums,
    services and extensions. `references` are the names of the types to which the file refers and
    which it does not declare, each with its scope, as `declarations.names_in` returns them.
    """

    content: bytes
    name: str = field(compare=False)
    imports: tuple[str, ...] = field(compare=False)
    symbols: tuple[str, ...] = field(compare=False, repr=False)
    references: tuple[tuple[str, str], ...] = field(compare=False, repr=False)
    services: tuple[str, ...] = field(compare=False)
    has_comments: bool = field(compare=False)
    loses_imports: bool = field(compare=False)
    """Whether the file imports nothing although it refers to types of other files.

    protobufjs, which the reflection of Node.js uses, makes such files, one for each package. It
    drops the options too. The name of its file shows the package.
    """

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


def _read(file: FileDescriptorProto) -> Steps[DescriptorFile]:
    name, imports = text_of(file.name), tuple(map(text_of, file.dependency))
    declared, written = yield from names_in(file)
    yield
    package = file.package
    is_of_package = bool(package) and name == f"{package.replace('.', '_')}.proto"
    is_alone = all(resolve(each, scope, declared.__contains__) for scope, each in written)
    return DescriptorFile(
        file.SerializeToString(deterministic=True),
        name,
        imports,
        tuple(map(sys.intern, declared)),
        tuple((scope, each) for scope, each in written if scope or each[1:] not in declared),
        tuple(joined(package, each.name) for each in file.service),
        file.HasField("source_code_info"),
        not imports and (is_of_package or not is_alone),
    )

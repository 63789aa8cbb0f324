"""What the authors of .proto files say in comments, where descriptors carry them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from lro_gateway.errors import cut

_REFERENCE: Final = re.compile(r"\[([^\]\[]+)\]\[[^\]\[]*\]")
_DIRECTIVE: Final = re.compile(r"\(--.*?--\)", re.DOTALL)
_LONGEST: Final = 1024

# Field numbers in descriptor.proto that a path in SourceCodeInfo is made of.
_FILE: Final = {4: "message_type", 5: "enum_type", 6: "service"}
_MESSAGE: Final = {2: "field", 3: "nested_type", 4: "enum_type"}
_ENUM: Final = {2: "value"}
_SERVICE: Final = {2: "method"}
_INSIDE: Final[Mapping[str, Mapping[int, str]]] = {
    "message_type": _MESSAGE,
    "nested_type": _MESSAGE,
    "enum_type": _ENUM,
    "service": _SERVICE,
}


@dataclass(frozen=True, slots=True)
class Comments:
    """The comment of each message, field, enum value, service and method, by full name."""

    files: frozenset[str]
    by_name: Mapping[str, str]

    def of_name(self, name: str) -> str:
        """Return the comment on a full name as one paragraph; empty if there is none."""
        return self.by_name.get(name, "")

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> Comments:
        """Read the comments of serialized files; those without source info have none."""
        return cls(frozenset(), {}).and_of(files)

    def and_of(self, files: Mapping[str, bytes]) -> Comments:
        """Return these and those of further files; what was read is not read again."""
        found = dict(self.by_name)
        further = files.keys() - self.files
        for name in sorted(further):
            found.update(_comments(FileDescriptorProto.FromString(files[name])))
        return Comments(self.files | further, found)


def _comments(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        # Bytes if it is not UTF-8; what was meant is guessed no further.
        said: object = location.leading_comments or location.trailing_comments
        text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        if text.strip() and (name := _name(file, location.path)):
            yield name, clean(text)


def _name(file: FileDescriptorProto, path: Sequence[int]) -> str | None:
    """Return the full name of what a path leads to; None of anything but a declaration."""
    if not path or len(path) % 2:
        return None
    current: Any = file
    names = [file.package] if file.package else []
    inside: Mapping[int, str] = _FILE
    for number, index in zip(path[::2], path[1::2], strict=True):
        kind = inside.get(number)
        declared = getattr(current, kind) if kind is not None else ()
        if kind is None or not 0 <= index < len(declared):
            return None
        current = declared[index]
        names.append(current.name)
        inside = _INSIDE.get(kind, {})
    return ".".join(names)


def clean(text: str) -> str:
    """Return a comment as one paragraph, references as their text and directives left out."""
    plain = _REFERENCE.sub(r"\1", _DIRECTIVE.sub("", text))
    return cut(" ".join(plain.split()), _LONGEST)

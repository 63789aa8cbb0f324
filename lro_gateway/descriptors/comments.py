"""The comments of .proto files, which descriptors carry as source info."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from lro_gateway.background import Steps, completed
from lro_gateway.errors import cut, plain

_REFERENCE: Final = re.compile(
    r"\[([^\]\[]+)\]\[\s*(?:\.?[A-Za-z_][\w.]*|https?://[^\]\[\s]+)?\s*\]"
)
"""A text with the name of a declaration, an address or nothing, such as `[text][a.b.Name]`.

Two sets of characters in a pattern, such as `[a-z][a-z0-9]`, are no reference.
"""
_DIRECTIVE: Final = re.compile(r"\(--.*?--\)", re.DOTALL)
_SENTENCE_END: Final = re.compile(r"[.!?](?= [^a-z])")
"""Matches the end of a sentence, but not that of an abbreviation such as `e.g.`."""
_LONGEST: Final = 1024
_READ: Final = 16 * 1024
"""The rest of a longer comment is not read, because the expressions above would take long."""

# A path in SourceCodeInfo consists of field numbers of descriptor.proto and of indexes.
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
    """The comments on messages, fields, enum values, services and methods, by full name.

    `files` are the names of the files whose comments were read.
    """

    files: frozenset[str]
    by_name: Mapping[str, str]

    def of_name(self, name: str) -> str:
        """Return the comment on a declaration as one paragraph, or empty text if it has none."""
        return self.by_name.get(name, "")

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> Comments:
        """Read the comments of serialized files, given by file name.

        A file without source info has no comments.
        """
        return cls(frozenset(), {}).with_files(files)

    def with_files(self, files: Mapping[str, bytes]) -> Comments:
        """Return these comments together with those of `files`.

        A file whose comments are in `self` already is not read again.
        """
        return completed(self.reading(files))

    def reading(self, files: Mapping[str, bytes]) -> Steps[Comments]:
        """Return the steps of `with_files`."""
        by_name = dict(self.by_name)
        new_files = files.keys() - self.files
        for name in sorted(new_files):
            for each, comment in _comments(FileDescriptorProto.FromString(files[name])):
                by_name[each] = comment
                yield
        return Comments(self.files | new_files, by_name)


def _comments(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        # protobuf returns bytes for a comment that is not UTF-8. U+FFFD replaces the invalid bytes.
        comment: object = location.leading_comments or location.trailing_comments
        text = comment.decode(errors="replace") if isinstance(comment, bytes) else str(comment)
        if text.strip() and (name := _name(file, location.path)):
            yield name, clean(text)


def _name(file: FileDescriptorProto, path: Sequence[int]) -> str | None:
    """Return the full name of the declaration at a SourceCodeInfo path.

    The result is None if the path leads to no declaration.
    """
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
    """Return a comment as one paragraph of at most 1024 characters, each of which shows.

    `[text][reference]` becomes `text`. Directives in `(-- --)` are removed.
    """
    whole = plain(_REFERENCE.sub(r"\1", _DIRECTIVE.sub("", text[:_READ])), _READ)
    return shortened(whole, _LONGEST)


def first_sentences(text: str, limit: int) -> str:
    """Return as many whole sentences of a text as fit into `limit` characters.

    A first sentence that does not fit is shortened.
    """
    if len(text) <= limit:
        return text
    ends = [found.end() for found in _SENTENCE_END.finditer(text, 0, limit)]
    return text[: ends[-1]] if ends else shortened(text, limit)


def shortened(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters. Only a word that exceeds the limit is cut."""
    return cut(text, limit, longest_word=limit)

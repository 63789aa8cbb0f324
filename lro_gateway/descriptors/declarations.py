"""The declarations in files of descriptors, and the types to which these refer by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
)
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from lro_gateway.background import Steps

KINDS: Final = ("enum_type", "message_type", "extension", "service")
"""The fields of a FileDescriptorProto that hold its top-level declarations."""


def text_of(value: object) -> str:
    """Return a string of a descriptor, or raise `DecodeError` if it is not UTF-8.

    descriptor.proto uses proto2, and protobuf returns bytes for a proto2 string that is not UTF-8.
    """
    if not isinstance(value, str):
        raise DecodeError("a name in a descriptor is not UTF-8")
    return value


def joined(scope: str, name: object) -> str:
    """Return the full name of a declaration in a package or a message."""
    return f"{scope}.{text_of(name)}" if scope else text_of(name)


def symbols(file: FileDescriptorProto) -> Iterator[str]:
    """Yield the full names of all messages, enums, services and extensions in a file."""
    package = text_of(file.package)
    for kind in KINDS:
        for declaration in getattr(file, kind):
            yield from symbols_of(declaration, package)


def symbols_of(declaration: Any, scope: str) -> Iterator[str]:
    """Yield the full names of a declaration and of all declarations inside it."""
    name = joined(scope, declaration.name)
    yield name
    if isinstance(declaration, DescriptorProto):
        for inner in (*declaration.nested_type, *declaration.enum_type, *declaration.extension):
            yield from symbols_of(inner, name)


@dataclass(frozen=True, slots=True)
class Reference:
    """A name of a type in a declaration.

    `holder` is the field or method that has the name in its field `attribute`. `siblings` is the
    list that contains the holder. `scope` is the full name of the message, service or package in
    which the holder is declared.
    """

    scope: str
    holder: FieldDescriptorProto | MethodDescriptorProto
    attribute: str
    siblings: Any

    @property
    def written(self) -> str:
        """The name as it is written, which may be relative to the scope, or empty if not UTF-8."""
        name: object = getattr(self.holder, self.attribute)
        return name if isinstance(name, str) else ""

    @property
    def full_name(self) -> str:
        """The full name of the holder, for an error text. Bytes that are not UTF-8 are escaped."""
        name: object = self.holder.name
        return joined(
            self.scope, name.decode(errors="backslashreplace") if isinstance(name, bytes) else name
        )

    def resolve(self, is_known: Callable[[str], bool]) -> str | None:
        """Return the full name of the known type that this reference names, or None."""
        return resolve(self.written, self.scope, is_known)


def resolve(written: str, scope: str, is_known: Callable[[str], bool]) -> str | None:
    """Return the full name of the known type that is written so in a scope, or None.

    A name that begins with a dot is a full name. protobuf searches any other name first in the
    innermost scope.
    """
    if written.startswith("."):
        return written[1:] if is_known(written[1:]) else None
    while scope:
        if is_known(name := f"{scope}.{written}"):
            return name
        scope = scope.rpartition(".")[0]
    return written if is_known(written) else None


def references(file: FileDescriptorProto) -> Iterator[Reference]:
    """Yield all references to types in a file."""
    package = text_of(file.package)
    for kind in KINDS:
        declarations = getattr(file, kind)
        for declaration in declarations:
            yield from references_of(declaration, package, declarations)


def references_of(declaration: Any, scope: str, siblings: Any) -> Iterator[Reference]:
    """Yield all references in a declaration, which is in the list `siblings`."""
    if isinstance(declaration, FieldDescriptorProto):
        for attribute in ("type_name", "extendee"):
            if getattr(declaration, attribute):
                yield Reference(scope, declaration, attribute, siblings)
        return
    name = joined(scope, declaration.name)
    if isinstance(declaration, DescriptorProto):
        for inner in (declaration.field, declaration.extension, declaration.nested_type):
            for each in inner:
                yield from references_of(each, name, inner)
        return
    for method in getattr(declaration, "method", ()):
        yield Reference(name, method, "input_type", declaration.method)
        yield Reference(name, method, "output_type", declaration.method)


_STEP: Final = 256
"""The number of fields whose types one step notes."""


def type_names(file: FileDescriptorProto) -> Steps[dict[tuple[str, str], None]]:
    """Return the steps that find the names of types to which a file refers, each once.

    A name is returned with the scope in which it is written, or with an empty scope if it is a full
    name. This takes far less time than `references`, which a look-up of many services would need
    for each field.
    """
    package = text_of(file.package)
    written: dict[tuple[str, str], None] = {}
    pending = [(package, message) for message in file.message_type]
    while pending:
        outer, message = pending.pop()
        scope = joined(outer, message.name)
        yield from _note_types(message.field, scope, written)
        yield from _note_types(message.extension, scope, written)
        pending.extend((scope, inner) for inner in message.nested_type)
    yield from _note_types(file.extension, package, written)
    for service in file.service:
        scope = joined(package, service.name)
        for method in service.method:
            yield
            _note(method.input_type, scope, written)
            _note(method.output_type, scope, written)
    return written


def _note_types(
    fields: Sequence[FieldDescriptorProto], scope: str, written: dict[tuple[str, str], None]
) -> Steps[None]:
    for start in range(0, len(fields), _STEP):
        yield
        for field in fields[start : start + _STEP]:
            if name := field.type_name:
                _note(name, scope, written)
            if name := field.extendee:
                _note(name, scope, written)


def _note(name: object, scope: str, written: dict[tuple[str, str], None]) -> None:
    """Note the name of a type. A name that is not UTF-8 is no name of a type."""
    text = name if isinstance(name, str) else ""
    written["" if text.startswith(".") else scope, text] = None


def is_placeholder(file: FileDescriptorProto) -> bool:
    """Return whether a file declares and imports nothing.

    Some servers answer with such a file for an import that is not in their binary.
    """
    return not file.dependency and not any(getattr(file, kind) for kind in KINDS)


def services_without_options(file: FileDescriptorProto) -> list[str]:
    """Return the full names of the services of a file whose RPCs have only protobuf's own options.

    All other options, such as google.api.http, are extensions of protobuf's own.
    """
    return [
        joined(file.package, service.name)
        for service in file.service
        if not any(_has_extensions(method.options) for method in service.method)
    ]


def _has_extensions(options: Message) -> bool:
    known = any(field.is_extension for field, _ in options.ListFields())
    return known or len(UnknownFieldSet(options)) > 0


def with_text(file: FileDescriptorProto) -> FileDescriptorProto:
    """Return a copy of a file in which every string is UTF-8."""
    copy = FileDescriptorProto()
    copy.CopyFrom(file)
    _make_text(copy)
    return copy


def _make_text(message: Message) -> None:
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else (value,):
                _make_text(inner)
        elif field.type == field.TYPE_STRING:
            texts: Iterable[object] = value if field.is_repeated else (value,)
            if any(isinstance(text, bytes) for text in texts):
                made = [
                    text.decode(errors="backslashreplace") if isinstance(text, bytes) else text
                    for text in texts
                ]
                message.ClearField(field.name)
                if field.is_repeated:
                    getattr(message, field.name).extend(made)
                else:
                    setattr(message, field.name, made[0])

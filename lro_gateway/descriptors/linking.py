"""Adding the declarations of files to a pool one by one, if the pool refuses the files as a whole.

A file may be refused because an import is missing, because two files have one name or declare one
type, because the file lacks its imports, or because of a mistake in one declaration. All other
declarations of the file can be used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from lro_gateway.background import Steps
from lro_gateway.descriptors.declarations import (
    KINDS,
    Reference,
    joined,
    references_of,
    symbols_of,
    with_text,
)
from lro_gateway.descriptors.repairs import removed_fields, versions
from lro_gateway.descriptors.shapes import is_common, is_same_shape
from lro_gateway.errors import quote, shown_name

_SEPARATOR: Final = "#"
"""The character between the name of a file and the name of a declaration that came from it."""
_PREFIX: Final = "Couldn't build proto file into descriptor pool: "
MAX_WHOLE: Final = 1536 * 1024
"""The maximum size of declarations that are added to a pool by one call, in bytes.

The call takes about 25 ms for each MiB, and during that time nothing else runs.
"""
_NAMED: Final = 3
"""The maximum number of declarations that the text of a problem names."""


@dataclass(eq=False, slots=True)
class _Part:
    """A top-level declaration of a file, in a file of its own."""

    source: str
    file: FileDescriptorProto
    name: str
    symbols: frozenset[str]
    needs: list[_Part] = field(default_factory=list)

    @property
    def declaration(self) -> Any:
        """The declaration."""
        return next(each for kind in KINDS for each in getattr(self.file, kind))

    def references(self) -> Iterator[Reference]:
        for kind in KINDS:
            declarations = getattr(self.file, kind)
            for declaration in declarations:
                yield from references_of(declaration, self.file.package, declarations)


def link(pool: DescriptorPool, files: Iterable[FileDescriptorProto]) -> Steps[list[str]]:
    """Add the declarations of files to a pool, and return an error text for each loss.

    A declaration is left out if the pool has one of the same name, or if the pool refuses it. A
    field of a type that is not known becomes a field of bytes, or of int32 for an enum, which reads
    the same bytes. An RPC or an extension of a type that is not known is left out.
    """
    parts: dict[str, _Part] = {}
    problems: list[str] = []
    declared: dict[str, Mapping[str, Any]] = {}
    for part in (part for file in files for part in _parts(file)):
        yield
        if defines(pool, part.name):
            problems += _difference(part, _declared(pool, part.name, declared))
        elif (other := parts.setdefault(part.name, part)) is not part:
            problems += _difference(part, (other.source, other.declaration))
    owners: dict[str, _Part] = {}
    for part in parts.values():
        yield
        owners.update(dict.fromkeys(part.symbols, part))
    for part in parts.values():
        yield
        _resolve(part, owners, lambda symbol: symbol in owners or defines(pool, symbol))
    lost: dict[str, list[str]] = {}
    for group in _groups(parts.values()):
        yield
        problems += _add(pool, group, lost)
    return [*problems, *(_loss(name, where) for name, where in lost.items())]


def _difference(part: _Part, known: tuple[str, Any]) -> Iterator[str]:
    """Yield an error text if a part differs from the known declaration of its name."""
    source, declaration = known
    if is_common(part.name) or is_same_shape(part.declaration, declaration):
        return
    yield (
        f"{quote(part.source)}: {shown_name(part.name)} was left out, because {quote(source)}"
        " declares it differently"
    )


def _declared(
    pool: DescriptorPool, name: str, known: dict[str, Mapping[str, Any]]
) -> tuple[str, Any]:
    """Return the file name and the declaration of a top-level name in a pool.

    The declaration is None if the name is not declared at the top level, for example because it is
    the name of an enum value. `known` keeps the declarations of each file, by their full names.
    """
    file = pool.FindFileContainingSymbol(name)
    if file.name not in known:
        found = FileDescriptorProto.FromString(file.serialized_pb)
        known[file.name] = {
            joined(found.package, declaration.name): declaration
            for kind in KINDS
            for declaration in getattr(found, kind)
        }
    return _source(file.name), known[file.name].get(name)


def _source(name: str) -> str:
    return name.partition(_SEPARATOR)[0]


def defines(pool: DescriptorPool, symbol: str) -> bool:
    """Return whether a pool has a declaration of this full name."""
    try:
        pool.FindFileContainingSymbol(symbol)
    except (KeyError, TypeError):
        # The pool raises TypeError for a name with a lone surrogate.
        return False
    return True


def _parts(file: FileDescriptorProto) -> Iterator[_Part]:
    header = FileDescriptorProto()
    for name in ("name", "package", "syntax"):
        if file.HasField(name):
            setattr(header, name, _text(getattr(file, name)))
    if file.HasField("edition"):
        header.edition = file.edition
    if file.HasField("options"):
        header.options.CopyFrom(file.options)
    for kind in KINDS:
        for declaration in getattr(file, kind):
            own = FileDescriptorProto()
            own.CopyFrom(header)
            getattr(own, kind).append(declaration)
            # Names and other texts that are not UTF-8 are bytes, which no later step expects.
            own = with_text(own)
            defined = frozenset(symbols_of(getattr(own, kind)[0], header.package))
            name = joined(header.package, getattr(own, kind)[0].name)
            own.name = f"{header.name}{_SEPARATOR}{name}"
            yield _Part(header.name, own, name, defined)


def _text(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _resolve(part: _Part, owners: Mapping[str, _Part], is_known: Callable[[str], bool]) -> None:
    """Write the full name into each reference of a part, and note the parts that it needs."""
    for reference in part.references():
        name = reference.resolve(is_known)
        if name is not None:
            setattr(reference.holder, reference.attribute, f".{name}")
            if (owner := owners.get(name)) is not None and owner is not part:
                part.needs.append(owner)


def _groups(parts: Iterable[_Part]) -> Iterator[list[_Part]]:
    """Yield groups of parts that need each other, after the groups that they need.

    These are the strongly connected components of the parts, found by Tarjan's algorithm. A list
    serves as the stack of calls, because types may refer to each other deeper than Python's stack.
    """
    index: dict[_Part, int] = {}
    low: dict[_Part, int] = {}
    open_parts: dict[_Part, None] = {}
    calls: list[tuple[_Part, Iterator[_Part]]] = []
    for root in parts:
        if root not in index:
            calls.append((root, iter(root.needs)))
        while calls:
            part, needs = calls[-1]
            if part not in index:
                index[part] = low[part] = len(index)
                open_parts[part] = None
            needed = next(needs, None)
            if needed is None:
                calls.pop()
                if low[part] == index[part]:
                    yield _closed(open_parts, part)
                elif calls:
                    low[calls[-1][0]] = min(low[calls[-1][0]], low[part])
            elif needed not in index:
                calls.append((needed, iter(needed.needs)))
            elif needed in open_parts:
                low[part] = min(low[part], index[needed])


def _closed(open_parts: dict[_Part, None], first: _Part) -> list[_Part]:
    """Remove the first part of a group and all parts after it, and return them."""
    group = [first]
    while (last := open_parts.popitem()[0]) is not first:
        group.append(last)
    return group


def _add(pool: DescriptorPool, group: Sequence[_Part], lost: dict[str, list[str]]) -> Iterator[str]:
    """Add the parts of a group, and yield an error text for each part that the pool refused."""
    by_source: dict[str, list[_Part]] = {}
    for part in group:
        by_source.setdefault(part.source, []).append(part)
    # Parts of two files that need each other can be in no file together. Those of the first file
    # lose their references to the others.
    for parts in by_source.values():
        own = frozenset[str]().union(*(part.symbols for part in parts))
        for part in parts:
            _unlink(part, partial(_is_known, pool, own), lost)
        reason, is_refused, removed = _refusal(pool, _merged(parts))
        source = quote(parts[0].source)
        yield from (
            f"{source}: {shown_name(name)} was left out: {quote(reason, 300)}" for name in removed
        )
        if not is_refused:
            continue
        if len(parts) > 1:
            # The parts need each other, so each of them may still be added without the others.
            for part in parts:
                yield from _add(pool, [part], lost)
            continue
        yield f"{source}: {shown_name(parts[0].name)} was left out: {quote(reason, 300)}"


def _is_known(pool: DescriptorPool, own: frozenset[str], name: str) -> bool:
    return name in own or defines(pool, name)


def _unlink(part: _Part, is_known: Callable[[str], bool], lost: dict[str, list[str]]) -> None:
    """Change or remove each field, RPC and extension whose type is not known."""
    for reference in list(part.references()):
        written = reference.written.removeprefix(".")
        if is_known(written):
            continue
        holder = reference.holder
        effects = lost.setdefault(written, [])
        if not isinstance(holder, FieldDescriptorProto) or reference.attribute == "extendee":
            if holder in reference.siblings:
                reference.siblings.remove(holder)
                effects.append(f"{shown_name(reference.full_name)} is left out")
        else:
            is_enum = holder.type == FieldDescriptorProto.TYPE_ENUM
            types = (FieldDescriptorProto.TYPE_INT32, FieldDescriptorProto.TYPE_BYTES)
            holder.type = types[0] if is_enum else types[1]
            holder.ClearField("type_name")
            holder.ClearField("default_value")
            effects.append(
                f"{shown_name(reference.full_name)} is {'int32' if is_enum else 'bytes'}"
            )


def _merged(parts: Sequence[_Part]) -> FileDescriptorProto:
    merged = FileDescriptorProto()
    merged.CopyFrom(parts[0].file)
    for part in parts[1:]:
        for kind in KINDS:
            getattr(merged, kind).extend(getattr(part.file, kind))
    return merged


def _refusal(pool: DescriptorPool, file: FileDescriptorProto) -> tuple[str, bool, list[str]]:
    """Add a file to a pool, repaired if necessary.

    Return why the pool refused the file as it is, whether no repair helped, and the full names of
    the fields that a repair has removed.
    """
    reason = ""
    if file.ByteSize() > MAX_WHOLE:
        return (
            f"its declarations refer to each other, and have more than {MAX_WHOLE} bytes",
            True,
            [],
        )
    for version in versions(file):
        try:
            pool.AddSerializedFile(version.SerializeToString(deterministic=True))
        except (TypeError, ValueError) as error:
            reason = reason or str(error).removeprefix(_PREFIX)
        else:
            return reason, False, [] if version is file else removed_fields(file, version)
    return reason, True, []


def _loss(name: str, effects: Sequence[str]) -> str:
    named = ", ".join(effects[:_NAMED]) + (", ..." if len(effects) > _NAMED else "")
    return (
        f"the type {quote(name)} is not known, so {named}; add a FileDescriptorSet that declares"
        " the type to the setting descriptors"
    )

"""The JSON form of google.protobuf.FieldMask: paths in one string, separated by commas.

ProtoJSON writes the names in a path in camelCase. This loses names that camelCase cannot hold, such
as `display_name_2`, and json_format fails for a whole message that has such a path. So the gateway
writes these names as they are, and reads both spellings of every name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.field_names import fields_by_key
from lro_gateway.descriptors.message_types import is_map, value_type

_PART: Final = re.compile(r"[^.`]*(?:`[^`]*`[^.`]*)*")
"""Matches one name of a path. The key of a map may be in backquotes, with any text (AIP-161)."""
_PATH: Final = re.compile(r"[^,`]*(?:`[^`]*`[^,`]*)*")
_AFTER_UNDERSCORE: Final = re.compile("_([a-z])")
_CAPITAL: Final = re.compile("[A-Z]")


def mask_text(paths: Iterable[str]) -> str:
    """Return the JSON of a FieldMask. A name is in camelCase if `mask_paths` can read it back."""
    return ",".join(map(_printed, paths))


def mask_paths(text: str, resources: Iterable[Descriptor] = ()) -> list[str]:
    """Return the paths of a FieldMask for its JSON, with the names that the proto files have.

    The names of a path may be JSON names or own names. If the path leads to a field of one of
    `resources`, that message gives the names. Otherwise a name with an underscore stays as it is,
    and any other name is read as camelCase. Raises `ValueError` if a path is empty or malformed.
    """
    if not text.strip():
        return []
    known = list(resources)
    return [_path(path.strip(), known) for path in _split(text, ",", _PATH)]


def _printed(path: str) -> str:
    try:
        return ".".join(map(_camel_case, _parts(path)))
    except ValueError:
        # A backquote of the path has no partner.
        return path


def _path(text: str, resources: Sequence[Descriptor]) -> str:
    parts = _parts(text)
    if not all(parts):
        raise ValueError
    for resource in resources:
        if (names := _names_in(resource, parts)) is not None:
            return ".".join(names)
    return ".".join(map(_snake_case, parts))


def _names_in(resource: Descriptor, parts: Sequence[str]) -> list[str] | None:
    """Return the own names on a path through a message, or None if there is no such path."""
    names: list[str] = []
    inside: Descriptor | None = resource
    before: FieldDescriptor | None = None
    for part in parts:
        if before is not None and is_map(before):
            names.append(part)
            before = None
            continue
        if part == "*" and before is not None and before.is_repeated:
            names.append(part)
            continue
        if inside is None or inside.full_name in well_known.OPAQUE:
            return None
        before = fields_by_key(inside).get(part)
        if before is None:
            return None
        names.append(before.name)
        inside = value_type(before)
    return names


def _parts(path: str) -> list[str]:
    return _split(path, ".", _PART)


def _split(text: str, separator: str, item: re.Pattern[str]) -> list[str]:
    """Split a text at a separator, but not inside backquotes."""
    return list(_items(text, separator, item)) if "`" in text else text.split(separator)


def _items(text: str, separator: str, item: re.Pattern[str]) -> Iterator[str]:
    at = 0
    while found := item.match(text, at):
        yield found[0]
        at = found.end()
        if at == len(text):
            return
        if text[at] != separator:
            raise ValueError
        at += 1


def _camel_case(name: str) -> str:
    camel = name if "`" in name else _AFTER_UNDERSCORE.sub(lambda found: found[1].upper(), name)
    return camel if _snake_case(camel) == name else name


def _snake_case(name: str) -> str:
    if "_" in name or "`" in name:
        return name
    return _CAPITAL.sub(lambda found: f"_{found[0].lower()}", name)

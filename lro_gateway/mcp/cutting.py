"""Cuts a long JSON to its shape: the keys with short values, and the beginning of the long ones.

The cut JSON is valid by every JSON Schema by which the whole JSON is valid, because keys of an
answer are never required, and lists and texts may be shorter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

ANSWER_BYTES: Final = 64 * 1024
"""The default of the longest JSON of an answer that is not cut, in bytes."""

_WHOLE: Final = frozenset({"name", "done", "error"})
"""The keys of an operation that are not cut, unless their values are very long."""
_LONGEST_WHOLE: Final = 2000
_LONGEST_TEXT: Final = 200
"""The number of characters of a cut text."""
_SMALLEST: Final = 40
"""The room in bytes below which a key with a long value is left out."""
_COMMA: Final = 1


@dataclass(slots=True)
class Shape:
    """A cut JSON, and what was cut.

    `cuts` are phrases such as `rows has 2000 items, of which 3 are shown`. `path` is the path of a
    field in a long value, such as `response.rows.id`, which a caller may select. It is empty if
    there is none.
    """

    value: Any
    cuts: list[str] = field(default_factory=list)
    path: str = ""


def shape_of(value: Any, room: int) -> Shape:
    """Return the shape of JSON in about `room` bytes."""
    shape = Shape(None)
    shape.value = _value(value, "", room, shape)
    return shape


def _value(value: Any, path: str, room: int, shape: Shape) -> Any:
    if size_of(value) <= room:
        return value
    if isinstance(value, dict):
        return _object(value, path, room, shape)
    if isinstance(value, list):
        return _list(value, path, room, shape)
    if isinstance(value, str):
        shown = value[: min(_LONGEST_TEXT, room // 2)]
        _note(shape, path, f"has {len(value)} characters, of which {len(shown)} are shown")
        return f"{shown}..."
    return value


def _object(value: dict[str, Any], path: str, room: int, shape: Shape) -> dict[str, Any]:
    keys = list(value)[: max(1, room // _SMALLEST)]
    if len(keys) < len(value):
        _note(shape, path, f"has {len(value)} keys, of which {len(keys)} are shown")
    sizes = {key: size_of(key) + size_of(value[key]) + 2 * _COMMA for key in keys}
    rooms = _rooms(sizes, room, path)
    kept = {}
    for key in keys:
        inner = f"{path}.{key}" if path else key
        left = rooms[key] - size_of(key) - 2 * _COMMA
        if sizes[key] <= rooms[key]:
            kept[key] = value[key]
        elif left < _SMALLEST:
            _note(shape, inner, f"has {sizes[key]} bytes and is left out")
        else:
            kept[key] = _value(value[key], inner, left, shape)
    return kept


def _rooms(sizes: dict[str, int], room: int, path: str) -> dict[str, int]:
    """Divide the room among the keys. A key that needs less than its share gets what it needs."""
    whole = {key for key in sizes if not path and key in _WHOLE and sizes[key] <= _LONGEST_WHOLE}
    rooms = {key: sizes[key] for key in whole}
    room -= sum(rooms.values())
    others = sorted((size, key) for key, size in sizes.items() if key not in whole)
    for index, (size, key) in enumerate(others):
        rooms[key] = min(size, max(0, room) // (len(others) - index))
        room -= rooms[key]
    return rooms


def _list(value: list[Any], path: str, room: int, shape: Shape) -> list[Any]:
    kept: list[Any] = []
    left = room
    for item in value:
        left -= size_of(item) + _COMMA
        if left < 0:
            break
        kept.append(item)
    if len(value) > 1:
        shown = max(1, len(kept))
        _note(shape, path, f"has {len(value)} items, of which {shown} {_are(shown)} shown")
    if not kept:
        kept.append(_value(value[0], path, room, shape))
    if isinstance(value[0], dict) and not shape.path:
        shape.path = ".".join(filter(None, [path, _short_key(value[0])]))
    return kept


def _short_key(item: dict[str, Any]) -> str:
    return next((key for key, each in item.items() if not isinstance(each, dict | list)), "")


def _note(shape: Shape, path: str, words: str) -> None:
    shape.cuts.append(f"{path or 'the answer'} {words}")


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def size_of(value: Any) -> int:
    """Return the number of bytes of JSON."""
    return len(orjson.dumps(value))


def named(cuts: Iterable[str], most: int = 5) -> str:
    """Return the first cuts as a text, and the number of the others."""
    known = list(cuts)
    first = known[:most]
    if (others := len(known) - most) > 0:
        first.append(f"{others} more values are cut")
    return "; ".join(first)

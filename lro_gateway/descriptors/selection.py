"""Partial answers. `fields`, a parameter of both faces, selects the parts of their JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from lro_gateway.errors import invalid_argument, quote

Selection = dict[str, "Selection"]
"""The keys to keep, each with the selection of its value; an empty selection keeps everything."""

_TOKEN: Final = re.compile(r"[@A-Za-z0-9_*\[\]-]+|[,/.()]")
_MAX_LENGTH: Final = 2048
_MAX_NESTING: Final = 32


def parse_fields(text: str) -> Selection:
    """Parse a selection such as `name,metadata(progressPercent),error/code`.

    `*` selects every field of an object. Raises INVALID_ARGUMENT if the text is malformed.
    """
    tokens = _TOKEN.findall(text)
    if len(text) > _MAX_LENGTH or "".join(tokens) != text.replace(" ", ""):
        raise _malformed(text)
    selection: Selection = {}
    if _read(selection, iter([*tokens, ""]), text, 0):
        raise _malformed(text)
    return selection


def _read(selection: Selection, stream: Iterator[str], text: str, nesting: int) -> str:
    """Add comma-separated paths to a selection. Return the next token: `)`, or "" at the end."""
    if nesting > _MAX_NESTING:
        raise _malformed(text)
    while True:
        inner, name = selection, next(stream)
        while True:
            if not name or name in "(),./":
                raise _malformed(text)
            inner = inner.setdefault(name, {})
            separator = next(stream)
            if separator not in {"/", "."}:
                break
            name = next(stream)
        if separator == "(":
            if _read(inner, stream, text, nesting + 1) != ")":
                raise _malformed(text)
            separator = next(stream)
        else:
            # This path selects the whole field, even if another path selects a part of it.
            inner["*"] = {}
        if separator in {"", ")"}:
            return separator
        if separator != ",":
            raise _malformed(text)


def select(value: Any, selection: Selection) -> Any:
    """Return a copy of JSON with only the selected fields. In a list, select from each item.

    An empty selection selects everything, and then the value itself is returned.
    """
    if not selection or selection.get("*") == {}:
        return value
    if isinstance(value, list):
        return [select(item, selection) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, item in value.items():
        inner = selection.get(key, selection.get("*"))
        if inner is not None:
            kept[key] = select(item, inner)
    return kept


def _malformed(text: str) -> Exception:
    problem = f"{quote(text)} is malformed; write it like name,done,metadata(progressPercent)"
    return invalid_argument("fields", problem)

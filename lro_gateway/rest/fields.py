"""Partial responses: the `fields` system parameter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from lro_gateway.errors import invalid_argument, quote

Selection = dict[str, "Selection"]
"""What to keep: each key with what to keep of it; an empty selection keeps everything."""

_TOKEN: Final = re.compile(r"[@A-Za-z0-9_*\[\]-]+|[,/.()]")
_MAX_LENGTH: Final = 2048
_MAX_NESTING: Final = 32


def parse_fields(text: str) -> Selection:
    """Parse `name,metadata(progressPercent),error/code`; `*` is every field of its place.

    INVALID_ARGUMENT names `fields` if it is malformed.
    """
    tokens = _TOKEN.findall(text)
    if len(text) > _MAX_LENGTH or "".join(tokens) != text.replace(" ", ""):
        raise _malformed(text)
    selection: Selection = {}
    if _read(selection, iter([*tokens, ""]), text, 0):
        raise _malformed(text)
    return selection


def _read(selection: Selection, stream: Iterator[str], text: str, nesting: int) -> str:
    """Add comma-separated paths up to a closing parenthesis or the end, which is returned."""
    if nesting > _MAX_NESTING:
        raise _malformed(text)
    while True:
        place, name = selection, next(stream)
        while True:
            if not name or name in "(),./":
                raise _malformed(text)
            place = place.setdefault(name, {})
            separator = next(stream)
            if separator not in {"/", "."}:
                break
            name = next(stream)
        if separator == "(":
            if _read(place, stream, text, nesting + 1) != ")":
                raise _malformed(text)
            separator = next(stream)
        else:
            # All of it, even where another path selects a part of it.
            place["*"] = {}
        if separator in {"", ")"}:
            return separator
        if separator != ",":
            raise _malformed(text)


def select(value: Any, selection: Selection) -> Any:
    """Return a copy of JSON with only what is selected; lists are looked through."""
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

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
    stream = iter([*tokens, ""])
    selection, end = _selections(stream, text, 0)
    if end or not selection:
        raise _malformed(text)
    return selection


def _selections(stream: Iterator[str], text: str, nesting: int) -> tuple[Selection, str]:
    """Read comma-separated paths up to a closing parenthesis or the end, which is returned."""
    selection: Selection = {}
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
            inner, end = _selections(stream, text, nesting + 1)
            if end != ")" or not inner:
                raise _malformed(text)
            place.update(inner)
            separator = next(stream)
        if separator in {"", ")"}:
            return selection, separator
        if separator != ",":
            raise _malformed(text)


def select(value: Any, selection: Selection) -> Any:
    """Return a copy of JSON with only what is selected; lists are looked through."""
    if not selection:
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

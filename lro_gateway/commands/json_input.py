"""JSON that a person passes to a command, as an argument or on stdin."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn


def json_of(text: str) -> Any:
    """Return the value of a JSON text. Raises `ValueError` with the mistake in it.

    JSON has no NaN, and a key that is given twice is a mistake, as it is for the gateway.
    """
    try:
        return json.loads(text, parse_constant=_unknown, object_pairs_hook=_distinct)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def stdin_text() -> str:
    """Return what is on stdin. Raises `ValueError` if stdin is closed, or is not UTF-8."""
    if sys.stdin is None:
        raise ValueError("stdin is closed")
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("stdin is not UTF-8") from None


def _unknown(constant: str) -> NoReturn:
    raise ValueError(f"there is no value {constant}")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for at, key in enumerate(keys) if key in keys[:at])
        raise ValueError(f"the key {twice!r} is given twice")
    return found

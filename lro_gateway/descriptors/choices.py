"""The words of an error text that list what a caller can write in place of something wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

_MAX_LENGTH: Final = 800
"""The longest list, in characters. A field violation has room for 1024 bytes."""
_LONGEST: Final = 64
_MAX_COMPARED: Final = 1000
"""The longest text, and the largest number of names, that are compared. Comparing takes time."""
_ALIKE: Final = 0.6
_WORD: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+")


def choices(names: Iterable[str], given: Any = None) -> str:
    """Return the names, separated by commas. Those that are spelt like `given` come first.

    A list of more than 800 characters is cut, and ends with the number of the other names.
    """
    every = list(names)
    ordered = dict.fromkeys([*_nearest(given, every), *every])
    shown: list[str] = []
    room = _MAX_LENGTH
    for name in ordered:
        room -= len(name) + 2
        if room < 0 and shown:
            return f"{', '.join(shown)} and {len(ordered) - len(shown)} more"
        shown.append(name)
    return ", ".join(shown)


def no_such_field(names: Iterable[str], given: str, inside: str = "") -> str:
    """Return the problem of an argument or a field that does not exist, with those that do.

    `inside` is the name of the message type that lacks the field, or empty if it is the request.
    """
    listed = choices(names, given)
    known = f"there are: {listed}" if listed else "it has no fields"
    return f"there is no such field{f' in {inside}' if inside else ''}; {known}"


def _nearest(given: Any, names: list[str]) -> Iterator[str]:
    if not isinstance(given, str) or not 1 < len(given) <= _LONGEST:
        return
    words = _words(given)
    spelt: dict[str, list[str]] = {}
    for name in names[:_MAX_COMPARED]:
        if words and words <= _words(name):
            yield name
        spelt.setdefault(name.lower(), []).append(name)
    for found in difflib.get_close_matches(given.lower(), spelt, cutoff=_ALIKE):
        yield from spelt[found]


def _words(text: str) -> set[str]:
    """Return the words of a name in any spelling, such as `display` and `name` of displayName."""
    return {word.lower() for word in _WORD.findall(text)}

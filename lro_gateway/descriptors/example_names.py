"""Examples of resource names, made from the patterns of google.api.http."""

from __future__ import annotations

import re
from typing import Final

_WILDCARDS: Final = frozenset({"*", "**"})
_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_ENDINGS: Final = (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("nches", "nch"), ("s", ""))
"""The endings of nouns in the plural, with those in the singular."""


def example_name(pattern: str) -> str:
    """Return a name that a pattern matches.

    For example, it is `projects/my-project/instances/my-instance` for `projects/*/instances/*`.
    """
    segments = pattern.split("/")
    return "/".join(
        _id(collection) if segment in _WILDCARDS else segment
        for collection, segment in zip(["", *segments], segments, strict=False)
    )


def _id(collection: str) -> str:
    """Return an id in a collection, such as `my-backup-schedule` in `backupSchedules`."""
    if not collection or collection in _WILDCARDS:
        return "my-resource"
    noun = _WORD_START.sub("-", collection).lower().replace("_", "-")
    for plural, singular in _ENDINGS:
        if noun.endswith(plural) and not noun.endswith("ss"):
            noun = noun.removesuffix(plural) + singular
            break
    return f"my-{noun}"

"""Suggests the path that a caller may have meant by a path that the gateway does not serve."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Final

from lro_gateway.rest.operation_paths import OPERATION_VERBS, VERSION

OWN_PAGES: Final = (
    *("/docs", "/openapi.json", "/livez", "/readyz", "/healthz/operations", "/mcp"),
    *("/approvals.js", "/console.js", "/docs.js", "/events.js", "/operation.js", "/texts.js"),
    *("/token.js", "/console.css"),
)
"""The paths of the gateway's own pages. No method gets a route with one of these paths."""

_COLLECTION: Final = "operations"
_VERBS: Final = tuple(verb for verb in OPERATION_VERBS if verb)
_VERSION: Final = re.compile(rf"{VERSION}\Z")
_LONGEST: Final = 24
"""The maximum length of a compared text, in characters. Comparing long texts would be slow."""
_ALIKE: Final = 0.8
"""How alike two texts are, from 0 to 1, if one may be a misspelling of the other."""


def suggested_path(raw_path: bytes) -> str | None:
    """Return a path of operations or an own page of which a path may be a misspelling, or None."""
    try:
        path = raw_path.partition(b"?")[0].decode("ascii")
    except UnicodeDecodeError:
        return None
    suggestion = _with_operations(path.rstrip("/")) or _alike(path.rstrip("/"), OWN_PAGES)
    return suggestion if suggestion != path else None


def _with_operations(path: str) -> str | None:
    """Return the path with a correct version, collection and custom verb.

    Return None if the path has no segment that is like `operations` where Operations has it.
    """
    resource, colon, verb = path.rpartition(":")
    if not colon or "/" in verb:
        resource, verb = path, ""
    first, *segments = resource.removeprefix("/").split("/")
    version = first if _VERSION.match(first) else first.lower()
    if not _VERSION.match(version):
        # The path may have the prefix of a proxy before the version, or no version.
        after = next((at for at, each in enumerate(segments, 1) if _VERSION.match(each)), 0)
        version, *segments = [first, *segments][after:] if after else ["v1", first, *segments]
    at = next((at for at in _places(segments) if _alike(segments[at], (_COLLECTION,))), None)
    if at is None:
        return None
    segments[at] = _COLLECTION
    end = f":{_alike(verb, _VERBS) or verb}" if verb else ""
    return f"/{version}/{'/'.join(segments)}{end}"


def _places(segments: list[str]) -> list[int]:
    """Return the indexes of the segments that may be `operations`: the last two and the first."""
    last = len(segments) - 1
    return [at for at in (last - 1, last, 0) if 0 <= at <= last]


def _alike(text: str, candidates: tuple[str, ...]) -> str | None:
    if not 1 < len(text) <= _LONGEST:
        return None
    return next(iter(get_close_matches(text.lower(), candidates, 1, _ALIKE)), None)

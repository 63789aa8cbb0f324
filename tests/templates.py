"""Matches and expands one path template, as an independent check of the gateway's routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote as percent_encode

from lro_gateway.descriptors.http_templates import (
    PathTemplate,
    Segment,
    Wildcard,
    decode,
    split_custom_verb,
    split_path,
)

_SINGLE_SAFE: Final = "-_.~"
_MULTI_SAFE: Final = "-_.~/"
_LITERAL_SAFE: Final = "-_.~!$&'()+,;=@"


def match(template: PathTemplate, raw_path: bytes) -> dict[str, str] | None:
    """Return the decoded variables of a template in a path, or None if the path does not match.

    INVALID_ARGUMENT if the path matches but a variable is not percent-encoded UTF-8.
    """
    segments = split_path(raw_path)
    if segments is None:
        return None
    if template.verb:
        reading = split_custom_verb(segments)
        if reading is None or reading[1] != template.verb:
            return None
        segments = reading[0]
    return template.capture(segments) if _fits(template, segments) else None


def _fits(template: PathTemplate, segments: Sequence[str]) -> bool:
    many = Wildcard.MANY in template.segments
    at = template.segments.index(Wildcard.MANY) if many else len(template.segments)
    head, tail = template.segments[:at], template.segments[at + 1 :]
    spare = len(segments) - len(head) - len(tail)
    if spare < 0 or (spare and not many):
        return False
    ends = (*segments[:at], *segments[at + spare :])
    return all(
        wanted is Wildcard.ONE or wanted == decode(given)
        for wanted, given in zip((*head, *tail), ends, strict=True)
    )


def expand(template: PathTemplate, variables: Mapping[str, str]) -> str:
    """Return the percent-encoded path with these variables, as Google's clients make it.

    `ValueError` if there is no such path because a variable is missing or does not match.
    """
    parts, at = [], 0
    for variable in template.variables:
        parts += [_encoded(segment) for segment in template.segments[at : variable.start]]
        value = variables.get(variable.field_path, "")
        safe = _MULTI_SAFE if variable.multi else _SINGLE_SAFE
        if value:
            parts.append(percent_encode(value, safe=safe))
        at = variable.end
    parts += [_encoded(segment) for segment in template.segments[at:]]
    path = "/" + "/".join(parts) + (f":{_encoded(template.verb)}" if template.verb else "")
    if match(template, path.encode()) != dict(variables):
        raise ValueError(f"{template.text} has no path with these variables")
    return path


def _encoded(segment: Segment) -> str:
    if isinstance(segment, Wildcard):
        return segment.value
    return percent_encode(segment, _LITERAL_SAFE)

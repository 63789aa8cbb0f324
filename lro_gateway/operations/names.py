"""Operation names: their syntax, the patterns that match them, and their two forms.

A name has two forms: the backend's, which the service uses, and the gateway's, which callers see.
Both are the same text unless the configuration gives a pair of patterns. If the text alone does not
identify the backend, or is not a well-formed relative resource name, the gateway's form is Google's
full resource name, `//backend/name` (AIP-122). Callers may also write this as
`-/backends/backend/name`, because some proxies merge two slashes of a path into one. Each form has
a type of its own, so that a type checker finds a name in the wrong form.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NewType

from lro_gateway.errors import invalid_argument, quote

BackendName = NewType("BackendName", str)
"""A name in the form that its backend uses."""

GatewayName = NewType("GatewayName", str)
"""A name in the gateway's canonical form. Each operation has exactly one such name."""

_ONE_SLASH: Final = "-/backends/"
"""The prefix that callers may write instead of `//`."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_~%!$&'()*+,;=:@-]+(?:[/.][A-Za-z0-9_~%!$&'()*+,;=:@-]+)*\Z")
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_VARIABLE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?:=(\*\*?))?\}\Z")
_LITERAL: Final = re.compile(r"[^{}*/\s]+\Z")
_COLLECTION: Final = "operations"
_WILDCARDS: Final = {"*": "[^/]+", "**": "[^/]+(?:/[^/]+)*"}


def validate_name(name: str, argument: str = "name") -> None:
    """Raise INVALID_ARGUMENT if a name is not a well-formed relative resource name (AIP-122).

    A name is malformed if it is empty, starts or ends with a slash, has a segment that is empty,
    `.` or `..`, or contains a control character. The gateway never returns such a name without its
    backend, so a caller that sends one has made a mistake.
    """
    if not _PLAIN.match(name) and (problem := _malformation(name)):
        raise invalid_argument(argument, problem, "INVALID_NAME", value=quote(name))


def validate_backend_name(name: str) -> None:
    """Raise INVALID_ARGUMENT if no backend can have given a name to an operation.

    A backend may give any name that a protobuf string can hold, except the empty one.
    """
    if not name or not _is_utf8(name):
        validate_name(name)


def is_relative(name: str) -> bool:
    """Return whether a name is a well-formed relative resource name, and no full name."""
    if name.startswith(_ONE_SLASH):
        return False
    return _PLAIN.match(name) is not None or _malformation(name) is None


def _is_utf8(text: str) -> bool:
    return text.isascii() or not any(unicodedata.category(each) == "Cs" for each in text)


def _malformation(name: str) -> str | None:
    if not name:
        return "a name is needed, such as projects/p/operations/123"
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in name):
        return f"{quote(name)} contains a control character"
    segments = name.split("/")
    if "" in segments:
        return f"{quote(name)} has an empty segment: no leading, trailing or double slash"
    if "." in segments or ".." in segments:
        return f"{quote(name)} has a segment that is a relative path"
    return None


def split_full_name(name: str) -> tuple[str | None, str]:
    """Return `(backend, name)` for a full name, and `(None, name)` for any other name.

    A full name is `//backend/name` or `-/backends/backend/name`.
    """
    for prefix in ("//", _ONE_SLASH):
        if name.startswith(prefix):
            backend, _, relative = name.removeprefix(prefix).partition("/")
            return backend, relative
    return None, name


def full_name(backend: str, name: BackendName) -> GatewayName:
    """Make a full resource name, `//backend/name`, from a name in the backend's form (AIP-122)."""
    return GatewayName(f"//{backend}/{name}")


def one_slash_name(backend: str, name: str) -> str:
    """Return the form of a full name that has no two slashes side by side."""
    return f"{_ONE_SLASH}{backend}/{name}"


def may_be_same(one: BackendName, other: BackendName) -> bool:
    """Return whether two names may be two forms of one operation's name.

    The last segments of both forms are equal, except for the case of letters. Or one form lacks the
    last segments of the other. An empty name may be any operation's.
    """
    if one == other or not one or not other:
        return True
    if one.rpartition("/")[2].casefold() == other.rpartition("/")[2].casefold():
        return True
    return one.startswith(f"{other}/") or other.startswith(f"{one}/")


def collection_of(parent: str) -> str:
    """Return the name of a parent's collection of operations. For `p` it is `p/operations`."""
    return f"{parent}/{_COLLECTION}" if parent else _COLLECTION


def parent_of(name: str) -> str:
    """Return the parent, from its own name or from the name of its collection.

    For both `p` and `p/operations`, the result is `p`. Each segment `operations` at the end is
    removed, because a backend may mistake a parent with such an end for a collection. Each parent
    therefore has only one spelling.
    """
    while name == _COLLECTION or name.endswith("/" + _COLLECTION):
        name = name.removesuffix(_COLLECTION).removesuffix("/")
    return name


@dataclass(frozen=True, slots=True)
class _Segment:
    """One segment of a pattern: a literal, `*` (one segment), or `**` (one or more segments)."""

    text: str
    variable: str | None = None

    @property
    def wild(self) -> bool:
        return self.text in {"*", "**"}

    def regex(self, group: str | None) -> str:
        body = _WILDCARDS.get(self.text) or re.escape(self.text)
        return f"(?P<{group}>{body})" if group else body


@dataclass(frozen=True)
class NamePattern:
    """A pattern of names in the syntax of AIP-127, such as `projects/{project}/operations/*`.

    Its segments are literals, `*`, `**`, `{variable}` or `{variable=**}`. `*` matches exactly one
    segment, and `**` matches one or more. A pattern has at most one `**`.
    """

    text: str
    segments: tuple[_Segment, ...] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> NamePattern:
        """Parse a pattern. Raises `ValueError` with the reason if it is malformed."""
        segments = tuple(_parse_segment(part, text) for part in text.split("/"))
        if sum(segment.text == "**" for segment in segments) > 1:
            raise ValueError(f"{text!r} has more than one **")
        variables = [segment.variable for segment in segments if segment.variable]
        if len(set(variables)) < len(variables):
            raise ValueError(f"{text!r} uses a variable twice")
        return cls(text, segments)

    @cached_property
    def variables(self) -> dict[str, str]:
        """The wildcard, `*` or `**`, of each variable."""
        return {s.variable: s.text for s in self.segments if s.variable}

    @property
    def prefix(self) -> str:
        """The text with which all matching names begin: the segments before the first wildcard."""
        wild = next((at for at, each in enumerate(self.segments) if each.wild), None)
        texts = [each.text for each in self.segments[:wild]]
        return "/".join(texts) if wild is None else "".join(f"{text}/" for text in texts)

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile("/".join(s.regex(s.variable) for s in self.segments) + r"\Z")

    @cached_property
    def _prefix_regex(self) -> re.Pattern[str]:
        pattern = ""
        for segment in reversed(self.segments):
            pattern = f"(?:/{segment.regex(None)}{pattern})?"
        return re.compile(pattern + r"\Z")

    def match(self, name: str) -> dict[str, str] | None:
        """Return the values of the variables in a name, or None if it does not match."""
        matched = self._regex.match(name)
        return matched.groupdict() if matched else None

    def matches_prefix(self, name: str) -> bool:
        """Return whether a name matches, or is an ancestor of names that may match."""
        return not name or self._prefix_regex.match("/" + name) is not None

    def expand(self, variables: dict[str, str]) -> str:
        """Return the name that the pattern yields for these values of its variables."""
        return "/".join(variables[s.variable] if s.variable else s.text for s in self.segments)

    @cached_property
    def parent(self) -> NamePattern | None:
        """The pattern of the parents of matching names, such as `p/*` for `p/*/operations/*`.

        The pattern is empty if the names have no parent. The value is None if the pattern ends in
        `**`, because the last part of a name then has any number of segments.
        """
        rest = self.segments[:-1]
        if self.segments[-1].text == "**":
            return None
        if rest and rest[-1].text == _COLLECTION:
            rest = rest[:-1]
        return NamePattern("/".join(s.text for s in rest), rest)

    def overlaps(self, other: NamePattern) -> bool:
        """Return whether some name matches both patterns."""
        return _overlap(self.segments, other.segments)


def _parse_segment(part: str, whole: str) -> _Segment:
    if part in {"*", "**"} or _LITERAL.match(part):
        return _Segment(part)
    if variable := _VARIABLE.match(part):
        return _Segment(variable[2] or "*", variable[1])
    raise ValueError(
        f"{whole!r}: the segment {part!r} is neither a literal, *, **, {{variable}}"
        " nor {variable=**}"
    )


def _overlap(one: tuple[_Segment, ...], other: tuple[_Segment, ...]) -> bool:
    if not one or not other:
        return not one and not other
    for first, second in ((one, other), (other, one)):
        # A ** matches the first segment of the other pattern. After that segment, the ** either
        # ends or matches further segments.
        if first[0].text == "**" and (
            _overlap(first[1:], second[1:]) or _overlap(first, second[1:])
        ):
            return True
    if "**" in (one[0].text, other[0].text):
        return False
    alike = one[0].wild or other[0].wild or one[0].text == other[0].text
    return alike and _overlap(one[1:], other[1:])


@dataclass(frozen=True, slots=True)
class NameMapping:
    """A pattern of names that a backend owns, in the backend's form and in the gateway's form.

    Both are the same object unless the configuration gives a pair.
    """

    backend: NamePattern
    gateway: NamePattern

    @classmethod
    def parse(cls, backend: str, gateway: str | None = None) -> NameMapping:
        """Parse a pattern or a pair. Raises `ValueError` if a pair cannot be reversed."""
        own = NamePattern.parse(backend)
        if gateway is None or gateway == backend:
            return cls(own, own)
        theirs = NamePattern.parse(gateway)
        for pattern in (own, theirs):
            if any(segment.wild and not segment.variable for segment in pattern.segments):
                raise ValueError(
                    f"{pattern.text!r} belongs to a pair, so name its wildcards, as in {{id}}"
                )
        if own.variables != theirs.variables:
            # If a variable is * in one pattern and ** in the other, not every name can be mapped
            # back.
            differing = own.variables.items() ^ theirs.variables.items()
            unpaired = ", ".join(sorted({name for name, _ in differing}))
            raise ValueError(f"{backend!r} and {gateway!r} do not share the variables {unpaired}")
        return cls(own, theirs)

    def to_gateway(self, name: BackendName) -> GatewayName | None:
        """Translate a name to the gateway's form, or return None if the name does not match."""
        found = _translate(name, self.backend, self.gateway)
        return None if found is None else GatewayName(found)

    def to_backend(self, name: str) -> BackendName | None:
        """Translate a name to the backend's form, or return None if the name does not match."""
        found = _translate(name, self.gateway, self.backend)
        return None if found is None else BackendName(found)

    def parent_to_gateway(self, name: BackendName) -> GatewayName | None:
        """Translate the name of a parent from the backend's form to the gateway's form.

        Returns None if the name does not match. If the two forms are the same, the name of
        every ancestor of a matching name also matches, and is returned unchanged.
        """
        found = self._translate_parent(name, self.backend, self.gateway)
        return None if found is None else GatewayName(found)

    def parent_to_backend(self, name: str) -> BackendName | None:
        """Translate the name of a parent from the gateway's form to the backend's form.

        Returns None if the name does not match. If the two forms are the same, the name of
        every ancestor of a matching name also matches, and is returned unchanged.
        """
        found = self._translate_parent(name, self.gateway, self.backend)
        return None if found is None else BackendName(found)

    def _translate_parent(self, name: str, source: NamePattern, target: NamePattern) -> str | None:
        if source is target:
            return name if source.matches_prefix(name) else None
        if source.parent is None or target.parent is None:
            return None
        variables = source.parent.match(name)
        if variables is None or not target.parent.variables.keys() <= variables.keys():
            return None
        return target.parent.expand(variables)


def _translate(name: str, source: NamePattern, target: NamePattern) -> str | None:
    variables = source.match(name)
    if variables is None:
        return None
    return name if source is target else target.expand(variables)


def overlapping(
    owned: dict[str, tuple[NameMapping, ...]],
) -> Iterator[tuple[tuple[str, NamePattern], tuple[str, NamePattern]]]:
    """Yield each conflict, as the (backend, pattern) of both patterns that conflict.

    Two patterns overlap if some name matches both. Patterns of two backends conflict if they
    overlap in the gateway's form. Patterns of one backend conflict if one of them belongs to a
    pair and they overlap in the gateway's form or in the backend's form, because they would then
    map the same name differently.
    """
    claims = [(backend, mapping) for backend, mappings in owned.items() for mapping in mappings]
    for index, (backend, mapping) in enumerate(claims):
        for other_backend, other in claims[index + 1 :]:
            identical = mapping.backend is mapping.gateway and other.backend is other.gateway
            if backend == other_backend and identical:
                continue
            if mapping.gateway.overlaps(other.gateway):
                yield (backend, mapping.gateway), (other_backend, other.gateway)
            elif backend == other_backend and mapping.backend.overlaps(other.backend):
                yield (backend, mapping.backend), (other_backend, other.backend)

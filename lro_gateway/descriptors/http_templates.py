"""Path templates of google.api.http, which read the values of variables from raw paths.

The grammar is that of google/api/http.proto:

    Template = "/" Segments [ Verb ]
    Segments = Segment { "/" Segment }
    Segment  = "*" | "**" | LITERAL | Variable
    Variable = "{" FieldPath [ "=" Segments ] "}"
    Verb     = ":" LITERAL

http.proto leaves some questions open. This module answers them as grpc-gateway or Google's
transcoder does:

- A template may have at most one `**`. Literals and `*` may follow the `**`, as in grpc-gateway. In
  Google's transcoder only literals may follow it.
- `/` alone is a template, as in grpc-gateway and in Google's transcoder.
- A `:` in the last segment begins the custom verb, and the verb has no `:`, as in Google's
  transcoder. A `:` in any other segment is text, as in grpc-gateway.
- `**` matches zero or more segments, as in Google's transcoder. If the `**` matches zero
  segments, the value of its variable does not end in a slash.
- A path with an empty segment matches no template, because http.proto does not allow the value of a
  variable to begin with a slash.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote as percent_encode
from urllib.parse import unquote_to_bytes

from lro_gateway.errors import StatusError, invalid_argument, quote

_LITERAL_SAFE: Final = "-_.~!$&'()+,;=@"

_PART: Final = re.compile(r"\{([^{}=]*)(?:=([^{}]*))?\}|([^/{}]*)")
_FIELD_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_LITERAL: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()+,;=:@-]|%[0-9A-Fa-f]{2})+")
_MALFORMED_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPED_SLASH: Final = re.compile(r"%2[Ff]")
_NOT_IN_A_PARAMETER: Final = re.compile(r"[^A-Za-z0-9_]+")


class Wildcard(enum.Enum):
    """A segment of a template that is not a literal."""

    ONE = "*"
    MANY = "**"


Segment = str | Wildcard
"""A wildcard, or the decoded text of a literal."""

Shape = tuple[tuple[Segment, ...], str]
"""The segments and the custom verb of a template, without its variables."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable, which sets a request field. It covers the template segments `[start, end)`."""

    field_path: str
    start: int
    end: int
    multi: bool
    """Whether the variable can match a number of segments other than one.

    A `%2F` in the value of such a variable is not decoded.
    """


@dataclass(frozen=True, slots=True)
class PathParameter:
    """A wildcard as a parameter of an OpenAPI path.

    `field_path` is empty if the wildcard is not part of a variable.
    """

    name: str
    wildcard: Wildcard
    field_path: str


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A parsed template. `verb` is its custom verb, or empty if it has none."""

    text: str
    segments: tuple[Segment, ...] = field(repr=False)
    variables: tuple[Variable, ...] = field(repr=False)
    verb: str = ""

    @classmethod
    def parse(cls, text: str) -> PathTemplate:
        """Parse a template. Raises `ValueError`, which names the mistake, if it is malformed."""
        if not text.startswith("/"):
            raise ValueError(f"{quote(text)} does not begin with a slash")
        rest, verb = _split_verb(text)
        segments, variables = ([], []) if text == "/" else _parse_parts(rest)
        if segments.count(Wildcard.MANY) > 1:
            raise ValueError(f"{quote(text)} has more than one **")
        field_paths = [variable.field_path for variable in variables]
        if len(set(field_paths)) < len(field_paths):
            raise ValueError(f"{quote(text)} has two variables for one field")
        return cls(text, tuple(segments), tuple(variables), verb)

    @property
    def shape(self) -> Shape:
        """The segments and the custom verb, which decide what paths the template matches."""
        return self.segments, self.verb

    def capture(self, segments: Sequence[str]) -> dict[str, str]:
        """Return the value of each variable in a path that the template matches.

        `segments` are the segments of the path. They are still percent-encoded, and do not contain
        the custom verb. Fails with INVALID_ARGUMENT, which names the variable, if the text of a
        variable is not percent-encoded UTF-8.
        """
        values = {}
        for variable in self.variables:
            start = self._index_in_path(variable.start, segments)
            end = self._index_in_path(variable.end, segments)
            raw = "/".join(segments[start:end])
            text = decode(_ESCAPED_SLASH.sub(_twice_escaped, raw) if variable.multi else raw)
            if text is None:
                raise _malformed(variable.field_path, raw)
            values[variable.field_path] = text
        return values

    def _index_in_path(self, index: int, segments: Sequence[str]) -> int:
        """Convert an index of the template's segments to an index of a path's segments."""
        if Wildcard.MANY in self.segments[:index]:
            return index + len(segments) - len(self.segments)
        return index

    def segment_at(self, index: int, length: int) -> Segment:
        """Return the segment of the template that matches the segment `index` of a path.

        The path has `length` segments without its custom verb, and the template matches it.
        """
        if Wildcard.MANY not in self.segments:
            return self.segments[index]
        many = self.segments.index(Wildcard.MANY)
        from_end = index - length
        in_tail = from_end >= many + 1 - len(self.segments)
        return self.segments[from_end] if in_tail else self.segments[min(index, many)]

    def pattern_of(self, variable: Variable) -> str:
        """Return the template segments of a variable, decoded, such as `shelves/*`."""
        own = self.segments[variable.start : variable.end]
        return "/".join(each.value if isinstance(each, Wildcard) else each for each in own)

    def openapi_path(self) -> str:
        """Return the template as an OpenAPI path. Templates of one shape have the same path."""
        names = iter(self._parameter_names())
        parts = [
            f"{{{next(names)}}}" if isinstance(segment, Wildcard) else _encoded(segment)
            for segment in self.segments
        ]
        return "/" + "/".join(parts) + (f":{_encoded(self.verb)}" if self.verb else "")

    def path_parameters(self) -> tuple[PathParameter, ...]:
        """Return the parameters of `openapi_path`, in the order in which that path has them."""
        indexes = [i for i, segment in enumerate(self.segments) if isinstance(segment, Wildcard)]
        return tuple(
            PathParameter(name, Wildcard(self.segments[index]), self._field_at(index))
            for name, index in zip(self._parameter_names(), indexes, strict=True)
        )

    def _field_at(self, index: int) -> str:
        for variable in self.variables:
            if variable.start <= index < variable.end:
                return variable.field_path
        return ""

    def _parameter_names(self) -> list[str]:
        """Return a name for each wildcard, made from its position and not from its variable.

        OpenAPI forbids two paths that differ only in parameter names. A wildcard after a literal is
        named as in Google's Discovery documents: `projects/{projectsId}`.
        """
        names: list[str] = []
        before: Segment = ""
        for index, segment in enumerate(self.segments):
            if isinstance(segment, Wildcard):
                name = "name" if segment is Wildcard.MANY else "id"
                if isinstance(before, str) and index > 1 and segment is Wildcard.ONE:
                    name = _NOT_IN_A_PARAMETER.sub("_", before) + "Id"
                names.append(_unused(name, names))
            before = segment
        return names


def _unused(name: str, taken: Sequence[str]) -> str:
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}{count}"
    return candidate


def _encoded(segment: Segment) -> str:
    """Percent-encode a literal. Return a wildcard unchanged."""
    return (
        segment.value if isinstance(segment, Wildcard) else percent_encode(segment, _LITERAL_SAFE)
    )


def _twice_escaped(escaped_slash: re.Match[str]) -> str:
    return "%25" + escaped_slash[0][1:]


def _malformed(field_path: str, raw: str) -> StatusError:
    problem = f"{quote(raw)} in the path is not percent-encoded UTF-8"
    return invalid_argument(field_path, problem, "INVALID_PATH")


def split_path(raw_path: bytes) -> tuple[str, ...] | None:
    """Return the segments of a path, still percent-encoded.

    The result is None if the path has an empty segment or no leading slash, because no template
    matches such a path. The query is dropped. Bytes that are not UTF-8 are kept, and `decode`
    refuses them.
    """
    path = raw_path.partition(b"?")[0].decode("utf-8", "surrogateescape")
    if path == "/":
        return ()
    segments = tuple(path.split("/"))
    return None if segments[0] or "" in segments[1:] or len(segments) == 1 else segments[1:]


def split_custom_verb(segments: Sequence[str]) -> tuple[tuple[str, ...], str] | None:
    """Split the segments of a path at the last `:`, and return the rest and the decoded verb.

    The result is None if the last segment has no verb. A percent-encoded colon does not begin a
    verb.
    """
    if not segments:
        return None
    rest, colon, raw_verb = segments[-1].rpartition(":")
    verb = decode(raw_verb)
    return ((*segments[:-1], rest), verb) if colon and rest and verb else None


def decode(text: str) -> str | None:
    """Decode a percent-encoded text, or return None if it is not percent-encoded UTF-8."""
    if "%" not in text and text.isascii():
        return text
    if _MALFORMED_PERCENT.search(text):
        return None
    try:
        return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode()
    except UnicodeError:
        return None


def _split_verb(text: str) -> tuple[str, str]:
    """Return the template without its custom verb, and the verb."""
    start = max(text.rfind("/"), text.rfind("}")) + 1
    rest, colon, raw_verb = text[start:].rpartition(":")
    if not colon:
        return text, ""
    # Only a verb can follow a variable, so a second colon is wrong. A literal may contain colons.
    if ":" in rest and text[start - 1] == "}":
        raise ValueError(f"{quote(text)}: a custom verb cannot contain a colon")
    return text[:start] + rest, _literal(raw_verb, "the custom verb")


def _parse_parts(text: str) -> tuple[list[Segment], list[Variable]]:
    segments: list[Segment] = []
    variables: list[Variable] = []
    index = 0
    while index < len(text):
        if text[index] != "/":
            raise ValueError(f"{quote(text)}: a slash is needed before {quote(text[index:])}")
        part = _PART.match(text, index + 1)
        if part is None or (not part[0] and text[index + 1 : index + 2] in {"{", "}"}):
            problem = "a variable lacks a brace or contains another variable"
            raise ValueError(f"{quote(text)}: {problem}: {quote(text[index + 1 :])}")
        if part[1] is None:
            segments.append(_segment(part[3], text))
        else:
            wildcards = "*" if part[2] is None else part[2]
            inner = [_segment(each, text) for each in wildcards.split("/")]
            variables.append(_variable(part[1], len(segments), inner, text))
            segments.extend(inner)
        index = part.end()
    return segments, variables


def _variable(field_path: str, start: int, inner: list[Segment], whole: str) -> Variable:
    if not _FIELD_PATH.fullmatch(field_path):
        raise ValueError(f"{quote(whole)}: {quote(field_path)} is not a field path")
    multi = len(inner) > 1 or Wildcard.MANY in inner
    return Variable(field_path, start, start + len(inner), multi)


def _segment(text: str, whole: str) -> Segment:
    if text in {"*", "**"}:
        return Wildcard(text)
    if not text:
        raise ValueError(f"{quote(whole)} has an empty segment")
    return _literal(text, f"the segment in {quote(whole)}")


def _literal(text: str, subject: str) -> str:
    decoded = decode(text) if _LITERAL.fullmatch(text) else None
    if decoded is None:
        raise ValueError(f"{subject} is not *, ** or URL text: {quote(text)}")
    return decoded

"""Path templates of google.api.http: parsed, and their variables read from raw paths.

    Template = "/" Segments [ Verb ]                      as google/api/http.proto has it
    Segments = Segment { "/" Segment }
    Segment  = "*" | "**" | LITERAL | Variable
    Variable = "{" FieldPath [ "=" Segments ] "}"
    Verb     = ":" LITERAL

Where http.proto leaves room: one `**`, which anything of fixed length may follow (grpc-gateway;
Google's transcoder allows literals there); "/" alone is a template (both); a `:` in the last
segment begins the custom verb, which holds none itself (Google's), and in any other segment it is
text (grpc-gateway). `**` takes zero segments or more, and then a variable has no trailing slash
(Google's). An empty segment matches nothing: http.proto lets no variable begin with a slash.
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
    """A segment of a template that is no literal."""

    ONE = "*"
    MANY = "**"


Segment = str | Wildcard
"""A wildcard, or a literal's decoded text."""

Shape = tuple[tuple[Segment, ...], str]
"""What a template matches, once its variables are dropped: its segments and its custom verb."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A request field and the segments `[start, end)` of the template that it takes."""

    field_path: str
    start: int
    end: int
    multi: bool
    """Whether it may take other than one segment; then a `%2F` in it is not decoded."""


@dataclass(frozen=True, slots=True)
class PathParameter:
    """A wildcard as a parameter of an OpenAPI path; without a field, `field_path` is empty."""

    name: str
    wildcard: Wildcard
    field_path: str


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A parsed template; `verb` is its custom verb, empty if it has none."""

    text: str
    segments: tuple[Segment, ...] = field(repr=False)
    variables: tuple[Variable, ...] = field(repr=False)
    verb: str = ""

    @classmethod
    def parse(cls, text: str) -> PathTemplate:
        """Parse a template; `ValueError` says what is wrong with it."""
        if not text.startswith("/"):
            raise ValueError(f"{quote(text)} does not begin with a slash")
        rest, verb = _split_verb(text)
        segments, variables = ([], []) if text == "/" else _parse_parts(rest)
        if segments.count(Wildcard.MANY) > 1:
            raise ValueError(f"{quote(text)} has more than one **")
        paths = [variable.field_path for variable in variables]
        if len(set(paths)) < len(paths):
            raise ValueError(f"{quote(text)} takes a field from two places")
        return cls(text, tuple(segments), tuple(variables), verb)

    @property
    def shape(self) -> Shape:
        """What it matches; templates of one shape match the same paths."""
        return self.segments, self.verb

    def capture(self, segments: Sequence[str]) -> dict[str, str]:
        """Return the variables in raw segments that match, without a custom verb.

        INVALID_ARGUMENT names the variable whose text is not percent-encoded UTF-8.
        """
        taken = {}
        for variable in self.variables:
            start, end = self._place(variable.start, segments), self._place(variable.end, segments)
            raw = "/".join(segments[start:end])
            text = decode(_ESCAPED_SLASH.sub(_twice_escaped, raw) if variable.multi else raw)
            if text is None:
                raise _malformed(variable.field_path, raw)
            taken[variable.field_path] = text
        return taken

    def _place(self, index: int, segments: Sequence[str]) -> int:
        """Return where a place between the template's segments is in a path's."""
        if Wildcard.MANY in self.segments[:index]:
            return index + len(segments) - len(self.segments)
        return index

    def pattern_of(self, variable: Variable) -> str:
        """Return the segments that a variable takes, decoded, such as `shelves/*`."""
        taken = self.segments[variable.start : variable.end]
        return "/".join(each.value if isinstance(each, Wildcard) else each for each in taken)

    def openapi_path(self) -> str:
        """Return it as an OpenAPI path; templates of one shape have the same one."""
        names = iter(self._parameter_names())
        parts = [
            f"{{{next(names)}}}" if isinstance(segment, Wildcard) else _encoded(segment)
            for segment in self.segments
        ]
        return "/" + "/".join(parts) + (f":{_encoded(self.verb)}" if self.verb else "")

    def path_parameters(self) -> tuple[PathParameter, ...]:
        """Return the parameters of `openapi_path`, in its order."""
        places = [i for i, segment in enumerate(self.segments) if isinstance(segment, Wildcard)]
        return tuple(
            PathParameter(name, Wildcard(self.segments[place]), self._field_at(place))
            for name, place in zip(self._parameter_names(), places, strict=True)
        )

    def _field_at(self, place: int) -> str:
        for variable in self.variables:
            if variable.start <= place < variable.end:
                return variable.field_path
        return ""

    def _parameter_names(self) -> list[str]:
        """Name each wildcard by its place alone: OpenAPI refuses two names for one place.

        After a literal as Google's Discovery documents do it, `projects/{projectsId}`.
        """
        names: list[str] = []
        before: Segment = ""
        for place, segment in enumerate(self.segments):
            if isinstance(segment, Wildcard):
                name = "name" if segment is Wildcard.MANY else "id"
                if isinstance(before, str) and place > 1 and segment is Wildcard.ONE:
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
    """Return a literal as a path has it; a wildcard outside every variable stands for itself."""
    return (
        segment.value if isinstance(segment, Wildcard) else percent_encode(segment, _LITERAL_SAFE)
    )


def _twice_escaped(escaped_slash: re.Match[str]) -> str:
    return "%25" + escaped_slash[0][1:]


def _malformed(field_path: str, raw: str) -> StatusError:
    problem = f"{quote(raw)} in the path is not percent-encoded UTF-8"
    return invalid_argument(field_path, problem, "INVALID_PATH")


def split_path(raw_path: bytes) -> tuple[str, ...] | None:
    """Return the segments of a path, still percent-encoded, or None for one that nothing matches.

    A query is dropped. Bytes that are not UTF-8 stay, and `decode` finds them.
    """
    path = raw_path.partition(b"?")[0].decode("utf-8", "surrogateescape")
    if path == "/":
        return ()
    segments = tuple(path.split("/"))
    return None if segments[0] or "" in segments[1:] or len(segments) == 1 else segments[1:]


def split_custom_verb(segments: Sequence[str]) -> tuple[tuple[str, ...], str] | None:
    """Return the segments without what follows the last `:` of the last one, and that, decoded.

    None where there is no such thing. A percent-encoded colon is text.
    """
    if not segments:
        return None
    rest, colon, raw_verb = segments[-1].rpartition(":")
    verb = decode(raw_verb)
    return ((*segments[:-1], rest), verb) if colon and rest and verb else None


def decode(text: str) -> str | None:
    """Return percent-encoded UTF-8 decoded, or None if it is not that."""
    if "%" not in text and text.isascii():
        return text
    if _MALFORMED_PERCENT.search(text):
        return None
    try:
        return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode()
    except UnicodeError:
        return None


def _split_verb(text: str) -> tuple[str, str]:
    """Split a template before its custom verb."""
    begin = max(text.rfind("/"), text.rfind("}")) + 1
    rest, colon, raw_verb = text[begin:].rpartition(":")
    if not colon:
        return text, ""
    # After a variable nothing but the verb can follow; a literal may hold a colon of its own.
    if ":" in rest and text[begin - 1] == "}":
        raise ValueError(f"{quote(text)}: a custom verb holds no colon")
    return text[:begin] + rest, _literal(raw_verb, "the custom verb")


def _parse_parts(text: str) -> tuple[list[Segment], list[Variable]]:
    segments: list[Segment] = []
    variables: list[Variable] = []
    at = 0
    while at < len(text):
        if text[at] != "/":
            raise ValueError(f"{quote(text)}: a slash is needed before {quote(text[at:])}")
        part = _PART.match(text, at + 1)
        if part is None or (not part[0] and text[at + 1 : at + 2] in {"{", "}"}):
            problem = "a variable is not closed, or holds another"
            raise ValueError(f"{quote(text)}: {problem}: {quote(text[at + 1 :])}")
        if part[1] is None:
            segments.append(_segment(part[3], text))
        else:
            wildcards = "*" if part[2] is None else part[2]
            inner = [_segment(each, text) for each in wildcards.split("/")]
            variables.append(_variable(part[1], len(segments), inner, text))
            segments.extend(inner)
        at = part.end()
    return segments, variables


def _variable(field_path: str, start: int, inner: list[Segment], whole: str) -> Variable:
    if not _FIELD_PATH.fullmatch(field_path):
        raise ValueError(f"{quote(whole)}: {quote(field_path)} is not the path of a field")
    multi = len(inner) > 1 or Wildcard.MANY in inner
    return Variable(field_path, start, start + len(inner), multi)


def _segment(text: str, whole: str) -> Segment:
    if text in {"*", "**"}:
        return Wildcard(text)
    if not text:
        raise ValueError(f"{quote(whole)} has an empty segment")
    return _literal(text, f"the segment in {quote(whole)}")


def _literal(text: str, what: str) -> str:
    decoded = decode(text) if _LITERAL.fullmatch(text) else None
    if decoded is None:
        raise ValueError(f"{what} is neither *, ** nor text as in a URL: {quote(text)}")
    return decoded

"""Parsed rules of google.api.http, which map the path, query and body to request fields.

A field that is neither in the path nor in the body is in the query (google/api/http.proto).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from google.protobuf.descriptor import Descriptor

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.field_paths import (
    FieldPath,
    FieldPathError,
    field_path,
    parameter_field,
)
from lro_gateway.descriptors.http_body import HTTP_BODY, body_field, holds_body
from lro_gateway.descriptors.http_templates import PathTemplate, Variable

WHOLE: Final[FieldPath] = ()
"""The empty path, which stands for the whole message."""

WHOLE_BODY: Final = "*"
"""The `body` of a rule whose HTTP body is the whole request message."""


@dataclass(frozen=True, slots=True)
class HttpBinding:
    """One google.api.HttpRule, whose texts are not parsed yet."""

    verb: str
    template: str
    body: str
    response_body: str


@dataclass(frozen=True, slots=True)
class PathField:
    """A variable of a path template, and the request field that it sets.

    `pattern` is the pattern that the values of the variable match, such as `shelves/*`.
    """

    variable: Variable
    path: FieldPath
    pattern: str

    @property
    def name(self) -> str:
        """The field path as the template writes it, such as `book.name`."""
        return self.variable.field_path


@dataclass(frozen=True, slots=True)
class HttpRule:
    """A rule whose template parses and whose fields exist.

    `body` is the request field that the HTTP body sets. `body` is `WHOLE` if the HTTP body is the
    whole request, and None if the rule has no body. `response_body` is the response field that
    becomes the HTTP response, or `WHOLE`. If `takes_raw` is true, the HTTP body is not JSON but the
    bytes of a google.api.HttpBody. If `answers_raw` is true, this holds for the HTTP response.
    """

    verb: str
    template: PathTemplate
    path_fields: tuple[PathField, ...]
    body: FieldPath | None
    response_body: FieldPath
    takes_raw: bool = False
    answers_raw: bool = False

    @property
    def path_names(self) -> tuple[str, ...]:
        """The field paths of the variables, as the template writes them."""
        return tuple(each.name for each in self.path_fields)

    def location_of(self, path: FieldPath) -> str:
        """Return the part of an HTTP request that sets a field: `path`, `body` or `query`."""
        if any(path[: len(each.path)] == each.path for each in self.path_fields):
            return "path"
        if self.body is not None and path[: len(self.body)] == self.body:
            return "body"
        return "query"


@dataclass(frozen=True, slots=True)
class WrongRule:
    """A rule that cannot be served.

    `problem` says why. `path_names` are the field paths of the variables in the template. If the
    template does not parse, `path_names` is empty.
    """

    verb: str
    template: str
    problem: str
    path_names: tuple[str, ...] = ()


def parse_rule(
    binding: HttpBinding, request: Descriptor, response: Descriptor
) -> HttpRule | WrongRule:
    """Parse a rule and check its fields, so that a mistake is found before any request."""
    names: tuple[str, ...] = ()
    try:
        template = PathTemplate.parse(binding.template)
        names = tuple(variable.field_path for variable in template.variables)
        body = _body(binding.body, request)
        response_body = _response_body(binding.response_body, response)
        return HttpRule(
            binding.verb,
            template,
            tuple(_path_field(variable, template, request) for variable in template.variables),
            body,
            response_body,
            takes_raw=body is not None and _is_raw(body, request),
            answers_raw=_is_raw(response_body, response),
        )
    except (ValueError, FieldPathError) as error:
        return WrongRule(binding.verb, binding.template, str(error), names)


def _path_field(variable: Variable, template: PathTemplate, request: Descriptor) -> PathField:
    path = parameter_field(request, variable.field_path)
    if path[-1].is_repeated:
        raise ValueError(f"{variable.field_path} is repeated, so a path cannot hold it")
    return PathField(variable, path, template.pattern_of(variable))


def _body(text: str, request: Descriptor) -> FieldPath | None:
    if text == WHOLE_BODY:
        # A raw body cannot hold the other fields of the request, so they are in the path and query.
        raw = body_field(request)
        return WHOLE if raw is None else (raw,)
    return field_path(request, text) if text else None


def _is_raw(path: FieldPath, message: Descriptor) -> bool:
    return holds_body(path[-1]) if path else message.full_name == HTTP_BODY


def _response_body(text: str, response: Descriptor) -> FieldPath:
    if not text:
        return WHOLE
    if response.full_name in well_known.OPAQUE:
        raise ValueError(f"the JSON of a {response.full_name} has no fields")
    return field_path(response, text)

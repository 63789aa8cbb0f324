"""Converts HTTP requests into calls of methods, by google.api.http rules. It does no I/O.

http.proto defines which fields of a request come from its path, its body and its query.

A field in the path wins over the same field in the body, as in grpc-gateway and in http.proto. If
a query parameter is unknown or misplaced, the gateway refuses the request, but both transcoders
ignore the parameter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.field_names import property_key
from lro_gateway.descriptors.field_paths import (
    FieldPath,
    FieldPathError,
    UnknownFieldError,
    default_json,
    json_value,
    parameter_field,
    put,
)
from lro_gateway.descriptors.http_body import RawBody
from lro_gateway.descriptors.http_rules import WHOLE, HttpRule
from lro_gateway.descriptors.scalars import shown
from lro_gateway.errors import JSON, invalid_argument, quote
from lro_gateway.rest.parameters import SYSTEM
from lro_gateway.rest.route_table import Match, Route
from lro_gateway.service.catalog import backend_argument

NESTED: Final = 3
"""The maximum number of fields in a documented parameter's name. `book.author.name` has three."""


def request_fields(match: Match, query: Sequence[tuple[str, str]], body: Any) -> JSON:
    """Return the request message as ProtoJSON, with the fields of the body, the query and the path.

    `body` is parsed JSON, or None if there is no body. This function does not change it. `query`
    has no system parameters. Raises INVALID_ARGUMENT if a parameter is unknown, is misplaced, is
    given twice, or has a value of the wrong type. This function does not check the fields of the
    body, because the parser of the ProtoJSON checks them.
    """
    fields = _body_fields(match, body)
    for name, path, values in _query_fields(match, query):
        put(fields, path, values if path[-1].is_repeated else values[0], name)
    for each in match.rule.path_fields:
        text = match.variables[each.name]
        put(fields, each.path, json_value(each.path[-1], text, each.name), each.name)
    return fields


def _body_fields(match: Match, body: Any) -> JSON:
    path = match.rule.body
    if path == WHOLE:
        if body is not None and not isinstance(body, dict):
            problem = f"the body is not a JSON object, but {shown(body)}"
            raise invalid_argument("", problem, "INVALID_JSON")
        return dict(body or {})
    if path is None:
        if body is not None and body != {}:
            problem = f"{match.rule.verb} of {match.method.full_name} takes no body"
            raise invalid_argument("", problem, "UNEXPECTED_BODY")
        return {}
    fields: JSON = {}
    if body is not None:
        put(fields, path, body, ".".join(each.name for each in path))
    return fields


def _query_fields(
    match: Match, query: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, FieldPath, list[Any]]]:
    """Yield each field in the query: its name as first written, its path and its values as JSON."""
    given: dict[FieldPath, tuple[str, FieldPath, list[Any]]] = {}
    for name, text in query:
        shown = name if name.isascii() and name.isprintable() and len(name) < 120 else quote(name)
        try:
            path = parameter_field(match.method.request, name)
        except UnknownFieldError as error:
            also = (backend_argument(match.method), *SYSTEM)
            raise invalid_argument(shown, error.problem(also), error.reason) from None
        except FieldPathError as error:
            raise invalid_argument(shown, str(error), error.reason) from None
        if (location := match.rule.location_of(path)) != "query":
            raise invalid_argument(shown, f"must be given in the {location}", "MISPLACED_FIELD")
        _, _, values = given.setdefault(path, (shown, path, []))
        if values and not path[-1].is_repeated:
            raise invalid_argument(shown, "is given twice; give it once")
        values.append(json_value(path[-1], text, shown))
    yield from given.values()


def takes_parameter(match: Match, name: str) -> bool:
    """Return whether the query can give a field of this name."""
    try:
        path = parameter_field(match.method.request, name)
    except FieldPathError:
        return False
    return match.rule.location_of(path) == "query"


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """A field that the query of a route can give; `name` is its path in the document."""

    name: str
    path: FieldPath


def query_parameters(route: Route) -> tuple[QueryParameter, ...]:
    """Return the documented query parameters of a route; a name has at most `NESTED` fields."""
    return tuple(
        QueryParameter(".".join(property_key(each) or each.name for each in path), path)
        for path in _leaves(route.method.request, (), route.rule)
    )


def _leaves(message: Descriptor, parents: FieldPath, rule: HttpRule) -> Iterator[FieldPath]:
    if rule.location_of(parents) != "query" or len(parents) == NESTED:
        return
    for each in message.fields:
        path = (*parents, each)
        kind = each.message_type
        if kind is None or (kind.full_name in well_known.SCALAR and not each.is_repeated):
            if rule.location_of(path) == "query":
                yield path
        elif not each.is_repeated and kind.full_name not in well_known.OPAQUE:
            yield from _leaves(kind, path, rule)


def response_json(match: Match, response: Any, *, enum_numbers: bool = False) -> Any:
    """Return the HTTP body: the whole response, or the field that the rule's `response_body` names.

    `response` is ProtoJSON. If it omits that field, the body is the field's default: an empty list,
    an empty object, an empty text, zero, false or null.
    """
    value: Any = response
    for each in match.rule.response_body:
        value = value.get(each.json_name)
        if value is None:
            return default_json(each, enum_numbers=enum_numbers)
    return value


def response_body(match: Match, response: Message) -> RawBody:
    """Return the raw HTTP body of a rule that `answers_raw`."""
    value: Any = response
    for each in match.rule.response_body:
        value = getattr(value, each.name)
    return RawBody.of(value)

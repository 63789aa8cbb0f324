"""HTTP requests to methods and their requests' fields, by google.api.http rules; pure.

http.proto says which fields come from the path, the body and the query. A literal goes before `*`
and `*` before `**` at the first segment that differs (Google's transcoder; grpc-gateway takes the
rule that it read last). By both, a template without the HTTP verb leaves a path to a less specific
one, and what follows the last `:` is a custom verb only where a template has it. A path whose
custom verb some route answers is not read without it, so GET of `x:cancel` is refused (Google's).
The path wins over the body (grpc-gateway, and http.proto by its words). Stricter than both:
parameters that are unknown or misplaced are refused, not ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.descriptor import Descriptor

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.field_paths import (
    FieldPath,
    FieldPathError,
    default_json,
    json_value,
    parameter_field,
    put,
)
from lro_gateway.descriptors.http_rules import (
    WHOLE,
    WHOLE_BODY,
    HttpBinding,
    HttpRule,
    WrongRule,
    parse_rule,
)
from lro_gateway.descriptors.http_templates import (
    Segment,
    Shape,
    Wildcard,
    decode,
    split_custom_verb,
    split_path,
)
from lro_gateway.descriptors.methods import Method
from lro_gateway.errors import JSON, invalid_argument, quote

NESTED: Final = 3
"""The most fields that the name of a documented parameter leads through."""

ANY_VERB: Final = "*"
"""The HTTP verb of a rule that leaves it open (`custom`)."""


@dataclass(frozen=True, slots=True)
class Route:
    """One rule of a method."""

    method: Method
    rule: HttpRule


@dataclass(frozen=True, slots=True)
class Refusal:
    """Rules without a route: one that is wrong, or several of different methods for one route."""

    verb: str
    template: str
    methods: tuple[str, ...]
    problem: str

    def __str__(self) -> str:
        """Say it for a log."""
        return f"{self.verb} {self.template} of {' and '.join(self.methods)}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Match:
    """The method that a request is for, by which rule, and the variables in its path, decoded."""

    method: Method
    rule: HttpRule
    variables: Mapping[str, str]


@dataclass(slots=True)
class _Node:
    """A place in templates: what may follow, and the routes that end here by both their verbs."""

    literals: dict[str, _Node] = field(default_factory=dict)
    one: _Node | None = None
    many: dict[int, _Node] = field(default_factory=dict)
    """What follows a `**`, by its number of segments."""
    routes: dict[str, dict[str, Route]] = field(default_factory=dict)
    """By custom verb, then by HTTP verb."""

    def grown(self, segments: Sequence[Segment]) -> _Node:
        """Return the place after these segments, which is made if it is new."""
        node = self
        for index, segment in enumerate(segments):
            if segment is Wildcard.ONE:
                node.one = node.one or _Node()
                node = node.one
            elif isinstance(segment, str):
                node = node.literals.setdefault(segment, _Node())
            else:
                node = node.many.setdefault(len(segments) - index - 1, _Node())
        return node


class RouteTable:
    """The routes of methods, in a trie: a look-up visits only what the path's segments lead to."""

    def __init__(self, routes: Iterable[Route], refusals: Iterable[Refusal] = ()) -> None:
        """Take routes of which no two have one verb and one shape."""
        self.routes = tuple(routes)
        self.refusals = tuple(refusals)
        self._root = _Node()
        for route in self.routes:
            template = route.rule.template
            node = self._root.grown(template.segments)
            node.routes.setdefault(template.verb, {})[route.rule.verb] = route

    @classmethod
    def of(
        cls, methods: Iterable[Method], check: Callable[[Route], None] = lambda _: None
    ) -> RouteTable:
        """Return the table of these methods; what is wrong with their rules is in `refusals`.

        A method without a rule gets `POST /v1/{package.Service}/{Method}`. A route that different
        methods claim is served by none of them; of one method's own, the first rule is taken.
        `check` raises `ValueError` for a route that could never meet a request.
        """
        claims: dict[tuple[str, Shape], list[Route]] = {}
        refusals = []
        for method in methods:
            for found in _routes_of(method, check):
                if isinstance(found, Refusal):
                    refusals.append(found)
                else:
                    key = (found.rule.verb, found.rule.template.shape)
                    claims.setdefault(key, []).append(found)
        served = []
        for claimants in claims.values():
            first, names = claimants[0], {route.method.full_name: None for route in claimants}
            if len(names) == 1:
                served.append(first)
            else:
                problem = "one route of different methods, which none of them gets"
                rule = first.rule
                refusals.append(Refusal(rule.verb, rule.template.text, tuple(names), problem))
        return cls(served, refusals)

    def match(self, verb: str, raw_path: bytes) -> Match | None:
        """Return what a request is for, or None; the path is still percent-encoded.

        INVALID_ARGUMENT if what a variable takes is not percent-encoded UTF-8.
        """
        segments, candidates = self._candidates(raw_path)
        for routes in candidates:
            if route := routes.get(verb) or routes.get(ANY_VERB):
                return Match(route.method, route.rule, route.rule.template.capture(segments))
        return None

    def routes_for(self, raw_path: bytes) -> tuple[Route, ...]:
        """Return the routes for a path, one for each HTTP verb; `ANY_VERB` stands for all verbs."""
        _, candidates = self._candidates(raw_path)
        by_verb = {verb: route for routes in reversed(candidates) for verb, route in routes.items()}
        return tuple(by_verb.values())

    def _candidates(self, raw_path: bytes) -> tuple[Sequence[str], Sequence[Mapping[str, Route]]]:
        """Return the segments without a custom verb, and the routes, the most specific first."""
        segments = split_path(raw_path)
        if segments is None:
            return (), ()
        if with_verb := split_custom_verb(segments):
            shorter, verb = with_verb
            if found := self._routes(shorter, verb):
                return shorter, found
        return segments, self._routes(segments, "")

    def _routes(self, segments: Sequence[str], custom_verb: str) -> list[Mapping[str, Route]]:
        nodes = _reached(self._root, [decode(segment) for segment in segments])
        return [node.routes[custom_verb] for node in nodes if custom_verb in node.routes]


def _reached(root: _Node, segments: Sequence[str | None]) -> Iterator[_Node]:
    """Yield the nodes where a path ends, the most specific first; each node is seen once at most.

    A segment that is None was malformed: no literal, but a wildcard takes it.
    """
    pending = [(root, 0)]
    while pending:
        node, at = pending.pop()
        # The last to be put there is the next to be looked at.
        tails = [length for length in sorted(node.many) if at + length <= len(segments)]
        pending.extend((node.many[length], len(segments) - length) for length in tails)
        if at == len(segments):
            yield node
            continue
        if node.one is not None:
            pending.append((node.one, at + 1))
        segment = segments[at]
        if segment is not None and segment in node.literals:
            pending.append((node.literals[segment], at + 1))


def _routes_of(method: Method, check: Callable[[Route], None]) -> Iterator[Route | Refusal]:
    """Yield a route for each rule of a method, or why there is none."""
    for rule in method.rules or (default_rule(method),):
        if isinstance(rule, WrongRule):
            yield Refusal(rule.verb, rule.template, (method.full_name,), rule.problem)
            continue
        route = Route(method, rule)
        try:
            check(route)
        except ValueError as error:
            yield Refusal(rule.verb, rule.template.text, (method.full_name,), str(error))
        else:
            yield route


def default_rule(method: Method) -> HttpRule | WrongRule:
    """Return the rule of a method that has none.

    grpc-gateway's and Envoy's is `POST /package.Service/Method`; here a path begins with a version.
    """
    binding = HttpBinding("POST", f"/v1/{method.path}", WHOLE_BODY, "")
    return parse_rule(binding, method.request, method.response)


def request_fields(match: Match, query: Sequence[tuple[str, str]], body: Any) -> JSON:
    """Return the request as ProtoJSON: the fields of its body, its query and its path.

    `body` is parsed JSON, None where there is none; it is not changed. `query` has no system
    parameters. INVALID_ARGUMENT names the parameter that is unknown, misplaced, given twice or not
    of its type. What the body's fields hold is left to whoever parses the ProtoJSON.
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
            raise invalid_argument("", "the body is not a JSON object", "INVALID_JSON")
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
    """Yield each field in the query, by the name it came with first, and its values as JSON."""
    given: dict[FieldPath, tuple[str, FieldPath, list[Any]]] = {}
    for name, text in query:
        shown = name if name.isascii() and name.isprintable() and len(name) < 120 else quote(name)
        try:
            path = parameter_field(match.method.request, name)
        except FieldPathError as error:
            raise invalid_argument(shown, str(error), error.reason) from None
        if (place := match.rule.location_of(path)) != "query":
            raise invalid_argument(shown, f"is to be given in the {place}", "MISPLACED_FIELD")
        _, _, values = given.setdefault(path, (shown, path, []))
        if values and not path[-1].is_repeated:
            raise invalid_argument(shown, "given twice")
        values.append(json_value(path[-1], text, shown))
    yield from given.values()


def takes_parameter(match: Match, name: str) -> bool:
    """Tell whether a query can give a field by this name."""
    try:
        path = parameter_field(match.method.request, name)
    except FieldPathError:
        return False
    return match.rule.location_of(path) == "query"


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """A field that a route's query can give; `name` is its path in camelCase."""

    name: str
    path: FieldPath


def query_parameters(route: Route) -> tuple[QueryParameter, ...]:
    """Return what a route's query can give, for documentation: `NESTED` fields deep at the most."""
    return tuple(
        QueryParameter(".".join(each.json_name for each in path), path)
        for path in _leaves(route.method.request, (), route.rule)
    )


def _leaves(message: Descriptor, before: FieldPath, rule: HttpRule) -> Iterator[FieldPath]:
    if rule.location_of(before) != "query" or len(before) == NESTED:
        return
    for each in message.fields:
        path = (*before, each)
        kind = each.message_type
        if kind is None or (kind.full_name in well_known.SCALAR and not each.is_repeated):
            if rule.location_of(path) == "query":
                yield path
        elif not each.is_repeated and kind.full_name not in well_known.OPAQUE:
            yield from _leaves(kind, path, rule)


def response_json(match: Match, response: Any) -> Any:
    """Return what the HTTP body is of a response's ProtoJSON: all of it, or its `response_body`.

    A field that ProtoJSON left out is its default: an empty list, an empty object, zero, null.
    """
    value: Any = response
    for each in match.rule.response_body:
        value = value.get(each.json_name)
        if value is None:
            return default_json(each)
    return value

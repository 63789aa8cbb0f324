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

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from lro_gateway.descriptors.field_paths import (
    AS_STRING,
    OPAQUE,
    FieldPath,
    FieldPathError,
    default_json,
    field_path,
    json_value,
    parameter_field,
    put,
)
from lro_gateway.descriptors.http_templates import (
    PathTemplate,
    Segment,
    Shape,
    Wildcard,
    decode,
    split_custom_verb,
    split_path,
)
from lro_gateway.descriptors.methods import HttpBinding, Method
from lro_gateway.errors import JSON, invalid_argument, quote

NESTED: Final = 3
"""The most fields that the name of a documented parameter leads through."""

WHOLE_BODY: Final = "*"
ANY_VERB: Final = "*"
"""The HTTP verb of a rule that leaves it open (`custom`)."""


@dataclass(frozen=True, slots=True)
class Route:
    """One rule of a method, its template parsed."""

    method: Method
    binding: HttpBinding
    template: PathTemplate


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
    binding: HttpBinding
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
            node = self._root.grown(route.template.segments)
            node.routes.setdefault(route.template.verb, {})[route.binding.verb] = route

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
            for binding in method.bindings or (default_binding(method),):
                try:
                    route = _route(method, binding)
                    check(route)
                except (ValueError, FieldPathError) as error:
                    refusals.append(
                        Refusal(binding.verb, binding.template, (method.full_name,), str(error))
                    )
                else:
                    claims.setdefault((binding.verb, route.template.shape), []).append(route)
        served = []
        for claimants in claims.values():
            first, names = claimants[0], {route.method.full_name: None for route in claimants}
            if len(names) == 1:
                served.append(first)
            else:
                problem = "one route of different methods, which none of them gets"
                refusals.append(
                    Refusal(first.binding.verb, first.template.text, tuple(names), problem)
                )
        return cls(served, refusals)

    def match(self, verb: str, raw_path: bytes) -> Match | None:
        """Return what a request is for, or None; the path is still percent-encoded.

        INVALID_ARGUMENT if what a variable takes is not percent-encoded UTF-8.
        """
        segments, candidates = self._candidates(raw_path)
        for routes in candidates:
            if route := routes.get(verb) or routes.get(ANY_VERB):
                return Match(route.method, route.binding, route.template.capture(segments))
        return None

    def allowed_verbs(self, raw_path: bytes) -> frozenset[str]:
        """Return the HTTP verbs that have a route for this path; `ANY_VERB` stands for all."""
        _, candidates = self._candidates(raw_path)
        return frozenset(verb for routes in candidates for verb in routes)

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


def default_binding(method: Method) -> HttpBinding:
    """Return the rule of a method that has none.

    grpc-gateway's and Envoy's is `POST /package.Service/Method`; here a path begins with a version.
    """
    return HttpBinding("POST", f"/v1/{method.path}", WHOLE_BODY, "")


def _route(method: Method, binding: HttpBinding) -> Route:
    """Parse a rule and check its fields, so that no request meets what is wrong with it."""
    template = PathTemplate.parse(binding.template)
    for variable in template.variables:
        leaf = parameter_field(method.request, variable.field_path)[-1]
        if leaf.is_repeated:
            raise ValueError(f"{variable.field_path} is repeated, and no path can hold it")
    if binding.body not in {"", WHOLE_BODY}:
        field_path(method.request, binding.body)
    if binding.response_body:
        if method.response.full_name in OPAQUE:
            raise ValueError(f"the JSON of a {method.response.full_name} shows no fields")
        field_path(method.response, binding.response_body)
    return Route(method, binding, template)


def request_fields(match: Match, query: Sequence[tuple[str, str]], body: Any) -> JSON:
    """Return the request as ProtoJSON: the fields of its body, its query and its path.

    `body` is parsed JSON, None where there is none; it is not changed. `query` has no system
    parameters. INVALID_ARGUMENT names the parameter that is unknown, misplaced, given twice or not
    of its type. What the body's fields hold is left to whoever parses the ProtoJSON.
    """
    fields = _body_fields(match, body)
    for name, path, values in _query_fields(match, query):
        put(fields, path, values if path[-1].is_repeated else values[0], name)
    for name, text in match.variables.items():
        path = parameter_field(match.method.request, name)
        put(fields, path, json_value(path[-1], text, name), name)
    return fields


def _body_fields(match: Match, body: Any) -> JSON:
    rule = match.binding.body
    if rule == WHOLE_BODY:
        if body is not None and not isinstance(body, dict):
            raise invalid_argument("", "the body is not a JSON object", "INVALID_JSON")
        return dict(body or {})
    if not rule:
        if body is not None and body != {}:
            problem = f"{match.binding.verb} of {match.method.full_name} takes no body"
            raise invalid_argument("", problem, "UNEXPECTED_BODY")
        return {}
    fields: JSON = {}
    if body is not None:
        put(fields, field_path(match.method.request, rule), body, rule)
    return fields


def _query_fields(
    match: Match, query: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, FieldPath, list[Any]]]:
    """Yield each field in the query, by the name it came with first, and its values as JSON."""
    given: dict[tuple[str, ...], tuple[str, FieldPath, list[Any]]] = {}
    elsewhere = _given_elsewhere(match.method.request, match.binding, match.variables)
    for name, text in query:
        shown = name if name.isascii() and name.isprintable() and len(name) < 120 else quote(name)
        try:
            path = parameter_field(match.method.request, name)
        except FieldPathError as error:
            raise invalid_argument(shown, str(error), error.reason) from None
        key = tuple(each.name for each in path)
        for owned, place in elsewhere:
            if key[: len(owned)] == owned:
                raise invalid_argument(shown, f"is to be given in the {place}", "MISPLACED_FIELD")
        _, _, values = given.setdefault(key, (shown, path, []))
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
    key = tuple(each.name for each in path)
    elsewhere = _given_elsewhere(match.method.request, match.binding, match.variables)
    return not any(key[: len(owned)] == owned for owned, _ in elsewhere)


def _given_elsewhere(
    request: Descriptor, binding: HttpBinding, variables: Iterable[str]
) -> list[tuple[tuple[str, ...], str]]:
    """Return the fields that a query cannot give, by their names, and their place."""
    places = [(name, "path") for name in variables]
    if binding.body not in {"", WHOLE_BODY}:
        places.append((binding.body, "body"))
    owned = [
        (tuple(each.name for each in field_path(request, name)), place) for name, place in places
    ]
    # Last, so that a field of the path is said to be of the path.
    return [*owned, ((), "body")] if binding.body == WHOLE_BODY else owned


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """A field that a route's query can give: its path in camelCase, and its descriptor."""

    name: str
    field: FieldDescriptor


def query_parameters(route: Route) -> tuple[QueryParameter, ...]:
    """Return what a route's query can give, for documentation: `NESTED` fields deep at the most."""
    variables = [variable.field_path for variable in route.template.variables]
    elsewhere = _given_elsewhere(route.method.request, route.binding, variables)
    owned = {names for names, _ in elsewhere}
    return tuple(
        QueryParameter(".".join(each.json_name for each in path), path[-1])
        for path in _leaves(route.method.request, (), owned)
    )


def _leaves(
    message: Descriptor, before: FieldPath, owned: Collection[tuple[str, ...]]
) -> Iterator[FieldPath]:
    if tuple(each.name for each in before) in owned or len(before) == NESTED:
        return
    for each in message.fields:
        path = (*before, each)
        kind = each.message_type
        if kind is None or (kind.full_name in AS_STRING and not each.is_repeated):
            if tuple(step.name for step in path) not in owned:
                yield path
        elif not each.is_repeated and kind.full_name not in OPAQUE:
            yield from _leaves(kind, path, owned)


def response_json(match: Match, response: Any) -> Any:
    """Return what the HTTP body is of a response's ProtoJSON: all of it, or its `response_body`.

    A field that ProtoJSON left out is its default: an empty list, an empty object, zero, null.
    """
    rule = match.binding.response_body
    if not rule:
        return response
    value: Any = response
    for each in field_path(match.method.response, rule):
        value = value.get(each.json_name)
        if value is None:
            return default_json(each)
    return value

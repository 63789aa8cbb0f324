"""The routes of methods, by google.api.http rules, in a trie.

Several templates may match one path. The first segment in which they differ decides: a literal
wins over `*`, and `*` wins over `**`. Google's transcoder does the same, but grpc-gateway uses the
rule that it read last. If a template has no route for the HTTP verb, a less specific template may
serve the request, as in both transcoders.

The text after the last `:` is a custom verb only if a template has that custom verb, as in both
transcoders. If a template has the custom verb, the gateway does not read the path as a name that
ends with that text. So it refuses GET of `x:cancel` if only POST has that route, as Google's
transcoder does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Final

from lro_gateway.background import Steps, completed
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

ANY_VERB: Final = "*"
"""The HTTP verb of a rule that serves every HTTP verb (`custom` with the kind `*`)."""

_CACHED: Final = 1024
"""The maximum number of paths whose routes the table keeps."""
_LONGEST_CACHED: Final = 256
"""The maximum length of a path whose routes the table keeps, in bytes."""


_NAMED: Final = 10
"""The maximum number of methods that a line of the log names."""
_MAX_CLAIMS: Final = 100
"""The maximum number of methods that share a route, because a request compares all of them."""
_TOO_MANY: Final = f"{_MAX_CLAIMS} other methods claim this route"


@dataclass(frozen=True, slots=True)
class Route:
    """One method and one of its rules, or its default rule."""

    method: Method
    rule: HttpRule
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rule that gets no route, because it is wrong or other methods claim the same route."""

    verb: str
    template: str
    methods: tuple[str, ...]
    problem: str

    def __str__(self) -> str:
        """Return the rule, its methods and its problem, as a line for a log."""
        named = " and ".join(self.methods[:_NAMED])
        if len(self.methods) > _NAMED:
            named += f" and {len(self.methods) - _NAMED} others"
        return f"{self.verb} {self.template} of {named}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Match:
    """The method that a request calls, the rule that matched, and the path's decoded variables."""

    method: Method
    rule: HttpRule
    variables: Mapping[str, str]


Claims = tuple[Route, ...]
"""The routes of different methods that have the same HTTP verb and the same shape of template."""


@dataclass(frozen=True, slots=True)
class PathRoutes:
    """The routes whose templates match one path, the most specific template first.

    `segments` are the path's segments without the custom verb, still percent-encoded.
    """

    segments: Sequence[str]
    by_verb: Sequence[Mapping[str, Claims]]

    def claims(self, verb: str) -> Iterator[Claims]:
        """Yield the claims of an HTTP verb. A rule for GET also serves HEAD (RFC 9110)."""
        for routes in self.by_verb:
            found = routes.get(verb) or (routes.get("GET") if verb == "HEAD" else None)
            if found := found or routes.get(ANY_VERB):
                yield found

    def routes(self) -> Iterator[Route]:
        """Yield the routes of all HTTP verbs."""
        for routes in self.by_verb:
            for claims in routes.values():
                yield from claims

    def match(self, route: Route) -> Match:
        """Return a match with the values of the variables of a route of this path.

        Raises INVALID_ARGUMENT if the value of a variable is not percent-encoded UTF-8.
        """
        return Match(route.method, route.rule, route.rule.template.capture(self.segments))

    def segment_at(self, route: Route, index: int) -> Segment:
        """Return the segment of a route's template that matches a segment of the path."""
        return route.rule.template.segment_at(index, len(self.segments))


_NO_ROUTES: Final = PathRoutes((), ())


@dataclass(slots=True)
class _Node:
    """A node of the trie of templates: the nodes that may follow, and the routes that end here."""

    literals: dict[str, _Node] = field(default_factory=dict)
    one: _Node | None = None
    many: dict[int, _Node] = field(default_factory=dict)
    """The nodes after a `**`, by the number of segments that follow the `**`."""
    routes: dict[str, dict[str, Claims]] = field(default_factory=dict)
    """The routes that end at this node, by custom verb, then by HTTP verb."""

    def extended(self, segments: Sequence[Segment]) -> _Node:
        """Return the node after these segments. Add the nodes that are missing."""
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
    """The routes of methods, in a trie, so that a look-up visits only nodes that match the path.

    `routes` are the routes that a document lists. The default route of a method is one of them only
    if the method shares each of its other routes with other methods. `shared` are the routes that
    several methods claim.
    """

    def __init__(self, claims: Iterable[Claims] = (), refusals: Iterable[Refusal] = ()) -> None:
        """Build the trie. No two of the `claims` have the same HTTP verb and shape."""
        self.refusals = tuple(refusals)
        self.shared: tuple[Claims, ...] = ()
        self.routes: tuple[Route, ...] = ()
        self._claims: list[Claims] = []
        self._root = _Node()
        # The cache has no reference to the table, because a cycle would outlive it.
        self._cached = lru_cache(_CACHED)(partial(_found, self._root))
        for each in claims:
            self.add(each)
        completed(self.finishing())

    def add(self, claims: Claims) -> None:
        """Add claims of one route. No request may use the table before `finishing` has ended."""
        self._claims.append(claims)
        rule = claims[0].rule
        node = self._root.extended(rule.template.segments)
        node.routes.setdefault(rule.template.verb, {})[rule.verb] = claims

    def finishing(self) -> Steps[None]:
        """Return the steps that list the routes after the last claims were added."""
        alone = {each[0].method.full_name for each in self._claims if _is_own_alone(each)}
        yield
        self.shared = tuple(each for each in self._claims if len(each) > 1)
        yield
        self.routes = tuple(
            route
            for each in self._claims
            for route in each
            if not (route.is_default and route.method.full_name in alone)
        )

    @classmethod
    def of(
        cls, methods: Iterable[Method], check: Callable[[Route], None] = lambda _: None
    ) -> RouteTable:
        """Return the table of these methods; rules that get no route are in `refusals`.

        Every method has its default route, `POST /v1/{package.Service}/{Method}`. If one method
        claims a route twice, its first rule is used. `check` raises `ValueError` for a route that
        can never receive a request.
        """
        return completed(cls.building(methods, check))

    @classmethod
    def building(
        cls, methods: Iterable[Method], check: Callable[[Route], None]
    ) -> Steps[RouteTable]:
        """Return the steps of `of`."""
        claims: dict[tuple[str, Shape], dict[str, Route]] = {}
        refusals: list[Refusal] = []
        for method in methods:
            yield
            for found in _routes_of(method, check):
                if isinstance(found, Refusal):
                    refusals.append(found)
                else:
                    rule = found.rule
                    same = claims.setdefault((rule.verb, rule.template.shape), {})
                    if len(same) < _MAX_CLAIMS:
                        same.setdefault(method.full_name, found)
                    else:
                        names, text = (method.full_name,), rule.template.text
                        refusals.append(Refusal(rule.verb, text, names, _TOO_MANY))
        table = cls(refusals=refusals)
        for each in claims.values():
            yield
            table.add(tuple(each.values()))
        yield from table.finishing()
        return table

    def find(self, raw_path: bytes, own_verbs: frozenset[str] = frozenset()) -> PathRoutes:
        """Return the routes of a path, which is percent-encoded.

        If the path ends with one of the custom verbs in `own_verbs`, only templates with this
        custom verb match the path.
        """
        # Clients poll an operation at one path, and most starts have few paths.
        if len(raw_path) <= _LONGEST_CACHED:
            return self._cached(raw_path, own_verbs)
        return _found(self._root, raw_path, own_verbs)


def _found(root: _Node, raw_path: bytes, own_verbs: frozenset[str]) -> PathRoutes:
    segments = split_path(raw_path)
    if segments is None:
        return _NO_ROUTES
    if with_verb := split_custom_verb(segments):
        shorter, verb = with_verb
        if (found := _routes(root, shorter, verb)) or verb in own_verbs:
            return PathRoutes(shorter, found)
    found = _routes(root, segments, "")
    return PathRoutes(segments, found) if found else _NO_ROUTES


def _routes(root: _Node, segments: Sequence[str], verb: str) -> list[Mapping[str, Claims]]:
    # Most paths have no segment that needs decoding.
    is_plain = "%" not in (path := "".join(segments)) and path.isascii()
    decoded = segments if is_plain else [decode(segment) for segment in segments]
    nodes = _end_nodes(root, decoded)
    return [node.routes[verb] for node in nodes if verb in node.routes]


def _end_nodes(root: _Node, segments: Sequence[str | None]) -> Iterator[_Node]:
    """Yield the nodes where a path ends, the most specific first; each node at most once.

    None stands for a segment with malformed percent-encoding: a wildcard matches it, but no literal
    does.
    """
    pending = [(root, 0)]
    while pending:
        node, at = pending.pop()
        # The loop next visits the node that was added last, so add the most specific nodes last.
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


def _is_own_alone(claims: Claims) -> bool:
    """Return whether a rule of one method, and of no other, made this route."""
    return len(claims) == 1 and not claims[0].is_default


def _routes_of(method: Method, check: Callable[[Route], None]) -> Iterator[Route | Refusal]:
    """Yield the routes of a method, the default one last, and a refusal for each wrong rule."""
    default = default_rule(method)
    for rule in (*method.rules, default):
        if isinstance(rule, WrongRule):
            yield Refusal(rule.verb, rule.template, (method.full_name,), rule.problem)
            continue
        route = Route(method, rule, is_default=rule is default)
        try:
            check(route)
        except ValueError as error:
            yield Refusal(rule.verb, rule.template.text, (method.full_name,), str(error))
        else:
            yield route


def default_rule(method: Method) -> HttpRule | WrongRule:
    """Return the rule of a method's default route: `POST /v1/package.Service/Method`.

    grpc-gateway and Envoy use the same path without `/v1`. The gateway adds a version, because a
    method without a rule of its own should not take a path outside of the versions. The body is
    JSON even if a field of the request is a google.api.HttpBody, so that it can hold every field.
    """
    binding = HttpBinding("POST", f"/v1/{method.path}", WHOLE_BODY, "")
    rule = parse_rule(binding, method.request, method.response)
    if isinstance(rule, HttpRule) and rule.body != WHOLE:
        return replace(rule, body=WHOLE, takes_raw=False)
    return rule

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
from dataclasses import dataclass, field
from typing import Final

from lro_gateway.descriptors.http_rules import (
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


@dataclass(frozen=True, slots=True)
class Route:
    """One method and one of its rules."""

    method: Method
    rule: HttpRule


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rule that gets no route, because it is wrong or other methods claim the same route."""

    verb: str
    template: str
    methods: tuple[str, ...]
    problem: str

    def __str__(self) -> str:
        """Return the rule, its methods and its problem, as a line for a log."""
        return f"{self.verb} {self.template} of {' and '.join(self.methods)}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Match:
    """The method that a request calls, the rule that matched, and the path's decoded variables."""

    method: Method
    rule: HttpRule
    variables: Mapping[str, str]


@dataclass(slots=True)
class _Node:
    """A node of the trie of templates: the nodes that may follow, and the routes that end here."""

    literals: dict[str, _Node] = field(default_factory=dict)
    one: _Node | None = None
    many: dict[int, _Node] = field(default_factory=dict)
    """The nodes after a `**`, by the number of segments that follow the `**`."""
    routes: dict[str, dict[str, Route]] = field(default_factory=dict)
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
    """The routes of methods, in a trie, so that a look-up visits only nodes that match the path."""

    def __init__(self, routes: Iterable[Route], refusals: Iterable[Refusal] = ()) -> None:
        """Build the trie; no two routes may share both HTTP verb and shape of template."""
        self.routes = tuple(routes)
        self.refusals = tuple(refusals)
        self._root = _Node()
        for route in self.routes:
            template = route.rule.template
            node = self._root.extended(template.segments)
            node.routes.setdefault(template.verb, {})[route.rule.verb] = route

    @classmethod
    def of(
        cls, methods: Iterable[Method], check: Callable[[Route], None] = lambda _: None
    ) -> RouteTable:
        """Return the table of these methods; rules that get no route are in `refusals`.

        A method without a rule gets `POST /v1/{package.Service}/{Method}`. If different methods
        claim one route, none of them gets it. If one method claims a route twice, its first rule
        is used. `check` raises `ValueError` for a route that can never receive a request.
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
                problem = "different methods claim this route, so none of them gets it"
                rule = first.rule
                refusals.append(Refusal(rule.verb, rule.template.text, tuple(names), problem))
        return cls(served, refusals)

    def match(self, verb: str, raw_path: bytes) -> Match | None:
        """Return the method that a request calls, or None; `raw_path` is percent-encoded.

        Raises INVALID_ARGUMENT if the value of a variable is not percent-encoded UTF-8.
        """
        segments, candidates = self._candidates(raw_path)
        for routes in candidates:
            if route := routes.get(verb) or routes.get(ANY_VERB):
                return Match(route.method, route.rule, route.rule.template.capture(segments))
        return None

    def routes_for(self, raw_path: bytes) -> tuple[Route, ...]:
        """Return the routes for a path, one for each HTTP verb; `ANY_VERB` means every verb."""
        _, candidates = self._candidates(raw_path)
        by_verb = {verb: route for routes in reversed(candidates) for verb, route in routes.items()}
        return tuple(by_verb.values())

    def _candidates(self, raw_path: bytes) -> tuple[Sequence[str], Sequence[Mapping[str, Route]]]:
        """Return the path's segments without a custom verb, and its routes, most specific first."""
        segments = split_path(raw_path)
        if segments is None:
            return (), ()
        if with_verb := split_custom_verb(segments):
            shorter, verb = with_verb
            if found := self._routes(shorter, verb):
                return shorter, found
        return segments, self._routes(segments, "")

    def _routes(self, segments: Sequence[str], custom_verb: str) -> list[Mapping[str, Route]]:
        nodes = _end_nodes(self._root, [decode(segment) for segment in segments])
        return [node.routes[custom_verb] for node in nodes if custom_verb in node.routes]


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


def _routes_of(method: Method, check: Callable[[Route], None]) -> Iterator[Route | Refusal]:
    """Yield a route for each rule of a method, or a refusal if the rule gets no route."""
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
    """Return the rule for a method that declares none: `POST /v1/package.Service/Method`.

    grpc-gateway and Envoy use the same path without `/v1`. The gateway adds a version, because
    all of its paths for methods and operations begin with a version.
    """
    binding = HttpBinding("POST", f"/v1/{method.path}", WHOLE_BODY, "")
    return parse_rule(binding, method.request, method.response)

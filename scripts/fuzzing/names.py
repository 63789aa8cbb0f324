"""Targets of names and paths: operation names, patterns of names, and path templates."""

from __future__ import annotations

from itertools import product
from typing import Final

from lro_gateway.backends.router import Route as NamedRoute
from lro_gateway.backends.router import Router
from lro_gateway.descriptors.http_rules import HttpBinding, HttpRule, parse_rule
from lro_gateway.descriptors.http_templates import PathTemplate
from lro_gateway.errors import StatusError
from lro_gateway.mcp.operation_uris import request_of
from lro_gateway.operations.names import BackendName, NameMapping, validate_backend_name
from lro_gateway.rest.operation_paths import operation_path
from lro_gateway.rest.route_table import Route, RouteTable
from lro_gateway.rest.suggestions import suggested_path
from scripts.fuzzing.checks import check, text_of
from tests.rest.library import method

_LONGEST_PARAMETERS: Final = 10_000


def names(data: bytes) -> None:
    """Route a name: three lines are a pattern, its public form, and a name.

    A name that a backend gives is found again by the public name that the gateway makes of it.
    """
    first, second, third = [*data.split(b"\n", 2), b"", b""][:3]
    # A configuration is UTF-8, but the JSON of a request may have lone surrogates.
    pattern, public = first.decode("utf-8", "replace"), second.decode("utf-8", "replace")
    name = text_of(third)
    try:
        mappings: tuple[NameMapping, ...] = (NameMapping.parse(pattern, public or None),)
    except ValueError:
        mappings = ()
    for router in (
        Router({"a": mappings}),
        Router({"a": mappings, "b": ()}),
        Router({"a": mappings, "b": (), "c": ()}),
    ):
        _route(router, name)
        _find_again(router, name)


def _route(router: Router, name: str) -> None:
    for backend in ("", "a", "b", name):
        try:
            route = router.find(name, backend)
            canonical = router.public_name(route.backend, route.name)
        except StatusError:
            pass
        else:
            check(router.find(canonical) == route, "a canonical name leads to the same operation")
        try:
            for parent in router.find_parents(name, backend):
                router.public_parent(parent.backend, parent.name)
        except StatusError:
            pass


def _find_again(router: Router, name: str) -> None:
    try:
        validate_backend_name(name)
    except StatusError:
        return
    for backend in router.backends:
        own = NamedRoute(backend, BackendName(name))
        public = router.public_name(backend, own.name)
        check(router.find(public) == own, "the operation of a returned name is found")
        within = router.name_within(backend, public)
        check(router.find(within, backend) == own, "the short name leads to the same operation")


def templates(data: bytes) -> None:
    """Parse a path template, and match a path with it: two lines are both.

    A path that the template matches gives each variable a value. Every template has a path for the
    OpenAPI document, with one name for each of its parameters.
    """
    text, path = [*text_of(data).split("\n", 1), ""][:2]
    raw = path.encode("utf-8", "surrogateescape")
    suggested_path(raw)
    operation_path(raw)
    request_of(path)
    try:
        template = PathTemplate.parse(text)
    except ValueError:
        return
    parameters = template.path_parameters()
    described = template.openapi_path()
    check(len(parameters) == described.count("{"), "each parameter is in the path once")
    check(len(described) <= len(text) * 8 + _LONGEST_PARAMETERS, "the path has a limited length")
    called = method("GetBook")
    for body, verb in product(("", "*"), ("GET", "*")):
        rule = parse_rule(HttpBinding(verb, text, body, ""), called.request, called.response)
        if isinstance(rule, HttpRule):
            _match(RouteTable([(Route(called, rule),)]), raw)


def _match(table: RouteTable, raw: bytes) -> None:
    found = table.find(raw, frozenset({"cancel", "wait"}))
    for claims in found.claims("GET"):
        try:
            match = found.match(claims[0])
        except StatusError:
            continue
        variables = {each.field_path for each in match.rule.template.variables}
        check(match.variables.keys() == variables, "each variable has a value")

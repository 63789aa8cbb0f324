"""HTTP requests become calls: the method that a request calls."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.descriptors.http_rules import WHOLE, HttpBinding, HttpRule
from lro_gateway.descriptors.http_templates import PathTemplate, Wildcard
from lro_gateway.errors import Code, StatusError
from lro_gateway.rest.route_table import Match, Refusal, RouteTable, default_rule
from tests.rest.library import match, message, method, rule

NO_BOOK = "a library.v1.Book is needed, not a scalar; give its fields one by one"


def table(*rules: tuple[str, HttpBinding]) -> RouteTable:
    """Return a table of methods with these names and one rule each."""
    return RouteTable.of(method(name, binding) for name, binding in rules)


def routed(routes: RouteTable, verb: str, path: str) -> tuple[str, dict[str, str]] | None:
    """Return the short name of the method that a request calls, and the path's variables."""
    found = match(routes, verb, path.encode())
    return (found.method.name, dict(found.variables)) if found else None


BOOKS = table(
    ("List", rule("GET", "/v1/{parent=shelves/*}/books")),
    ("Create", rule("POST", "/v1/{parent=shelves/*}/books", "book")),
    ("Get", rule("GET", "/v1/{name=shelves/*/books/*}")),
    ("Update", rule("PATCH", "/v1/{book.name=shelves/*/books/*}", "book")),
    ("Delete", rule("DELETE", "/v1/{name=**}")),
    ("Best", rule("GET", "/v1/shelves/1/books/best")),
    ("Lend", rule("POST", "/v1/{name=shelves/*/books/*}:lend", "*")),
    ("Any", rule("*", "/v1/anything")),
)


@pytest.mark.parametrize(
    ("verb", "path", "expected"),
    [
        ("GET", "/v1/shelves/1/books", ("List", {"parent": "shelves/1"})),
        ("POST", "/v1/shelves/1/books", ("Create", {"parent": "shelves/1"})),
        ("GET", "/v1/shelves/1/books/2", ("Get", {"name": "shelves/1/books/2"})),
        ("PATCH", "/v1/shelves/1/books/2", ("Update", {"book.name": "shelves/1/books/2"})),
        ("GET", "/v1/shelves/1/books/best", ("Best", {})),
        ("GET", "/v1/shelves/2/books/best", ("Get", {"name": "shelves/2/books/best"})),
        ("DELETE", "/v1/shelves/1/books/best", ("Delete", {"name": "shelves/1/books/best"})),
        ("PATCH", "/v1/shelves/1/books/best", ("Update", {"book.name": "shelves/1/books/best"})),
        ("POST", "/v1/shelves/1/books/2:lend", ("Lend", {"name": "shelves/1/books/2"})),
        ("GET", "/v1/shelves/1/books/2:burn", ("Get", {"name": "shelves/1/books/2:burn"})),
        ("GET", "/v1/shelves/1/books/2%3Alend", ("Get", {"name": "shelves/1/books/2:lend"})),
        ("GET", "/v1/shelves/1/books/2:lend", None),
        ("DELETE", "/v1/shelves/1/books/2:lend", None),
        ("DELETE", "/v1/a:lend", ("Delete", {"name": "a:lend"})),
        ("BREW", "/v1/anything", ("Any", {})),
        ("POST", "/v1/shelves/1", None),
        ("GET", "/v1/shelves/1/books/", None),
        ("GET", "/", None),
        ("GET", "*", None),
    ],
)
def test_the_most_specific_route_of_the_verb_answers(
    verb: str, path: str, expected: tuple[str, dict[str, str]] | None
) -> None:
    """A literal wins over `*`, and `*` over `**`. A route's custom verb is no part of a name."""
    assert routed(BOOKS, verb, path) == expected


@pytest.mark.parametrize(
    ("path", "verbs"),
    [
        ("/v1/shelves/1/books", {"GET", "POST", "DELETE"}),
        ("/v1/shelves/1/books/2:lend", {"POST"}),
        ("/v1/shelves/1/books/2:burn", {"GET", "PATCH", "DELETE"}),
        ("/v1/anything", {"*", "DELETE"}),
        ("/v2/anything", set()),
        ("", set()),
    ],
)
def test_the_verbs_that_a_path_allows_are_known(path: str, verbs: set[str]) -> None:
    """The Allow header of a 405 lists them."""
    assert {route.rule.verb for route in BOOKS.find(path.encode()).routes()} == verbs


def test_segments_after_a_deep_wildcard_make_a_template_more_specific() -> None:
    """The template with more segments after its `**` wins."""
    routes = table(
        ("Deep", rule("GET", "/v1/{name=**}")),
        ("Lists", rule("GET", "/v1/{name=**}/operations")),
        ("Gets", rule("GET", "/v1/{name=**}/operations/{book_id}")),
    )
    assert [
        routed(routes, "GET", f"/v1/{path}") for path in ("a", "a/operations", "operations/b")
    ] == [
        ("Deep", {"name": "a"}),
        ("Lists", {"name": "a"}),
        ("Gets", {"name": "", "book_id": "b"}),
    ]


def test_every_binding_of_a_method_is_a_route() -> None:
    """Each of the additional_bindings has its own verb, template and body."""
    first = rule("GET", "/v1/books/{book_id}")
    second = rule("POST", "/v1/shelves/{parent}/books/{book_id}:get", "*")
    get = method("Get", first, second)
    routes = RouteTable.of([get])
    rules = [each for each in get.rules if isinstance(each, HttpRule)]
    assert [
        match(routes, "GET", b"/v1/books/1"),
        match(routes, "POST", b"/v1/shelves/a/books/1:get"),
    ] == [
        Match(get, rules[0], {"book_id": "1"}),
        Match(get, rules[1], {"parent": "a", "book_id": "1"}),
    ]


def test_a_method_without_a_rule_has_a_default_route() -> None:
    """The path is the method's full name, and the body is its request."""
    expected = default_rule(method("Bind"))
    assert isinstance(expected, HttpRule)
    found = match(RouteTable.of([method("Bind")]), "POST", b"/v1/library.v1.Library/Bind")
    assert found == Match(method("Bind"), expected, {})
    assert (expected.verb, expected.body) == ("POST", WHOLE)


def test_a_method_with_a_rule_has_its_default_route_too() -> None:
    """A document lists the default route only if the method has no other route of its own."""
    get, fetch = (method(name, rule("GET", "/v1/{name=shelves/*}")) for name in ("Get", "Fetch"))
    both, (only,) = RouteTable.of([get, fetch]), RouteTable.of([get]).routes
    default = default_rule(get)
    assert isinstance(default, HttpRule)
    assert match(both, "POST", b"/v1/library.v1.Library/Get") == Match(get, default, {})
    assert not only.is_default
    assert [route.method.name for route in both.routes if route.is_default] == ["Get", "Fetch"]


def test_methods_may_share_a_route() -> None:
    """The two templates differ only in names of variables. Each match has its own variables."""
    routes = RouteTable.of(
        [
            method("Get", rule("GET", "/v1/shelves/{book_id}"), rule("GET", "/v1/{book_id}")),
            method("Fetch", rule("GET", "/v1/{name=shelves/*}")),
            method("Remove", rule("DELETE", "/v1/{name=shelves/*}")),
        ]
    )
    found = routes.find(b"/v1/shelves/1")
    assert [
        [(route.method.name, found.match(route).variables) for route in claims]
        for claims in found.claims("GET")
    ] == [[("Get", {"book_id": "1"}), ("Fetch", {"name": "shelves/1"})]]
    assert [[route.method.name for route in each] for each in routes.shared] == [["Get", "Fetch"]]
    assert routes.refusals == ()
    assert routed(routes, "DELETE", "/v1/shelves/1") == ("Remove", {"name": "shelves/1"})
    assert routed(routes, "GET", "/v1/1") == ("Get", {"book_id": "1"})


def test_head_has_the_routes_of_get() -> None:
    """A rule of the kind HEAD comes first."""
    routes = table(
        ("Get", rule("GET", "/v1/a")), ("Head", rule("HEAD", "/v1/a")), ("B", rule("GET", "/v1/b"))
    )
    for verb, path, name in (
        ("GET", "/v1/a", "Get"),
        ("HEAD", "/v1/a", "Head"),
        ("HEAD", "/v1/b", "B"),
    ):
        assert routed(routes, verb, path) == (name, {})


def test_no_name_ends_with_a_custom_verb_that_is_reserved() -> None:
    """`x:cancel` is the operation `x`, unless a template has this custom verb."""
    routes = table(("Get", rule("POST", "/v1/{name=**}")), ("C", rule("POST", "/v1/c:cancel")))
    for path, names in ((b"/v1/a:cancel", []), (b"/v1/a:b", ["Get"]), (b"/v1/c:cancel", ["C"])):
        found = routes.find(path, frozenset({"cancel"}))
        assert [route.method.name for route in found.routes()] == names


def test_a_method_may_claim_its_own_route_twice() -> None:
    """The method's first rule is used."""
    routes = RouteTable.of([method("Get", rule("GET", "/v1/{name}"), rule("GET", "/v1/{parent}"))])
    assert (routed(routes, "GET", "/v1/a"), routes.refusals) == (("Get", {"name": "a"}), ())


@pytest.mark.parametrize(
    ("binding", "problem"),
    [
        (rule("GET", "v1"), "'v1' does not begin with a slash"),
        (rule("GET", "/v1/{nme}"), "there is no field 'nme' in library.v1.BookRequest"),
        (rule("GET", "/v1/{tags}"), "tags is repeated, so a path cannot hold it"),
        (
            rule("GET", "/v1/{book}"),
            f"{NO_BOOK}, such as book.name",
        ),
        (rule("GET", "/v1/{extra}"), "a google.protobuf.Struct can only be given in a body"),
        (rule("GET", "/v1/{labels}"), "a map can only be given in a body"),
        (
            rule("GET", "/v1/{as_of.seconds}"),
            "as_of is no message whose fields can be given one by one",
        ),
        (rule("POST", "/v1", "bok"), "there is no field 'bok' in library.v1.BookRequest"),
        (rule("GET", "/v1", "", "bok"), "there is no field 'bok' in library.v1.BookResponse"),
    ],
)
def test_a_rule_that_is_wrong_is_refused_when_the_table_is_made(
    binding: HttpBinding, problem: str
) -> None:
    """No request reaches the rule, and the method keeps its other rules."""
    routes = RouteTable.of([method("Get", binding, rule("GET", "/v1/right"))])
    full_name = "library.v1.Library.Get"
    assert routes.refusals == (Refusal(binding.verb, binding.template, (full_name,), problem),)
    assert routed(routes, "GET", "/v1/right") == ("Get", {})


def test_a_response_body_that_names_a_field_of_a_timestamp_is_refused() -> None:
    """The JSON of a Timestamp is a text, which has no fields."""
    pool = message("BookResponse").file.pool
    timestamp = pool.FindMessageTypeByName("google.protobuf.Timestamp")
    reading = replace(method("Read", rule("GET", "/v1/read", "", "seconds")), response=timestamp)
    (refusal,) = RouteTable.of([reading]).refusals
    assert refusal.problem == "the JSON of a google.protobuf.Timestamp has no fields"


def naive(rules: Iterable[PathTemplate], path: str) -> PathTemplate | None:
    """Return the template that matches a path; try every template, the most specific first."""

    def rank(template: PathTemplate) -> list[tuple[int, int]]:
        last = len(template.segments) - 1
        return [
            (2, at - last) if each is Wildcard.MANY else (int(each is Wildcard.ONE), 0)
            for at, each in enumerate(template.segments)
        ]

    def regex(template: PathTemplate, verb: str) -> str:
        pattern = ""
        for each in template.segments:
            many, one = "(?:/[^/]+)*", "/[^/]+"
            pattern += (
                many if each is Wildcard.MANY else one if each is Wildcard.ONE else f"/{each}"
            )
        return pattern + verb

    templates = sorted(rules, key=rank)
    for with_verb in (True, False):
        for template in templates:
            verb = f":{template.verb}" if template.verb else ""
            if bool(verb) is with_verb and re.fullmatch(
                regex(template, verb), path if path != "/" else ""
            ):
                return template
    return None


SEGMENTS = st.lists(st.sampled_from(["a", "b", "*", "**"]), max_size=5)
TEMPLATES = st.builds(
    lambda segments, verb: f"/{'/'.join(segments)}{verb if segments else ''}",
    SEGMENTS.filter(lambda segments: segments.count("**") < 2),
    st.sampled_from(["", "", ":x", ":y"]),
)
PATHS = st.builds(
    lambda segments, verb: f"/{'/'.join(segments)}{verb}",
    st.lists(st.sampled_from(["a", "b", "c", "a:x"]), max_size=6),
    st.sampled_from(["", ":x", ":y", ":z"]),
).filter(lambda path: not path.startswith("/:"))


@given(st.lists(TEMPLATES, max_size=12, unique=True), PATHS)
def test_the_table_finds_the_route_that_a_linear_search_finds(texts: list[str], path: str) -> None:
    """The trie returns the same route as a linear search."""
    routes = table(*((f"M{i}", rule("GET", text)) for i, text in enumerate(texts)))
    expected = naive((PathTemplate.parse(text) for text in texts), path)
    found = match(routes, "GET", path.encode())
    assert (found.rule.template.text if found else None) == (expected.text if expected else None)


@given(st.binary(max_size=40) | st.text("/:%2Fshelvbook1*", max_size=40).map(str.encode))
def test_any_path_matches_if_its_verb_is_allowed_or_is_an_invalid_argument(path: bytes) -> None:
    """This holds for any bytes that a client sends as a path."""
    for verb in ("GET", "DELETE", "POST"):
        for prefix in (b"", b"/v1/", b"/v1/shelves/"):
            verbs = {route.rule.verb for route in BOOKS.find(prefix + path).routes()}
            allowed = bool({verb, "*"} & verbs)
            try:
                outcome = match(BOOKS, verb, prefix + path) is not None
            except StatusError as error:
                outcome = error.code is Code.INVALID_ARGUMENT
            assert outcome == allowed


def test_each_of_three_thousand_methods_gets_its_own_requests() -> None:
    """The repository googleapis has as many; these differ only in the names of collections."""
    shapes = {
        "Get": ("GET", "/{name=projects/*/@/*}", "/projects/p/@/1"),
        "List": ("GET", "/{parent=projects/*}/@", "/projects/p/@"),
        "Create": ("POST", "/{parent=projects/*}/@", "/projects/p/@"),
        "Update": ("PATCH", "/{book.name=projects/*/@/*}", "/projects/p/@/1"),
        "Delete": ("DELETE", "/{name=projects/*/@/*}", "/projects/p/@/1"),
        "Export": ("POST", "/{name=projects/*/@/**}:export", "/projects/p/@/1/2:export"),
    }
    methods, requests = [], []
    for number in range(500):
        for name, texts in shapes.items():
            verb, template, path = (text.replace("@", f"things{number}") for text in texts)
            rules = [rule(verb, f"/{version}{template}") for version in ("v1", "v2")]
            methods.append(method(f"{name}{number}", *rules))
            requests += [(verb, f"/{version}{path}".encode()) for version in ("v1", "v2")]
    routes = RouteTable.of(methods)
    found = [match(routes, verb, path) for verb, path in requests]
    assert (len(routes.routes), routes.shared, routes.refusals) == (6000, (), ())
    assert [(match.method.name, match.rule) for match in found if match] == [
        (each.name, rule) for each in methods for rule in each.rules
    ]

"""HTTP requests become calls: the method that is called, and its request message."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.descriptors.field_paths import MAX_DEPTH
from lro_gateway.descriptors.http_rules import WHOLE, HttpBinding, HttpRule
from lro_gateway.descriptors.http_templates import PathTemplate, Wildcard
from lro_gateway.errors import JSON, Code, StatusError
from lro_gateway.rest.transcoding import (
    Match,
    Refusal,
    RouteTable,
    default_rule,
    query_parameters,
    request_fields,
    response_json,
)
from tests.rest.library import message, method, rule

NO_BOOK = "a library.v1.Book is needed, not a scalar; give its fields one by one"


def table(*rules: tuple[str, HttpBinding]) -> RouteTable:
    """Return a table of methods with these names and one rule each."""
    return RouteTable.of(method(name, binding) for name, binding in rules)


def routed(routes: RouteTable, verb: str, path: str) -> tuple[str, dict[str, str]] | None:
    """Return the short name of the method that a request calls, and the path's variables."""
    match = routes.match(verb, path.encode())
    return (match.method.name, dict(match.variables)) if match else None


# --- routes -----------------------------------------------------------------------------------

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
    assert {route.rule.verb for route in BOOKS.routes_for(path.encode())} == verbs


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
        routes.match("GET", b"/v1/books/1"),
        routes.match("POST", b"/v1/shelves/a/books/1:get"),
    ] == [
        Match(get, rules[0], {"book_id": "1"}),
        Match(get, rules[1], {"parent": "a", "book_id": "1"}),
    ]


def test_a_method_without_a_rule_has_a_default_route() -> None:
    """The path is the method's full name, and the body is its request."""
    expected = default_rule(method("Bind"))
    assert isinstance(expected, HttpRule)
    match = RouteTable.of([method("Bind")]).match("POST", b"/v1/library.v1.Library/Bind")
    assert match == Match(method("Bind"), expected, {})
    assert (expected.verb, expected.body) == ("POST", WHOLE)


def test_no_method_gets_a_route_that_different_methods_claim() -> None:
    """The two templates differ only in names of variables. The methods keep their other routes."""
    routes = RouteTable.of(
        [
            method("Get", rule("GET", "/v1/shelves/{book_id}"), rule("GET", "/v1/{book_id}")),
            method("Fetch", rule("GET", "/v1/{name=shelves/*}")),
            method("Remove", rule("DELETE", "/v1/{name=shelves/*}")),
        ]
    )
    assert routes.refusals == (
        Refusal(
            "GET",
            "/v1/shelves/{book_id}",
            ("library.v1.Library.Get", "library.v1.Library.Fetch"),
            "different methods claim this route, so none of them gets it",
        ),
    )
    assert str(routes.refusals[0]) == (
        "GET /v1/shelves/{book_id} of library.v1.Library.Get and library.v1.Library.Fetch:"
        " different methods claim this route, so none of them gets it"
    )
    assert routed(routes, "GET", "/v1/shelves/1") is None
    assert routed(routes, "DELETE", "/v1/shelves/1") == ("Remove", {"name": "shelves/1"})
    assert routed(routes, "GET", "/v1/1") == ("Get", {"book_id": "1"})


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
    match = routes.match("GET", path.encode())
    assert (match.rule.template.text if match else None) == (expected.text if expected else None)


@given(st.binary(max_size=40) | st.text("/:%2Fshelvbook1*", max_size=40).map(str.encode))
def test_any_path_matches_if_its_verb_is_allowed_or_is_an_invalid_argument(path: bytes) -> None:
    """This holds for any bytes that a client sends as a path."""
    for verb in ("GET", "DELETE", "POST"):
        for prefix in (b"", b"/v1/", b"/v1/shelves/"):
            verbs = {route.rule.verb for route in BOOKS.routes_for(prefix + path)}
            allowed = bool({verb, "*"} & verbs)
            try:
                outcome = BOOKS.match(verb, prefix + path) is not None
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
    found = [routes.match(verb, path) for verb, path in requests]
    assert (len(routes.routes), routes.refusals) == (6000, ())
    assert [(match.method.name, match.rule) for match in found if match] == [
        (each.name, rule) for each in methods for rule in each.rules
    ]


# --- requests ---------------------------------------------------------------------------------


def fields_of(
    binding: HttpBinding, path: str, query: Iterable[tuple[str, str]] = (), body: Any = None
) -> JSON:
    """Return the request message, as ProtoJSON, for an HTTP request to a method with this rule."""
    match = RouteTable.of([method("Call", binding)]).match(binding.verb, path.encode())
    assert match is not None
    return request_fields(match, list(query), body)


def parsed(fields: JSON) -> JSON:
    """Return ProtoJSON parsed as a BookRequest and printed with the proto file's names."""
    request = GetMessageClass(message("BookRequest"))()
    json_format.ParseDict(fields, request)
    return json_format.MessageToDict(request, preserving_proto_field_name=True)


def test_a_create_gets_its_parent_resource_and_id_from_path_body_and_query() -> None:
    """AIP-133: the parent is in the path, the resource in the body and the id in the query."""
    fields = fields_of(
        rule("POST", "/v1/{parent=shelves/*}/books", "book"),
        "/v1/shelves/1/books",
        [("bookId", "b"), ("validate_only", "true")],
        {"title": "Dune"},
    )
    assert fields == {
        "book": {"title": "Dune"},
        "bookId": "b",
        "validateOnly": True,
        "parent": "shelves/1",
    }


def test_an_update_gets_the_name_of_its_resource_from_the_path() -> None:
    """The path's name wins over the body's (AIP-134), and the parsed body is not changed."""
    body = {"name": "other", "title": "Dune", "author": {"fullName": "Herbert"}}
    fields = fields_of(
        rule("PATCH", "/v1/{book.name=books/*}", "book"),
        "/v1/books/1",
        [("updateMask", "title,author.full_name")],
        body,
    )
    assert fields == {
        "book": {"name": "books/1", "title": "Dune", "author": {"fullName": "Herbert"}},
        "updateMask": "title,author.fullName",
    }
    assert body["name"] == "other"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (None, {"otherName": "x", "book": {"author": {"fullName": "y"}}}),
        ({}, {"otherName": "x", "book": {"author": {"fullName": "y"}}}),
        (
            {"renamed": 1, "book": {"title": "t", "author": {"full_name": 1, "born": "b"}}},
            {"otherName": "x", "book": {"title": "t", "author": {"fullName": "y", "born": "b"}}},
        ),
        ({"book": {"author": None}}, {"otherName": "x", "book": {"author": {"fullName": "y"}}}),
    ],
)
def test_a_whole_body_is_overwritten_by_the_path(body: JSON | None, fields: JSON) -> None:
    """The path wins for both spellings of a field's name and for nested fields."""
    binding = rule("POST", "/v1/{renamed}/{book.author.full_name}", "*")
    assert fields_of(binding, "/v1/x/y", body=body) == fields


@pytest.mark.parametrize(
    ("binding", "body", "fields"),
    [
        (rule("POST", "/v1", "books"), [{"title": "a"}], {"books": [{"title": "a"}]}),
        (rule("POST", "/v1", "labels"), {"a": "b"}, {"labels": {"a": "b"}}),
        (rule("POST", "/v1", "timeout"), "3s", {"timeout": "3s"}),
        (
            rule("POST", "/v1", "book.author"),
            {"fullName": "x"},
            {"book": {"author": {"fullName": "x"}}},
        ),
        (rule("POST", "/v1", "book"), None, {}),
        (rule("POST", "/v1", "book"), {}, {"book": {}}),
        (rule("POST", "/v1", "book"), 3, {"book": 3}),
        (rule("GET", "/v1"), None, {}),
        (rule("DELETE", "/v1"), {}, {}),
    ],
)
def test_a_body_is_the_field_that_the_rule_names(
    binding: HttpBinding, body: Any, fields: JSON
) -> None:
    """It may be a list, a map or a text. The parser of the message checks its type later."""
    assert fields_of(binding, "/v1", body=body) == fields


def test_query_parameters_set_every_field_that_path_and_body_do_not() -> None:
    """Dots lead into messages, both spellings work, and a repeated parameter makes a list."""
    query = [
        ("book.author.fullName", "Herbert"),
        ("book.author.born", "1920-10-08T00:00:00Z"),
        ("book.page_count", "412"),
        ("updateMask", "title"),
        ("validateOnly", "TRUE"),
        ("etag", "9223372036854775807"),
        ("copies", "4294967295"),
        ("price", "1.5e3"),
        ("rating", "-Infinity"),
        ("digest", "AAE_"),
        ("genre", "POEMS"),
        ("genres", "1"),
        ("genres", "POEMS"),
        ("tags", "a"),
        ("tags", ""),
        ("tags", "a"),
        ("asOf", "2026-01-02T03:04:05.5Z"),
        ("timeout", "1.5s"),
        ("illustrated", "false"),
        ("weight", "-5"),
        ("shelfMark", "x"),
        ("otherName", "y"),
        ("years", "1965"),
    ]
    fields = fields_of(rule("GET", "/v1/{name}"), "/v1/n", query)
    assert fields == {
        "book": {
            "author": {"fullName": "Herbert", "born": "1920-10-08T00:00:00Z"},
            "pageCount": "412",
        },
        "updateMask": "title",
        "validateOnly": True,
        "etag": "9223372036854775807",
        "copies": "4294967295",
        "price": "1.5e3",
        "rating": "-Infinity",
        "digest": "AAE_",
        "genre": "POEMS",
        "genres": [1, "POEMS"],
        "tags": ["a", "", "a"],
        "asOf": "2026-01-02T03:04:05.5Z",
        "timeout": "1.5s",
        "illustrated": False,
        "weight": "-5",
        "shelfMark": "x",
        "otherName": "y",
        "years": ["1965"],
        "name": "n",
    }
    assert parsed(fields) == {
        "book": {
            "author": {"full_name": "Herbert", "born": "1920-10-08T00:00:00Z"},
            "page_count": 412,
        },
        "update_mask": "title",
        "validate_only": True,
        "etag": "9223372036854775807",
        "copies": 4294967295,
        "price": 1500.0,
        "rating": "-Infinity",
        "digest": "AAE/",
        "genre": "POEMS",
        "genres": ["NOVEL", "POEMS"],
        "tags": ["a", "", "a"],
        "as_of": "2026-01-02T03:04:05.500Z",
        "timeout": "1.500s",
        "illustrated": False,
        "weight": "-5",
        "shelf_mark": "x",
        "renamed": "y",
        "years": [1965],
        "name": "n",
    }


DEEP = ".".join(["book", *["sequel"] * MAX_DEPTH, "name"])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("title", "x", "title: there is no field 'title' in library.v1.BookRequest"),
        ("book.nme", "x", "book.nme: there is no field 'nme' in library.v1.Book"),
        ("", "x", "there is no field '' in library.v1.BookRequest"),
        ("book.", "x", "book.: there is no field '' in library.v1.Book"),
        ("bo\nok", "x", "'bo\\nok': there is no field 'bo\\nok' in library.v1.BookRequest"),
        ("parent.x", "x", "parent.x: parent is no message whose fields can be given one by one"),
        ("books.name", "x", "books.name: books is no message whose fields can be given one by one"),
        ("labels.a", "x", "labels.a: labels is no message whose fields can be given one by one"),
        ("asOf.nanos", "1", "asOf.nanos: as_of is no message whose fields can be given one by one"),
        (DEEP, "x", f"'{DEEP[:120]}...': leads through more than {MAX_DEPTH} fields"),
        (
            "book",
            "x",
            f"book: {NO_BOOK}, such as book.name",
        ),
        ("labels", "x", "labels: a map can only be given in a body"),
        ("books", "x", "books: repeated messages can only be given in a body"),
        ("loans", "2026-01-02T03:04:05Z", "loans: repeated messages can only be given in a body"),
        ("extra", "{}", "extra: a google.protobuf.Struct can only be given in a body"),
        ("any", "{}", "any: a google.protobuf.Any can only be given in a body"),
        ("name", "x", "name: must be given in the path"),
        ("validateOnly", "yes", "validateOnly: true or false is needed, not 'yes'"),
        ("etag", "1_0", "etag: an integer of 64 bits is needed, not '1_0'"),
        (
            "etag",
            "9223372036854775808",
            "etag: an integer of 64 bits is needed, not '9223372036854775808'",
        ),
        ("copies", "-1", "copies: an unsigned integer of 32 bits is needed, not '-1'"),
        ("book.pageCount", "1.5", "book.pageCount: an integer of 32 bits is needed, not '1.5'"),
        ("price", "inf", "price: a number is needed, not 'inf'"),
        ("price", "", "price: a number is needed, not ''"),
        ("digest", "a", "digest: base64 is needed, not 'a'"),
        ("genre", "novel", "genre: one of GENRE_UNSPECIFIED, NOVEL, POEMS is needed, not 'novel'"),
        (
            "genres",
            "99999999999",
            "genres: one of GENRE_UNSPECIFIED, NOVEL, POEMS is needed, not '99999999999'",
        ),
        ("asOf", "now", "asOf: a time such as \"2026-01-02T03:04:05Z\" is needed, not 'now'"),
        ("timeout", "3", "timeout: a duration such as \"30s\" is needed, not '3'"),
        (
            "updateMask",
            "_x",
            "updateMask: a field mask such as \"displayName,labels\" is needed, not '_x'",
        ),
        ("illustrated", "maybe", "illustrated: true or false is needed, not 'maybe'"),
        ("weight", "x", "weight: an integer of 64 bits is needed, not 'x'"),
    ],
)
def test_an_invalid_query_parameter_is_named(name: str, value: str, message: str) -> None:
    """An unknown, misplaced or malformed parameter is refused, not ignored."""
    with pytest.raises(StatusError) as caught:
        fields_of(rule("GET", "/v1/{name}"), "/v1/n", [(name, value)])
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


@pytest.mark.parametrize(
    ("binding", "query", "body", "message"),
    [
        (
            rule("POST", "/v1", "*"),
            [("parent", "x")],
            {},
            "parent: must be given in the body",
        ),
        (
            rule("POST", "/v1", "book"),
            [("book.title", "x")],
            {},
            "book.title: must be given in the body",
        ),
        (rule("GET", "/v1"), [("parent", "x"), ("parent", "x")], None, "parent: given twice"),
        (rule("GET", "/v1"), [("bookId", "x"), ("book_id", "y")], None, "book_id: given twice"),
        (rule("GET", "/v1"), [], {"a": 1}, "GET of library.v1.Library.Call takes no body"),
        (rule("DELETE", "/v1"), [], [], "DELETE of library.v1.Library.Call takes no body"),
        (rule("POST", "/v1", "*"), [], [1], "the body is not a JSON object"),
        (rule("POST", "/v1", "*"), [], "x", "the body is not a JSON object"),
    ],
)
def test_a_misplaced_field_is_named(
    binding: HttpBinding, query: list[tuple[str, str]], body: Any, message: str
) -> None:
    """Each field comes from exactly one of path, query and body (http.proto)."""
    with pytest.raises(StatusError) as caught:
        fields_of(binding, "/v1", query, body)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


@pytest.mark.parametrize(
    ("template", "path", "body", "message"),
    [
        ("/v1/{etag}", "/v1/x", None, "etag: an integer of 64 bits is needed, not 'x'"),
        (
            "/v1/{book.name}",
            "/v1/x",
            {"book": ["y"]},
            "book.name: book in the body is not an object",
        ),
    ],
)
def test_a_variable_that_does_not_fit_its_field_is_named(
    template: str, path: str, body: JSON | None, message: str
) -> None:
    """The path's value is checked and joined with the body only when a request arrives."""
    with pytest.raises(StatusError) as caught:
        fields_of(rule("POST", template, "*"), path, body=body)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


FIELD_NAMES = st.sampled_from(
    [field.name for field in message("BookRequest").fields]
    + [f"book.{field.json_name}" for field in message("Book").fields]
    + ["book.author.born", "book.sequel.sequel.pageCount"]
)
VALUES = (
    st.text(max_size=12)
    | st.integers().map(str)
    | st.floats().map(str)
    | st.text("0123456789-+.:TZse_,", max_size=24)
)


@given(st.lists(st.tuples(FIELD_NAMES | st.text(max_size=8), VALUES), max_size=3))
def test_any_query_gives_a_request_that_parses_or_an_invalid_argument(
    query: list[tuple[str, str]],
) -> None:
    """Every request that is accepted parses as the backend's message."""
    code = Code.OK
    try:
        parsed(fields_of(rule("GET", "/v1"), "/v1", query))
    except StatusError as error:
        code = error.code
    assert code in {Code.OK, Code.INVALID_ARGUMENT}


@pytest.mark.parametrize(
    ("binding", "present", "absent"),
    [
        (
            rule("GET", "/v1/{name}"),
            {"parent", "asOf", "tags", "book.name", "book.sequel.title", "book.author.born"},
            {"name", "extra", "labels", "loans", "book.translators", "book.sequel.sequel.title"},
        ),
        (rule("POST", "/v1/{parent}", "book"), {"bookId"}, {"parent", "book.name"}),
        (rule("PATCH", "/v1/{book.name}"), {"book.title"}, {"book.name"}),
    ],
)
def test_the_fields_that_a_query_can_set_are_listed_for_documentation(
    binding: HttpBinding, present: set[str], absent: set[str]
) -> None:
    """The list has no fields of the path or the body, and nested fields up to a depth of three."""
    (route,) = RouteTable.of([method("Call", binding)]).routes
    names = {parameter.name for parameter in query_parameters(route)}
    assert (present - names, absent & names) == (set(), set())


def test_a_route_whose_body_is_everything_has_no_query() -> None:
    """The body gives all fields, so the query can give none."""
    (route,) = RouteTable.of([method("Call", rule("POST", "/v1/{name}", "*"))]).routes
    assert query_parameters(route) == ()


# --- responses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response_body", "response", "expected"),
    [
        ("", {"total": "1"}, {"total": "1"}),
        ("books", {"books": [{"title": "a"}], "total": "1"}, [{"title": "a"}]),
        ("books", {}, []),
        ("best", {}, {}),
        ("best.labels", {"best": {"labels": {"a": "b"}}}, {"a": "b"}),
        ("best.labels", {"best": {}}, {}),
        ("total", {}, "0"),
        ("read_time", {"readTime": "2026-01-02T03:04:05Z"}, "2026-01-02T03:04:05Z"),
        ("read_time", {}, None),
    ],
)
def test_a_response_body_is_the_field_that_the_rule_names(
    response_body: str, response: JSON, expected: Any
) -> None:
    """ProtoJSON leaves default values out, but a body that is one field shows its default."""
    match = RouteTable.of([method("Get", rule("GET", "/v1", "", response_body))]).match(
        "GET", b"/v1"
    )
    assert match is not None
    assert response_json(match, response) == expected

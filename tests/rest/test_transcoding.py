"""HTTP requests become calls: the fields of the request message, and the body of the response."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.descriptors.field_paths import MAX_DEPTH
from lro_gateway.descriptors.http_rules import HttpBinding
from lro_gateway.errors import JSON, Code, StatusError
from lro_gateway.rest.route_table import RouteTable
from lro_gateway.rest.transcoding import query_parameters, request_fields, response_json
from tests.rest.library import match, message, method, rule

NO_BOOK = "a library.v1.Book is needed, not a scalar; give its fields one by one"


# --- requests ---------------------------------------------------------------------------------


def fields_of(
    binding: HttpBinding, path: str, query: Iterable[tuple[str, str]] = (), body: Any = None
) -> JSON:
    """Return the request message, as ProtoJSON, for an HTTP request to a method with this rule."""
    found = match(RouteTable.of([method("Call", binding)]), binding.verb, path.encode())
    assert found is not None
    return request_fields(found, list(query), body)


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
        "updateMask": "title,author.full_name",
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


FIELDS = (
    "updateMask, validateOnly, etag, copies, price, digest, genre, genres, tags, asOf, timeout,"
    " illustrated, weight, shelfMark, extra, any, loans, books, labels, rating, otherName, years,"
    " backend, fields, prettyPrint, alt"
)
NEAR_BOOK = f"book, books, bookId, name, parent, {FIELDS.replace(' books,', '')}"
NO_FIELD_OF_BOOK = (
    "there is no such field in library.v1.Book; there are: name, title, pageCount, author, sequel,"
    " translators, labels"
)
DEEP = ".".join(["book", *["sequel"] * MAX_DEPTH, "name"])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("boo", "x", f"boo: there is no such field; there are: {NEAR_BOOK}"),
        ("book.nme", "x", f"book.nme: {NO_FIELD_OF_BOOK}"),
        ("", "x", f"there is no such field; there are: name, parent, bookId, book, {FIELDS}"),
        ("book.", "x", f"book.: {NO_FIELD_OF_BOOK}"),
        ("bo\nok", "x", f"'bo\\nok': there is no such field; there are: {NEAR_BOOK}"),
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
        ("genre", "novel", "genre: one of NOVEL, POEMS is needed, not 'novel'"),
        (
            "genres",
            "99999999999",
            "genres: one of NOVEL, POEMS is needed, not '99999999999'",
        ),
        ("asOf", "now", "asOf: a time such as \"2026-01-02T03:04:05Z\" is needed, not 'now'"),
        ("timeout", "3", "timeout: a duration in seconds such as \"3s\" is needed, not '3'"),
        (
            "updateMask",
            "a,,b",
            "updateMask: a field mask such as \"displayName,labels\" is needed, not 'a,,b'",
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
        (
            rule("GET", "/v1"),
            [("parent", "x"), ("parent", "x")],
            None,
            "parent: is given twice; give it once",
        ),
        (
            rule("GET", "/v1"),
            [("bookId", "x"), ("book_id", "y")],
            None,
            "book_id: is given twice; give it once",
        ),
        (rule("GET", "/v1"), [], {"a": 1}, "GET of library.v1.Library.Call takes no body"),
        (rule("DELETE", "/v1"), [], [], "DELETE of library.v1.Library.Call takes no body"),
        (rule("POST", "/v1", "*"), [], [1], "the body is not a JSON object, but a list"),
        (rule("POST", "/v1", "*"), [], "x", "the body is not a JSON object, but 'x'"),
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
            "book.name: book in the body is not an object, but a list",
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
    found = match(
        RouteTable.of([method("Get", rule("GET", "/v1", "", response_body))]), "GET", b"/v1"
    )
    assert found is not None
    assert response_json(found, response) == expected

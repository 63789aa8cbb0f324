"""Rules of google.api.http, parsed: their fields, and what is wrong with them."""

from __future__ import annotations

import pytest

from lro_gateway.descriptors.field_paths import FieldPath, field_path
from lro_gateway.descriptors.http_rules import (
    WHOLE,
    HttpBinding,
    HttpRule,
    PathField,
    WrongRule,
    parse_rule,
)
from lro_gateway.descriptors.http_templates import PathTemplate, Variable
from tests.rest.library import message, method, rule

REQUEST, RESPONSE = message("BookRequest"), message("BookResponse")


def parsed(binding: HttpBinding) -> HttpRule:
    """Return a rule that is right."""
    found = parse_rule(binding, REQUEST, RESPONSE)
    assert isinstance(found, HttpRule)
    return found


def test_a_rule_has_its_template_and_its_fields_parsed() -> None:
    """Fields are descriptors, in whichever of their names the rule writes them."""
    text = "/v1/{parent=shelves/*}/{book.author.fullName}"
    assert parsed(rule("PUT", text, "book.author", "best.labels")) == HttpRule(
        "PUT",
        PathTemplate.parse(text),
        (
            PathField(
                Variable("parent", 1, 3, multi=True), field_path(REQUEST, "parent"), "shelves/*"
            ),
            PathField(
                Variable("book.author.fullName", 3, 4, multi=False),
                field_path(REQUEST, "book.author.full_name"),
                "*",
            ),
        ),
        field_path(REQUEST, "book.author"),
        field_path(RESPONSE, "best.labels"),
    )


@pytest.mark.parametrize(("text", "body"), [("*", WHOLE), ("", None)])
def test_a_body_may_be_the_whole_request_or_nothing(text: str, body: FieldPath | None) -> None:
    """Without a response_body the whole response is answered."""
    found = parsed(rule("POST", "/v1/books", text))
    assert (found.body, found.response_body) == (body, WHOLE)


@pytest.mark.parametrize(
    ("binding", "places"),
    [
        (
            rule("POST", "/v1/{parent}/{book.name}", "book"),
            {
                "parent": "path",
                "book.name": "path",
                "book": "body",
                "book.title": "body",
                "book.author.born": "body",
                "book_id": "query",
            },
        ),
        (rule("POST", "/v1/{parent}", "*"), {"parent": "path", "book_id": "body"}),
        (rule("GET", "/v1/books"), {"parent": "query", "book.title": "query"}),
    ],
)
def test_each_field_has_one_place(binding: HttpBinding, places: dict[str, str]) -> None:
    """The path's before the body's, and the query has the rest."""
    found = parsed(binding)
    assert {name: found.place_of(field_path(REQUEST, name)) for name in places} == places


def test_a_wrong_rule_stands_beside_the_good_ones_of_its_method() -> None:
    """In its place among them, with the fields that its path names, if the template parses."""
    get = method(
        "Get",
        rule("GET", "/v1/{name}/{nme}"),
        rule("GET", "/v1/{name}"),
        rule("GET", "v1"),
        rule("POST", "/v1/{name}", "bok"),
    )
    missing = "there is no field '{}' in library.v1.BookRequest"
    assert get.rules == (
        WrongRule("GET", "/v1/{name}/{nme}", missing.format("nme"), ("name", "nme")),
        parsed(rule("GET", "/v1/{name}")),
        WrongRule("GET", "v1", "'v1' does not begin with a slash"),
        WrongRule("POST", "/v1/{name}", missing.format("bok"), ("name",)),
    )


def test_a_methods_rules_are_parsed_once() -> None:
    """When they are first needed."""
    get = method("Get", rule("GET", "/v1/{name}"))
    assert get.rules is get.rules


def test_a_method_is_routed_by_the_path_of_its_first_rule() -> None:
    """AIP-4222; a first rule that is wrong tells nothing."""
    first, second = rule("GET", "/v1/{name=books/*}"), rule("GET", "/v1/{parent}")
    assert [each.name for each in method("Get", first, second).routing_fields] == ["name"]
    assert method("Get", rule("GET", "v1"), second).routing_fields == ()
    assert method("Get").routing_fields == ()

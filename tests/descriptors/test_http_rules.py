"""Parsing rules of google.api.http: their fields and their mistakes."""

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
    """Parse a rule that has no mistake."""
    found = parse_rule(binding, REQUEST, RESPONSE)
    assert isinstance(found, HttpRule)
    return found


def test_a_rule_is_parsed_with_its_template_and_its_fields() -> None:
    """A rule may write a field by its proto name or its JSON name."""
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
    """Without a response_body, the HTTP response is the whole response message."""
    found = parsed(rule("POST", "/v1/books", text))
    assert (found.body, found.response_body) == (body, WHOLE)


@pytest.mark.parametrize(
    ("binding", "locations"),
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
def test_each_field_has_one_location(binding: HttpBinding, locations: dict[str, str]) -> None:
    """The path comes before the body, and a field in neither of them is in the query."""
    found = parsed(binding)
    actual = {name: found.location_of(field_path(REQUEST, name)) for name in locations}
    assert actual == locations


def test_a_wrong_rule_is_kept_among_the_correct_rules_of_its_method() -> None:
    """The rules keep their order. A wrong rule names its path fields if the template parses."""
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
    """A method keeps its parsed rules."""
    get = method("Get", rule("GET", "/v1/{name}"))
    assert get.rules is get.rules


def test_a_method_is_routed_by_the_path_of_its_first_rule() -> None:
    """AIP-4222 uses the first rule only. If that rule is wrong, there are no routing fields."""
    first, second = rule("GET", "/v1/{name=books/*}"), rule("GET", "/v1/{parent}")
    assert [each.name for each in method("Get", first, second).routing_fields] == ["name"]
    assert method("Get", rule("GET", "v1"), second).routing_fields == ()
    assert method("Get").routing_fields == ()

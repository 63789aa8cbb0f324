"""ProtoJSON values of scalar fields, and the words for wrong values."""

from __future__ import annotations

import math
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from lro_gateway.descriptors.scalars import expected, map_key, scalar, shown
from tests.descriptors.payloads import message_class
from tests.rest import library


def field_of(name: str) -> FieldDescriptor:
    """Return a field of library.v1.BookRequest."""
    found: FieldDescriptor = library.message("BookRequest").fields_by_name[name]
    return found


@pytest.mark.parametrize(
    ("name", "value", "parsed"),
    [
        ("name", "é", "é"),
        ("name", '{"a": 1}', '{"a": 1}'),
        ("etag", "-9223372036854775808", -(2**63)),
        ("etag", "1.0", 1),
        ("etag", 1e3, 1000),
        ("copies", 2**32 - 1, 2**32 - 1),
        ("price", "Infinity", float("inf")),
        ("price", 1, 1.0),
        ("rating", "0.5", 0.5),
        ("rating", -3.4028235e38, -3.4028235e38),
        ("rating", "3.4028235e+38", 3.4028235e38),
        ("validate_only", False, False),
        ("digest", "_-8", b"\xff\xef"),
        ("digest", "", b""),
        ("genre", "POEMS", 2),
        ("genre", "2", 2),
        ("genre", 77, 77),
    ],
)
def test_a_value_of_the_right_kind_is_parsed(name: str, value: Any, parsed: Any) -> None:
    """ProtoJSON has several forms for numbers, enums and bytes."""
    assert scalar(field_of(name), value) == parsed


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("name", [1, True, None, [], {}, "\ud800"]),
        ("etag", [True, "", " 1", "+1", "1_0", "٣", 0.5, "0.5", 2**63, [], None]),
        ("etag", ["1e99", "1e9999", "9" * 5000, 10**5000]),
        ("copies", [-1, 2**32]),
        ("price", [True, "", "nan", "inf", "1_0", ".5", 1e999, 10**400, math.nan, [], None]),
        ("rating", [3.4028236e38, "1e39"]),
        ("validate_only", ["true", "", 0, 1, None]),
        ("digest", ["a", "é", "AA=", "A===", "AAA==", "A A=", 5, None]),
        ("genre", ["", "poems", True, 0.5, 2**31, None, []]),
    ],
    ids=[
        "text",
        "int64",
        "int64 beyond 40 digits",
        "uint32",
        "double",
        "float",
        "bool",
        "bytes",
        "enum",
    ],
)
def test_a_value_of_another_kind_is_refused(name: str, values: list[Any]) -> None:
    """json_format accepts some of these values and changes them."""
    for value in values:
        with pytest.raises(ValueError):  # noqa: PT011 - the caller has the words
            scalar(field_of(name), value)


def test_a_number_that_a_closed_enum_does_not_have_is_refused() -> None:
    """proto2 would keep it as an unknown field, so the backend would not get the value."""
    shade = message_class("odd.v1.Legacy").DESCRIPTOR.fields_by_name["shade"]
    assert scalar(shade, 2) == 2
    with pytest.raises(ValueError):  # noqa: PT011 - the caller has the words
        scalar(shade, 77)


def test_a_boolean_key_of_a_map_is_true_or_false() -> None:
    """JSON keys are always strings."""
    field = field_of("validate_only")
    assert [map_key(field, "true"), map_key(field, "false"), map_key(field_of("etag"), "-1")] == [
        *(True, False, -1)
    ]
    with pytest.raises(ValueError):  # noqa: PT011 - the caller has the words
        map_key(field, "True")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('{"a": 1}', "a string that holds JSON"),
        (" [1]", "a string that holds JSON"),
        ("{a}", "'{a}'"),
        ("[" * 2000, "'" + "[" * 40 + "...'"),
        ("x" * 50, f"'{'x' * 40}...'"),
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        (10**50, "an integer of more than 40 digits"),
        ([1], "a list"),
        ({}, "an object"),
    ],
)
def test_a_wrong_value_is_shown_by_its_kind_or_its_text(value: Any, words: str) -> None:
    """A model that sends JSON in a string sees its mistake."""
    assert shown(value) == words


def test_the_needed_value_is_named() -> None:
    """An enum names its values, and first the one that is spelt like the wrong value."""
    assert expected(field_of("genre"), "poem") == "one of POEMS, NOVEL"
    assert expected(field_of("digest"), "!") == "base64"

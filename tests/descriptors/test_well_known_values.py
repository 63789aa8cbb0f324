"""ProtoJSON values of the well-known types whose JSON is one scalar."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lro_gateway.descriptors.well_known_values import expected_message, set_scalar
from tests.descriptors.payloads import make


@pytest.mark.parametrize(
    ("name", "value", "fields"),
    [
        ("Timestamp", "1970-01-01T00:00:01.5Z", {"seconds": 1, "nanos": 500_000_000}),
        ("Timestamp", "1970-01-01T01:00:00+01:00", {}),
        ("Duration", "-1.5s", {"seconds": -1, "nanos": -500_000_000}),
        ("Duration", 5, {"seconds": 5}),
        ("Duration", 0.5, {"nanos": 500_000_000}),
        ("FieldMask", "displayName,page_size", {"paths": ["display_name", "page_size"]}),
        ("FieldMask", "", {}),
        ("Int64Value", "7", {"value": 7}),
        ("StringValue", "", {"value": ""}),
        ("BoolValue", False, {"value": False}),
    ],
)
def test_a_value_of_the_right_form_is_parsed(name: str, value: Any, fields: dict[str, Any]) -> None:
    """An empty text is a value of a FieldMask and of a StringValue."""
    message = make(f"google.protobuf.{name}")
    set_scalar(message, value)
    assert message == make(f"google.protobuf.{name}", **fields)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Timestamp", ["", "2026-1-2T3:4:5Z", "2026-01-02", "2026-01-02t03:04:05z", 5, {}, None]),
        ("Timestamp", ["2026-13-01T00:00:00Z", "2026-01-02T03:04:05.0123456789Z", "\ud800"]),
        ("Duration", ["", "1", "1_0s", "+1s", " 1s", "1e3s", ".5s", "999999999999s", {}, None]),
        ("Duration", [True, 999_999_999_999, math.nan, math.inf]),
        ("FieldMask", ["a,,b", '["a"]', ["a"], {"paths": ["a"]}, 5, None]),
        ("Int64Value", ["x", {"value": 1}, True, None]),
        ("BoolValue", ["true", 1]),
    ],
)
def test_a_value_of_another_form_is_refused(name: str, values: list[Any]) -> None:
    """The parsers of protobuf accept some of these texts."""
    for value in values:
        with pytest.raises(ValueError):  # noqa: PT011 - the caller has the words
            set_scalar(make(f"google.protobuf.{name}"), value)


def test_the_needed_value_is_named() -> None:
    """A message without a JSON form of its own needs an object."""
    words = {
        name: expected_message(make(name).DESCRIPTOR, "x")
        for name in ("google.protobuf.Int64Value", "google.protobuf.ListValue", "Job")
    }
    assert list(words.values()) == ["an integer of 64 bits", "a list", "an object"]

"""Lists of what a caller can write in place of something wrong."""

from __future__ import annotations

from typing import Any

import pytest

from lro_gateway.descriptors.choices import choices, no_such_field

FORMATS = ("OUTPUT_CSV", "OUTPUT_JSON", "OUTPUT_PARQUET", "NONE")


@pytest.mark.parametrize(
    ("given", "first"),
    [
        ("csv", "OUTPUT_CSV"),
        ("parquet", "OUTPUT_PARQUET"),
        ("OUTPUT_JASON", "OUTPUT_JSON"),
        ("output_json", "OUTPUT_JSON"),
        ("jsonOutput", "OUTPUT_JSON"),
        ("non", "NONE"),
    ],
)
def test_the_name_that_is_probably_meant_comes_first(given: str, first: str) -> None:
    """All other names follow, each once."""
    names = choices(FORMATS, given).split(", ")
    assert names[0] == first
    assert sorted(names) == sorted(FORMATS)


@pytest.mark.parametrize("given", [None, 5, "", "x", "quux", "y" * 1000, {}])
def test_names_that_are_not_like_the_given_value_keep_their_order(given: Any) -> None:
    """The order of a declaration often has a meaning."""
    assert choices(FORMATS, given) == "OUTPUT_CSV, OUTPUT_JSON, OUTPUT_PARQUET, NONE"


def test_a_long_list_has_the_nearest_name_and_says_how_many_more_there_are() -> None:
    """A field violation has room for about 1,000 characters."""
    names = [f"MACHINE_TYPE_{number}" for number in range(500)]
    listed = choices(names, "MACHINE_TYPE_499")
    assert listed.startswith("MACHINE_TYPE_499, ")
    shown, _, more = listed.partition(" and ")
    assert more == f"{500 - len(shown.split(', '))} more"
    assert 700 < len(listed) < 850
    assert choices(["x" * 900, "y"]) == "x" * 900 + " and 1 more"


def test_a_field_that_does_not_exist_is_answered_with_those_that_do() -> None:
    """A message may have no fields at all."""
    problem = "there is no such field; there are: parent, format"
    assert no_such_field(["format", "parent"], "parrent") == problem
    assert no_such_field([], "x", "a.B") == "there is no such field in a.B; it has no fields"

"""The JSON of a FieldMask, with names that camelCase can hold and with names that it cannot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.descriptors.field_masks import mask_paths, mask_text
from tests.rest.library import message

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


@pytest.mark.parametrize(
    ("paths", "text"),
    [
        ([], ""),
        (["display_name", "labels"], "displayName,labels"),
        (["author.full_name"], "author.fullName"),
        (["display_name_2"], "display_name_2"),
        (["a_1.b_c"], "a_1.bC"),
        (["*"], "*"),
        (["labels.`my_key,1.x`.sub_field"], "labels.`my_key,1.x`.subField"),
        (["_x", "x_", "a__b"], "X,x_,a__b"),
        (["eventType"], "eventType"),
        (["a`b"], "a`b"),
    ],
)
def test_a_name_is_printed_in_camel_case_if_it_can_be_read_back(
    paths: list[str], text: str
) -> None:
    """Any other name is printed as it is. json_format would fail for the whole message."""
    assert mask_text(paths) == text


@given(st.lists(st.lists(NAMES, min_size=1, max_size=3).map(".".join), max_size=3))
def test_paths_in_lower_case_are_the_same_after_printing_and_reading(paths: list[str]) -> None:
    """This holds for every name with digits and underscores."""
    assert mask_paths(mask_text(paths)) == paths


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("", []),
        (" ", []),
        ("displayName, labels", ["display_name", "labels"]),
        ("display_name,displayName", ["display_name", "display_name"]),
        ("display_name_2", ["display_name_2"]),
        ("a_1.subField", ["a_1.sub_field"]),
        ("my_URL", ["my_URL"]),
        ("labels.`a,b.C`", ["labels.`a,b.C`"]),
        ("*", ["*"]),
    ],
)
def test_both_spellings_of_a_name_are_read(text: str, paths: list[str]) -> None:
    """A name with an underscore is a name of the proto file."""
    assert mask_paths(text) == paths


@pytest.mark.parametrize("text", ["a,,b", ",", "a,", "a..b", ".a", "`a", "a.`b", "`a`,`"])
def test_a_mask_with_an_empty_or_an_open_path_is_refused(text: str) -> None:
    """The gateway does not guess which field the caller meant."""
    with pytest.raises(ValueError):  # noqa: PT011 - the caller has the words
        mask_paths(text)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("book.author.fullName,bookId", ["book.author.full_name", "book_id"]),
        ("otherName", ["renamed"]),
        ("renamed", ["renamed"]),
        ("book.translators.fullName", ["book.translators.full_name"]),
        ("book.translators.*.fullName", ["book.translators.*.full_name"]),
        ("labels.someKey", ["labels.someKey"]),
        ("book.labels.*", ["book.labels.*"]),
        ("asOf.someThing", ["as_of.some_thing"]),
        ("nothing.ofThis", ["nothing.of_this"]),
    ],
)
def test_the_message_that_a_mask_is_about_decides_its_names(text: str, paths: list[str]) -> None:
    """JSON names may have nothing in common with own names, and keys of maps stay as they are."""
    assert mask_paths(text, [message("BookRequest")]) == paths

"""Dotted field paths: the fields that a parameter can set, and the errors for others."""

from __future__ import annotations

import pytest

from lro_gateway.descriptors.field_paths import FieldPathError, field_path, parameter_field, put
from lro_gateway.errors import JSON, StatusError
from tests.rest.library import message


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("name", ["name"]),
        ("book_id", ["book_id"]),
        ("bookId", ["book_id"]),
        ("otherName", ["renamed"]),
        ("book.author.full_name", ["book", "author", "full_name"]),
        ("book.author.fullName", ["book", "author", "full_name"]),
        ("book.sequel.sequel.title", ["book", "sequel", "sequel", "title"]),
        ("as_of", ["as_of"]),
        ("tags", ["tags"]),
    ],
)
def test_a_path_may_have_the_proto_names_or_the_json_names(text: str, names: list[str]) -> None:
    """A path may lead through inner messages."""
    path = field_path(message("BookRequest"), text)
    assert [field.name for field in path] == names
    assert parameter_field(message("BookRequest"), text) == path


@pytest.mark.parametrize(
    ("text", "reason", "problem"),
    [
        ("nmae", "UNKNOWN_FIELD", "there is no field 'nmae' in library.v1.BookRequest"),
        ("", "UNKNOWN_FIELD", "there is no field '' in library.v1.BookRequest"),
        ("name.x", "INVALID_FIELD", "name is no message whose fields can be given one by one"),
        ("books.title", "INVALID_FIELD", "books is no message"),
        ("as_of.seconds", "INVALID_FIELD", "as_of is no message"),
        ("book" + ".sequel" * 40, "INVALID_FIELD", "leads through more than 32 fields"),
        ("labels", "INVALID_FIELD", "a map can only be given in a body"),
        ("books", "INVALID_FIELD", "repeated messages can only be given in a body"),
        ("extra", "INVALID_FIELD", "a google.protobuf.Struct can only be given in a body"),
        ("book", "INVALID_FIELD", "give its fields one by one, such as book.name"),
    ],
)
def test_a_field_that_a_parameter_cannot_set_is_an_error(
    text: str, reason: str, problem: str
) -> None:
    """The error text names the problem, and a way to set the field if there is one."""
    with pytest.raises(FieldPathError) as caught:
        parameter_field(message("BookRequest"), text)
    assert problem in str(caught.value)
    assert caught.value.reason == reason


def test_setting_a_value_does_not_change_the_objects_around_it() -> None:
    """Objects are shared with the caller. An old value is replaced in either spelling."""
    author: JSON = {"fullName": "A"}
    body: JSON = {"book": {"author": author, "page_count": 1}}
    fields = dict(body)
    for text, value in (("book.author.full_name", "B"), ("book.page_count", 2), ("name", "n")):
        put(fields, field_path(message("BookRequest"), text), value, text)
    assert fields == {"book": {"author": {"fullName": "B"}, "pageCount": 2}, "name": "n"}
    assert body == {"book": {"author": {"fullName": "A"}, "page_count": 1}}


def test_a_value_cannot_be_set_inside_a_value_that_is_not_an_object() -> None:
    """A body may have a number where an object is needed."""
    path = field_path(message("BookRequest"), "book.title")
    with pytest.raises(StatusError, match="book in the body is not an object"):
        put({"book": 7}, path, "t", "book.title")

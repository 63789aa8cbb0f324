"""Dotted paths of fields: those that a parameter can give, and why others cannot."""

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
def test_a_path_leads_through_messages_by_either_spelling(text: str, names: list[str]) -> None:
    """As the proto file has a name, and as ProtoJSON has it."""
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
def test_why_a_parameter_cannot_give_a_field_is_told(text: str, reason: str, problem: str) -> None:
    """The words say what to do instead, where there is something."""
    with pytest.raises(FieldPathError) as caught:
        parameter_field(message("BookRequest"), text)
    assert problem in str(caught.value)
    assert caught.value.reason == reason


def test_a_value_is_put_at_its_place_without_changing_the_objects_on_the_way() -> None:
    """Objects of the body are shared with the caller; either spelling is replaced."""
    author: JSON = {"fullName": "A"}
    body: JSON = {"book": {"author": author, "page_count": 1}}
    fields = dict(body)
    for text, value in (("book.author.full_name", "B"), ("book.page_count", 2), ("name", "n")):
        put(fields, field_path(message("BookRequest"), text), value, text)
    assert fields == {"book": {"author": {"fullName": "B"}, "pageCount": 2}, "name": "n"}
    assert body == {"book": {"author": {"fullName": "A"}, "page_count": 1}}


def test_a_value_has_no_place_in_what_is_no_object() -> None:
    """The error names the parameter."""
    path = field_path(message("BookRequest"), "book.title")
    with pytest.raises(StatusError, match="book in the body is not an object"):
        put({"book": 7}, path, "t", "book.title")

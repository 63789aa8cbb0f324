"""The JSON Schema of single values is true of what protobuf prints and parses."""

from __future__ import annotations

from typing import Any, cast

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from jsonschema import Draft202012Validator

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.json_forms import PRINTED, SENT, Forms
from lro_gateway.descriptors.message_types import class_of
from tests.rest import library

VALUES: dict[str, list[Any]] = {
    "page_count": [0, -(2**31), 2**31 - 1],
    "etag": ["0", "-9223372036854775808", "9223372036854775807"],
    "copies": [0, 2**32 - 1],
    "price": [0, 0.5, -1e300],
    "rating": [0, 1.5],
    "validate_only": [True, False],
    "name": ["", "é"],
    "digest": ["", "/w=="],
    "as_of": ["2026-01-31T08:30:00Z", "2026-01-31T08:30:00.000000001Z"],
    "timeout": ["30s", "0.500s", "-1s"],
    "update_mask": ["", "displayName,labels"],
    "illustrated": [True],
    "weight": ["7"],
    "shelf_mark": ["A1"],
    "extra": [{}, {"any": ["thing", None, 1.5]}],
}
"""JSON of fields of library.v1.BookRequest, or of Book for `page_count`."""


def field_of(name: str) -> FieldDescriptor:
    """Return the field."""
    message = library.message("Book" if name == "page_count" else "BookRequest")
    found: FieldDescriptor = message.fields_by_name[name]
    return found


def accepts(forms: Forms, field: FieldDescriptor, value: Any) -> bool:
    """Tell whether the schema of a field's type takes a value."""
    kind = field.message_type
    form = forms.well_known[kind.full_name] if kind else forms.scalars[field.type]
    return Draft202012Validator(form.schema).is_valid(value)


@pytest.mark.parametrize("name", VALUES)
def test_what_protobuf_prints_and_parses_is_of_both_forms(name: str) -> None:
    """A value that is read and printed again is what it was, and both schemas take it."""
    field = field_of(name)
    for value in VALUES[name]:
        message: Any = class_of(cast("Descriptor", field.containing_type))()
        json_format.ParseDict({field.json_name: value}, message)
        printed = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
        assert printed[field.json_name] == value
        assert accepts(PRINTED, field, value)
        assert accepts(SENT, field, value)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("page_count", "1"),
        ("page_count", 2**31),
        ("etag", "x"),
        ("copies", -1),
        ("price", "1.5"),
        ("validate_only", "true"),
        ("name", 7),
        ("timeout", 30),
        ("extra", []),
    ],
)
def test_what_is_of_another_kind_is_not_to_be_sent(name: str, wrong: Any) -> None:
    """A model is told one form of several."""
    assert not accepts(SENT, field_of(name), wrong)


@pytest.mark.parametrize("forms", [PRINTED, SENT], ids=["printed", "sent"])
def test_every_scalar_and_every_type_with_a_json_of_its_own_has_a_form(forms: Forms) -> None:
    """Groups and messages are made of their fields; an enum's form is made of its values."""
    made_of_others = {
        FieldDescriptor.TYPE_GROUP,
        FieldDescriptor.TYPE_MESSAGE,
        FieldDescriptor.TYPE_ENUM,
    }
    assert set(forms.scalars) == set(range(1, 19)) - made_of_others
    assert set(forms.well_known) == {*well_known.OPAQUE, well_known.EMPTY}

"""The JSON Schemas of scalars and well-known types match what protobuf prints and parses."""

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
"""ProtoJSON values by field name. The fields are of library.v1.BookRequest or library.v1.Book."""


def field_of(name: str) -> FieldDescriptor:
    """Return the descriptor of a field in `VALUES`."""
    message = library.message("Book" if name == "page_count" else "BookRequest")
    found: FieldDescriptor = message.fields_by_name[name]
    return found


def accepts(forms: Forms, field: FieldDescriptor, value: Any) -> bool:
    """Return whether a value is valid by the schema of a field's type."""
    kind = field.message_type
    form = forms.well_known[kind.full_name] if kind else forms.scalars[field.type]
    return Draft202012Validator(form.schema).is_valid(value)


@pytest.mark.parametrize("name", VALUES)
def test_values_that_protobuf_prints_and_parses_are_valid_by_both_schemas(name: str) -> None:
    """Parsing and printing do not change the values of this test."""
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
def test_a_value_in_another_form_is_not_valid_to_send(name: str, wrong: Any) -> None:
    """The schema offers a model one of the forms that ProtoJSON accepts."""
    assert not accepts(SENT, field_of(name), wrong)


@pytest.mark.parametrize("forms", [PRINTED, SENT], ids=["printed", "sent"])
def test_every_scalar_and_every_type_with_its_own_json_form_has_a_schema(forms: Forms) -> None:
    """The schemas of groups, messages and enums are made from their descriptors instead."""
    without_form = {
        FieldDescriptor.TYPE_GROUP,
        FieldDescriptor.TYPE_MESSAGE,
        FieldDescriptor.TYPE_ENUM,
    }
    assert set(forms.scalars) == set(range(1, 19)) - without_form
    assert set(forms.well_known) == {*well_known.OPAQUE, well_known.EMPTY}

"""The keys of fields in JSON and in schemas of requests."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor

from lro_gateway.descriptors.field_names import fields_by_key, property_key
from tests.strange import Strange


def message(**json_names: str) -> Descriptor:
    """Return a message with fields of these names and these JSON names."""
    strange = Strange()
    for field in strange.message("M", *json_names).field:
        field.json_name = json_names[field.name]
    found: Descriptor = strange.pool().FindMessageTypeByName("strange.M")
    return found


def read(descriptor: Descriptor) -> dict[str, str]:
    """Return the field that each key names."""
    return {key: field.name for key, field in fields_by_key(descriptor).items()}


def keys(descriptor: Descriptor) -> list[Any]:
    """Return the keys of the fields in the schema of a request."""
    return [property_key(field) for field in descriptor.fields]


def test_a_field_has_its_json_name_and_its_own_name() -> None:
    """The schema of a request has the JSON name."""
    descriptor = message(page_size="pageSize")
    assert read(descriptor) == {"pageSize": "page_size", "page_size": "page_size"}
    assert keys(descriptor) == ["pageSize"]


def test_a_json_name_that_a_provider_refuses_is_replaced_by_the_fields_own_name() -> None:
    """The gateway reads both."""
    odd = {"filter": "$filter", "start_time": "StartTime<", "x": "x[]", "y": "", "z": "é"}
    descriptor = message(**odd)
    assert keys(descriptor) == list(odd)
    assert all(read(descriptor)[json_name] == name for name, json_name in odd.items() if json_name)


def test_a_name_of_more_than_64_characters_is_no_key() -> None:
    """Its JSON name may be shorter."""
    long = "a" * 65
    assert keys(message(**{long: long, f"{'b' * 32}_{'b' * 31}": "b" * 63})) == [None, "b" * 63]

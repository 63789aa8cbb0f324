"""The names, descriptors and Python classes of message types."""

from __future__ import annotations

import pytest

from lro_gateway.descriptors.message_types import (
    class_of,
    descriptor_of,
    is_map,
    type_name,
    value_type,
)
from tests import factory


@pytest.mark.parametrize(
    ("type_url", "name"),
    [
        ("type.googleapis.com/a.v1.Job", "a.v1.Job"),
        ("https://host/with/a/path/a.v1.Job", "a.v1.Job"),
        ("/a.v1.Job", "a.v1.Job"),
        ("a.v1.Job", "a.v1.Job"),
        ("", ""),
    ],
)
def test_the_name_of_a_type_is_after_the_last_slash_of_its_url(type_url: str, name: str) -> None:
    """The host does not matter, and it may be missing."""
    assert type_name(type_url) == name


def test_a_class_is_found_by_its_descriptor_and_a_descriptor_by_a_message() -> None:
    """The class of a descriptor is always the same object."""
    descriptor = factory.descriptor("Machine")
    made = class_of(descriptor)
    assert descriptor_of(made()) is descriptor
    assert class_of(descriptor) is made


def test_a_field_holds_a_message_or_a_map_or_a_scalar() -> None:
    """A map may have messages or scalars as values."""
    fields = factory.descriptor("Machine").fields_by_name
    held = {
        name: (is_map(fields[name]), found.name if (found := value_type(fields[name])) else None)
        for name in ("engine", "parts", "notes", "title", "state")
    }
    assert held == {
        "engine": (False, "Engine"),
        "parts": (True, "Machine"),
        "notes": (True, None),
        "title": (False, None),
        "state": (False, None),
    }

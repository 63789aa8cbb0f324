"""The list of well-known types says of each what protobuf's own JSON is."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.message_types import class_of

MESSAGES = sorted(
    f"{file.package}.{message.name}"
    for file in well_known.FILES
    for message in file.message_type
    if file.name != "google/protobuf/descriptor.proto" and message.name != "Value"
)


def pool() -> DescriptorPool:
    """Return a pool of the files, added in their order."""
    own = DescriptorPool()
    for file in well_known.FILES:
        own.Add(file)
    return own


def test_the_files_come_after_those_that_they_import() -> None:
    """So that they can be added to a pool one by one."""
    seen: set[str] = set()
    for file in well_known.FILES:
        assert set(file.dependency) <= seen
        seen.add(file.name)


@pytest.mark.parametrize("name", MESSAGES)
def test_the_json_of_a_type_is_what_the_list_says(name: str) -> None:
    """Protobuf's own printer is the judge. A Value is left out: an empty one has no JSON."""
    message: Any = class_of(pool().FindMessageTypeByName(name))()
    printed = json_format.MessageToDict(message)
    is_list = name in well_known.BARE - well_known.SCALAR
    assert isinstance(printed, dict) == (not is_list and name not in well_known.SCALAR)
    fields = [field.name for field in message.DESCRIPTOR.fields]
    assert (name in well_known.WRAPPERS) == (fields == ["value"])

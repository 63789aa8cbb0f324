"""The list of well-known types agrees with the JSON that protobuf prints."""

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
    """Return a pool to which the files were added in their order."""
    own = DescriptorPool()
    for file in well_known.FILES:
        own.Add(file)
    return own


def test_each_file_comes_after_the_files_that_it_imports() -> None:
    """The files can then be added to a pool one by one."""
    seen: set[str] = set()
    for file in well_known.FILES:
        assert set(file.dependency) <= seen
        seen.add(file.name)


@pytest.mark.parametrize("name", MESSAGES)
def test_the_json_of_a_type_is_as_listed(name: str) -> None:
    """Protobuf prints an empty message. Value is not tested because an empty Value has no JSON."""
    message: Any = class_of(pool().FindMessageTypeByName(name))()
    printed = json_format.MessageToDict(message)
    is_list = name in well_known.BARE - well_known.SCALAR
    assert isinstance(printed, dict) == (not is_list and name not in well_known.SCALAR)
    fields = [field.name for field in message.DESCRIPTOR.fields]
    assert (name in well_known.WRAPPERS) == (fields == ["value"])

"""What a caller must send, may send and cannot send."""

from __future__ import annotations

import pytest

from lro_gateway.descriptors.field_behavior import (
    alternatives,
    is_output_only,
    is_required,
    is_update,
    must_be_given,
)
from tests import factory, shapes


def test_a_field_is_required_or_output_only_by_its_annotation() -> None:
    """A field without annotations is neither required nor output only."""
    fields = factory.descriptor("Machine").fields
    assert [field.name for field in fields if is_required(field)] == ["title", "engine"]
    assert [field.name for field in fields if is_output_only(field)] == ["state"]


def test_a_field_that_proto2_declares_required_is_required() -> None:
    """A proto2 field needs no annotation to be required."""
    fields = shapes.pool().FindMessageTypeByName("odd.v1.Legacy").fields
    assert [field.name for field in fields if is_required(field)] == ["needed"]


def test_only_a_oneof_of_several_fields_has_alternatives() -> None:
    """Protobuf puts an `optional` field alone into a oneof, which has no alternatives."""
    fields = factory.descriptor("Machine").fields_by_name
    oneofs = {
        name: found.name if (found := alternatives(fields[name])) else None
        for name in ("engine", "crank", "weight", "title")
    }
    assert oneofs == {"engine": "drive", "crank": "drive", "weight": None, "title": None}


def test_a_required_field_must_be_given_unless_it_is_in_a_oneof() -> None:
    """The engine is REQUIRED, but a machine has either an engine or a crank."""
    fields = factory.descriptor("Machine").fields
    assert [field.name for field in fields if must_be_given(field, "Its comment.")] == ["title"]


@pytest.mark.parametrize(
    "comment",
    [
        "Optional. The line.",
        "The line. It may be omitted.",
        "The line. Can be left empty.",
        "If unspecified, it is the first line.",
    ],
)
def test_a_comment_may_say_that_a_required_field_may_be_omitted(comment: str) -> None:
    """Some services annotate fields as REQUIRED that they do not require."""
    title = factory.descriptor("Machine").fields_by_name["title"]
    assert not must_be_given(title, comment)


def test_a_request_with_a_field_mask_is_an_update() -> None:
    """Only the mask says which fields of the resource are needed."""
    names = ("BuildMachineRequest", "UpdateMachineRequest")
    assert [is_update(factory.descriptor(name)) for name in names] == [False, True]

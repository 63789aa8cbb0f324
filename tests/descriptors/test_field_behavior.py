"""Whether a field is required, output only or in a oneof."""

from __future__ import annotations

from lro_gateway.descriptors.field_behavior import alternatives, is_output_only, is_required
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

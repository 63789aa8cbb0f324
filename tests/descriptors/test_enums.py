"""The values of enums that a caller may send."""

from __future__ import annotations

from lro_gateway.descriptors.enums import sent_names
from tests import factory, shapes


def test_a_first_value_that_says_nothing_is_not_among_the_values() -> None:
    """STATE_UNSPECIFIED stands for no state."""
    states = factory.descriptor("Machine").enum_types_by_name["State"]
    assert sent_names(states) == ["RUNNING", "IDLE"]


def test_a_first_value_with_a_meaning_is_among_the_values() -> None:
    """The enums of proto2 often have no value for nothing."""
    assert sent_names(shapes.pool().FindEnumTypeByName("odd.v1.Shade")) == ["LIGHT", "DARK"]

"""The forms of scalars and well-known types in the arguments of tools."""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.json_forms import KEYS as STRICT_KEYS
from lro_gateway.descriptors.json_forms import SENT
from lro_gateway.descriptors.tool_forms import KEYS, SCALARS, WELL_KNOWN


def test_every_type_with_a_strict_form_has_a_form() -> None:
    """Messages and enums have none, because their descriptors say their form."""
    assert SCALARS.keys() == SENT.scalars.keys()
    assert WELL_KNOWN.keys() == SENT.well_known.keys() == {*well_known.OPAQUE, well_known.EMPTY}
    assert KEYS.keys() == STRICT_KEYS.keys()


def test_a_form_that_a_model_cannot_guess_has_a_sentence() -> None:
    """An example says more than a pattern, and costs less."""
    assert WELL_KNOWN[well_known.DURATION] == ({"type": "string"}, "Such as 30s.")
    assert SCALARS[FieldDescriptor.TYPE_BYTES] == ({"type": "string"}, "In base64.")
    assert SCALARS[FieldDescriptor.TYPE_INT32] == ({"type": "integer"}, "")

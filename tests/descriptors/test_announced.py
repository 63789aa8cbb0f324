"""The payloads that a method announces for its operation."""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor

from lro_gateway.descriptors.announced import payload_schemas
from lro_gateway.descriptors.json_forms import Schema
from tests import factory


def named(descriptor: Descriptor) -> Schema:
    """Make a schema that shows what it is of."""
    return {"title": descriptor.full_name}


def test_response_and_metadata_are_what_is_announced_or_anything() -> None:
    """A name without a package is of the method's own package (AIP-151)."""
    assert payload_schemas(factory.method("BuildMachine"), factory.types(), named) == {
        "response": {
            "description": "A factory.v1.Machine, as announced.",
            "anyOf": [{"title": "factory.v1.Machine"}, {"type": "object"}],
        },
        "metadata": {
            "description": "A factory.v1.BuildMetadata, as announced.",
            "anyOf": [{"title": "factory.v1.BuildMetadata"}, {"type": "object"}],
        },
    }


def test_a_method_that_announces_nothing_has_no_schemas() -> None:
    """Then an Operation holds any payload."""
    assert payload_schemas(factory.method("Overhaul"), factory.types(), named) == {}

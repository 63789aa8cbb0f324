"""The schemas of the payload types that a method announces for its operation."""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor

from lro_gateway.descriptors.announced import payload_schemas
from lro_gateway.descriptors.json_forms import Schema
from tests import factory


def named(descriptor: Descriptor) -> Schema:
    """Return a schema whose title is the name of the type."""
    return {"title": descriptor.full_name}


def test_response_and_metadata_have_the_announced_type_or_any_other() -> None:
    """An announced name without a package is in the package of the method (AIP-4210)."""
    assert payload_schemas(factory.method("BuildMachine"), factory.types(), named) == {
        "response": {
            "description": "Usually a factory.v1.Machine. The backend may send another type.",
            "anyOf": [{"title": "factory.v1.Machine"}, {"type": "object"}],
        },
        "metadata": {
            "description": (
                "Usually a factory.v1.BuildMetadata. The backend may send another type."
            ),
            "anyOf": [{"title": "factory.v1.BuildMetadata"}, {"type": "object"}],
        },
    }


def test_a_method_that_announces_nothing_has_no_schemas() -> None:
    """The gateway does not know which payloads its operation will hold."""
    assert payload_schemas(factory.method("Overhaul"), factory.types(), named) == {}

"""The payloads that a method announces for its operation (`operation_info`, AIP-151)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

from google.protobuf.descriptor import Descriptor

from lro_gateway.descriptors.json_forms import Schema
from lro_gateway.descriptors.methods import Method
from lro_gateway.descriptors.type_set import TypeSet


def payload_schemas(
    method: Method, types: TypeSet, any_schema: Callable[[Descriptor], Schema]
) -> dict[str, Schema]:
    """Return the schemas of an Operation's `response` and `metadata`, each if it is known.

    `any_schema` makes the schema of an Any that holds a message.
    """
    return {
        field: {
            "description": f"A {descriptor.full_name}, as announced.",
            # The announcement does not bind the backend: an Any may hold another type (AIP-151).
            "anyOf": [any_schema(descriptor), {"type": "object"}],
        }
        for field, descriptor in _announced(method, types)
    }


def _announced(method: Method, types: TypeSet) -> Iterator[tuple[str, Descriptor]]:
    for field, name in (("response", method.response_type), ("metadata", method.metadata_type)):
        if name and (message_class := types.message_class(name)) is not None:
            yield field, cast("Descriptor", message_class.DESCRIPTOR)

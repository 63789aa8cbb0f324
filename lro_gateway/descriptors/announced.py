"""Schemas of the payload types that a method announces in `operation_info` (AIP-151)."""

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
    """Return the schemas of an Operation's `response` and `metadata`, by these two names.

    A name is missing if the method announces no type for it, or if the type is unknown.
    `any_schema` makes the schema of an Any that holds a message of the given type.
    """
    return {
        field: {
            "description": f"Usually a {descriptor.full_name}. The backend may send another type.",
            # An announcement does not bind the backend, so the Any may hold another type (AIP-151).
            "anyOf": [any_schema(descriptor), {"type": "object"}],
        }
        for field, descriptor in _announced(method, types)
    }


def _announced(method: Method, types: TypeSet) -> Iterator[tuple[str, Descriptor]]:
    for field, name in (("response", method.response_type), ("metadata", method.metadata_type)):
        if name and (message_class := types.message_class(name)) is not None:
            yield field, cast("Descriptor", message_class.DESCRIPTOR)

"""The service `factory.v1.Factory`, with methods of every kind and comments in its descriptors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from lro_gateway.descriptors.http_rules import HttpBinding
from lro_gateway.descriptors.methods import Method
from lro_gateway.descriptors.type_set import TypeSet
from tests.protos import compiled, pool_of

SERVICE = "factory.v1.Factory"
ORDER: Final[Mapping[str, Any]] = {"parent": "lines/1", "machine": {"title": "Press"}}
"""A request of BuildMachine with all fields that it needs."""


def descriptor_set() -> FileDescriptorSet:
    """Return `factory.proto` and all files that it imports, dependencies first, with comments."""
    return compiled("factory")


def pool() -> DescriptorPool:
    """Return a pool of these files, separate from the default pool as in a backend's process."""
    return pool_of("factory")


@cache
def types() -> TypeSet:
    """Return a TypeSet with these files."""
    result = TypeSet()
    assert result.add(descriptor_set().file) == []
    return result


def descriptor(name: str) -> Descriptor:
    """Return the descriptor of a message of `factory.v1`."""
    found: Any = types().message_class(f"factory.v1.{name}")
    result: Descriptor = found.DESCRIPTOR
    return result


def message(name: str, /, **fields: Any) -> Any:
    """Make a message of this pool. A name without a dot is in the package `factory.v1`."""
    full_name = name if "." in name else f"factory.v1.{name}"
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(full_name))(**fields)


def method(name: str) -> Method:
    """Return a unary method of the service."""
    return next(each for each in types().methods_of(SERVICE) if each.name == name)


def bare_method(full_name: str, *verbs: str, plain: bool = False) -> Method:
    """Make a method with this name and HTTP verbs. It starts an operation unless it is plain."""
    operation = method("Overhaul").response
    response = descriptor("Machine") if plain else operation
    bindings = tuple(HttpBinding(verb, "/v1", "", "") for verb in verbs)
    return Method(full_name, descriptor("GetMachineRequest"), response, bindings=bindings)

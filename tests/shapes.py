"""Messages of every shape, compiled from `tests/proto` into a pool of their own."""

from __future__ import annotations

from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from tests.protos import compiled, pool_of

FILES = ("odd", "progress", "shapes")


def descriptor_set() -> FileDescriptorSet:
    """Return the files and all files that they import."""
    return compiled(*FILES)


def pool() -> DescriptorPool:
    """Return a pool of these files, separate from the default pool as in a backend's process."""
    return pool_of(*FILES)


def message(name: str, **fields: Any) -> Any:
    """Make a message of `shapes.v1`, or of the well-known types that it imports.

    The messages in its fields must be of the same pool, so this function must make them too.
    """
    full_name = name if "." in name else f"shapes.v1.{name}"
    descriptor = pool().FindMessageTypeByName(full_name)
    return message_factory.GetMessageClass(descriptor)(**fields)

"""Descriptor files that import each other, and checks of the files that a source returns."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from lro_gateway.descriptors.descriptor_file import DescriptorFile
from lro_gateway.descriptors.type_set import TypeSet


def names(files: Sequence[DescriptorFile | FileDescriptorProto]) -> list[str]:
    """Return the names of files."""
    return [file.name for file in files]


def is_loadable(files: Sequence[DescriptorFile], symbol: str) -> bool:
    """Return whether files, added in this order to a new set, make a message type known."""
    types = TypeSet()
    return (
        types.add(file.parsed for file in files) == [] and types.message_class(symbol) is not None
    )


def chain(*dependencies: tuple[str, ...]) -> list[FileDescriptorProto]:
    """Make files `0.proto`, `1.proto` and so on, each with the given dependencies.

    File `<index>.proto` defines a message `chain.M<index>` and a service `chain.S<index>`.
    """
    files = []
    for index, imported in enumerate(dependencies):
        file = FileDescriptorProto(name=f"{index}.proto", package="chain", syntax="proto3")
        file.dependency.extend(imported)
        file.message_type.add(name=f"M{index}").nested_type.add(name="Inner")
        file.service.add(name=f"S{index}")
        files.append(file)
    return files

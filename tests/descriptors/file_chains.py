"""Files of descriptors that import each other, and what a source gives of them."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from lro_gateway.descriptors.type_set import TypeSet


def names(files: Sequence[FileDescriptorProto]) -> list[str]:
    """Return the names of files."""
    return [file.name for file in files]


def is_loadable(files: Sequence[FileDescriptorProto], symbol: str) -> bool:
    """Tell whether files in this order define a message in a new set."""
    types = TypeSet()
    return types.add(files) == [] and types.message_class(symbol) is not None


def chain(*dependencies: tuple[str, ...]) -> list[FileDescriptorProto]:
    """Make files `0.proto`, ... that import these; each has a message `chain.M<index>`."""
    files = []
    for index, imported in enumerate(dependencies):
        file = FileDescriptorProto(name=f"{index}.proto", package="chain", syntax="proto3")
        file.dependency.extend(imported)
        file.message_type.add(name=f"M{index}").nested_type.add(name="Inner")
        file.service.add(name=f"S{index}")
        files.append(file)
    return files

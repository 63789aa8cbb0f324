"""The descriptors of all of googleapis, which scripts/setup --tests installs and compiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from lro_gateway.descriptors.message_types import class_of
from tests.stub import unary_methods

HERE: Final = Path(__file__).parent
INSTALLED: Final = HERE.parents[1] / ".venv" / "googleapis"
_OWN: Final = frozenset({"google.longrunning", "grpc.reflection.v1", "grpc.health.v1"})
"""Packages whose services the gateway calls itself and does not offer."""


@dataclass(frozen=True)
class Api:
    """The services of one protobuf package, and the files that they need."""

    package: str
    services: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def methods(self) -> list[MethodDescriptor]:
        """The unary methods of all services."""
        return [method for each in self.services for method in unary_methods(pool(), each)]

    def descriptor_set(self) -> bytes:
        """Return the serialized descriptor set of the files, each after the files it imports."""
        return FileDescriptorSet(file=[files()[name] for name in self.files]).SerializeToString()


@cache
def files() -> dict[str, FileDescriptorProto]:
    """Return every file by its name, each after the files that it imports."""
    compiled = INSTALLED / "all.binpb"
    assert compiled.exists(), "googleapis is not installed: run scripts/setup --tests"
    found = FileDescriptorSet.FromString(compiled.read_bytes()).file
    return {file.name: file for file in found}


@cache
def pool() -> DescriptorPool:
    """Return all files in one pool."""
    made = DescriptorPool()
    for file in files().values():
        made.Add(file)
    return made


def message(full_name: str) -> Any:
    """Make an empty message of a type."""
    return class_of(pool().FindMessageTypeByName(full_name))()


@cache
def apis() -> tuple[Api, ...]:
    """Return each package that has services."""
    packages: dict[str, list[FileDescriptorProto]] = {}
    for file in files().values():
        if file.service and file.package not in _OWN:
            packages.setdefault(file.package, []).append(file)
    return tuple(_api(package, found) for package, found in sorted(packages.items()))


def _api(package: str, own: list[FileDescriptorProto]) -> Api:
    services = (f"{package}.{each.name}" for file in own for each in file.service)
    needed = dict.fromkeys(name for file in own for name in _needed(file.name))
    return Api(package, tuple(services), tuple(needed))


@cache
def _needed(name: str) -> tuple[str, ...]:
    """Return the names of a file and of all files that it imports, imported ones first."""

    def walk() -> Iterator[str]:
        for imported in files()[name].dependency:
            yield from _needed(imported)
        yield name

    return tuple(dict.fromkeys(walk()))

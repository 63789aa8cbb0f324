"""Messages of every shape, compiled from `tests/proto` into a pool of their own."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_tools import protoc  # type: ignore[import-untyped]  # published without types

PROTO = Path(__file__).parent / "proto"
WELL_KNOWN = Path(protoc.__file__).parent / "_proto"


def compile_protos(*options: str) -> None:
    """Run protoc over `tests/proto` with these options."""
    files = sorted(path.name for path in PROTO.glob("*.proto"))
    code = protoc.main(["protoc", f"-I{PROTO}", f"-I{WELL_KNOWN}", *options, *files])
    assert code == 0, "tests/proto does not compile"


@cache
def descriptor_set() -> FileDescriptorSet:
    """Return the files of `tests/proto` and all they import."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "shapes.binpb"
        compile_protos("--include_imports", "--include_source_info", f"-o{out}")
        return FileDescriptorSet.FromString(out.read_bytes())


@cache
def pool() -> DescriptorPool:
    """Return a pool of those files, apart from the default one as a backend's process would be."""
    own = DescriptorPool()
    for file in descriptor_set().file:
        own.Add(file)
    return own


def message(name: str, **fields: Any) -> Any:
    """Make a message of `shapes.v1`, or of the well-known types that it imports.

    The messages in it must be of the same pool, so made here too.
    """
    full_name = name if "." in name else f"shapes.v1.{name}"
    descriptor = pool().FindMessageTypeByName(full_name)
    return message_factory.GetMessageClass(descriptor)(**fields)

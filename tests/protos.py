"""The protobuf files of `tests/proto`, compiled as a service's build compiles its own files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from google import longrunning
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_tools import protoc  # type: ignore[import-untyped]  # published without types

_FILES = Path(__file__).parent / "proto"
_DEMO = Path(__file__).parents[1] / "proto"
_WELL_KNOWN = Path(protoc.__file__).parent / "_proto"
_OPERATIONS = Path(next(iter(longrunning.__path__))) / "operations_proto.proto"
_COMMON = _OPERATIONS.parents[2]


@cache
def compiled(*names: str) -> FileDescriptorSet:
    """Return these files and all files that they import, dependencies first, with comments.

    A name has no suffix: `compiled("factory")` compiles `tests/proto/factory.proto`. The set is
    shared, so a test changes only a copy of it.
    """
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "out.binpb"
        _protoc(names, "--include_imports", "--include_source_info", f"-o{out}")
        return FileDescriptorSet.FromString(out.read_bytes())


@cache
def pool_of(*names: str) -> DescriptorPool:
    """Return these files in a pool of their own, as in a backend's process."""
    pool = DescriptorPool()
    for file in compiled(*names).file:
        pool.Add(file)
    return pool


def generate_code(directory: Path, *names: str) -> None:
    """Write the Python modules of these files, such as `factory_pb2.py`, into the directory."""
    _protoc(names, f"--python_out={directory}")


@contextmanager
def source_directory() -> Iterator[Path]:
    """Make a directory with these files and all files that they import, for other compilers."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for source in (_COMMON / "google", _WELL_KNOWN / "google"):
            for file in source.rglob("*.proto"):
                target = root / file.relative_to(source.parent)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
        (root / "google" / "longrunning" / "operations.proto").write_bytes(_OPERATIONS.read_bytes())
        for file in _FILES.glob("*.proto"):
            (root / file.name).write_bytes(file.read_bytes())
        yield root


def _protoc(names: tuple[str, ...], *options: str) -> None:
    with tempfile.TemporaryDirectory() as root:
        # The package has this file under another name than the name in its descriptor.
        published = Path(root) / "google" / "longrunning" / "operations.proto"
        published.parent.mkdir(parents=True)
        published.write_bytes(_OPERATIONS.read_bytes())
        paths = [f"-I{path}" for path in (_FILES, _DEMO, root, _COMMON, _WELL_KNOWN)]
        files = [f"{name}.proto" for name in names]
        assert protoc.main(["protoc", *paths, *options, *files]) == 0, f"{files} do not compile"

"""Sources of descriptors: files and modules that are correct, unusual or broken."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.sources import (
    COMMON_PROTOS,
    FileSource,
    ModuleSource,
    SourceUnavailableError,
)
from lro_gateway.descriptors.type_set import TypeSet
from tests.descriptors.file_chains import chain, is_loadable, names
from tests.shapes import descriptor_set


def put(path: Path, *files: FileDescriptorProto) -> None:
    """Write files into a FileDescriptorSet at a path."""
    path.write_bytes(FileDescriptorSet(file=files).SerializeToString())


def test_the_well_known_files_are_complete_and_in_order() -> None:
    """Each file comes after the files that it imports."""
    seen: set[str] = set()
    for file in well_known.FILES:
        assert set(file.dependency) <= seen
        seen.add(file.name)
    types = TypeSet()
    for name in ("Any", "Api", "Duration", "Empty", "FieldMask", "FileDescriptorSet", "Timestamp"):
        assert types.message_class(f"google.protobuf.{name}") is not None


async def test_common_protos_have_the_types_that_googles_services_share() -> None:
    """Each type is found with its dependencies."""
    for symbol in ("google.rpc.Status", "google.type.Date", "google.longrunning.Operation"):
        assert is_loadable(await COMMON_PROTOS.find(symbol), symbol)
    assert await COMMON_PROTOS.find("google.rpc.NoSuch") == []


class TestFileSource:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "set.binpb"

    async def test_a_symbol_is_found_with_the_imports_of_its_file(self, path: Path) -> None:
        """The file of the symbol comes last."""
        put(path, *descriptor_set().file)
        source = FileSource(path)
        found = await source.find("shapes.v1.Everything")
        assert is_loadable(found, "shapes.v1.Everything")
        assert names(found)[-1] == "shapes.proto"
        assert await source.find("no.Such") == []
        assert source.label == str(path)

    async def test_the_order_of_the_set_does_not_matter(self, path: Path) -> None:
        """Tools may write the files in any order, and files may import each other in a cycle."""
        files = chain(("1.proto", "2.proto"), ("2.proto",), ("3.proto", "not_there.proto"), ())
        # No compiler accepts a cycle of imports, but a set may have one.
        files[3].dependency.append("0.proto")
        put(path, *files)
        source = FileSource(path)
        assert names(await source.find("chain.M1")) == ["0.proto", "3.proto", "2.proto", "1.proto"]
        assert names(await source.find("chain.M1.Inner"))[-1] == "1.proto"
        assert names(await source.find("chain.S1"))[-1] == "1.proto"

    async def test_a_long_chain_of_imports_is_followed(self, path: Path) -> None:
        """The chain is longer than Python's stack."""
        files = chain(*((f"{i + 1}.proto",) for i in range(3000)), ())
        put(path, *files)
        found = await FileSource(path).find("chain.M0")
        assert names(found) == [f"{index}.proto" for index in reversed(range(3001))]

    async def test_a_file_is_read_again_after_it_changed(self, path: Path) -> None:
        """The gateway need not be restarted."""
        put(path, *chain(()))
        source = FileSource(path)
        assert names(await source.find("chain.M1")) == []
        put(path, *chain((), ()))
        os.utime(path, ns=(1, 1))
        assert names(await source.find("chain.M1")) == ["1.proto"]

    @pytest.mark.parametrize(
        "content", [b"", b"\xff\xff", b"syntax = 'proto3';", b"\x12\x01a", b"\x0a\x03\x0a\x01\xff"]
    )
    def test_the_error_for_another_kind_of_file_says_how_to_make_a_descriptor_set(
        self, path: Path, content: bytes
    ) -> None:
        """Some of these contents parse as a set without files, or with names that are not UTF-8."""
        path.write_bytes(content)
        with pytest.raises(SourceUnavailableError) as caught:
            FileSource(path).load()
        assert str(caught.value) == (
            f"{path} is not a FileDescriptorSet; make one with protoc --include_imports"
            " --include_source_info -I . -I GOOGLEAPIS -o FILE PROTO_FILES, where GOOGLEAPIS is the"
            " directory that has google/longrunning/operations.proto"
        )

    async def test_a_missing_file_is_an_error_until_the_file_is_there(self, path: Path) -> None:
        """The source works once the file exists."""
        source = FileSource(path)
        with pytest.raises(SourceUnavailableError) as caught:
            await source.find("chain.M0")
        assert str(caught.value) == f"{path} cannot be read: No such file or directory"
        put(path, *chain(()))
        assert names(await source.find("chain.M0")) == ["0.proto"]


class TestModuleSource:
    @pytest.fixture
    def directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Return a directory to import from. Its modules are removed after the test."""
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(sys, "modules", dict(sys.modules))
        return tmp_path

    async def test_a_generated_module_provides_its_types_and_their_dependencies(self) -> None:
        """The label of the source is `module:` and the name of the `_pb2` module."""
        source = ModuleSource("google.longrunning.operations_pb2")
        assert source.label == "module:google.longrunning.operations_pb2"
        assert is_loadable(await source.find("google.longrunning.Operation"), "google.rpc.Status")
        assert await source.find("google.type.Date") == []

    async def test_a_package_provides_the_types_of_all_its_modules(self) -> None:
        """The modules may be in packages inside the package."""
        source = ModuleSource("google.rpc")
        for symbol in ("google.rpc.ErrorInfo", "google.rpc.context.AttributeContext"):
            assert is_loadable(await source.find(symbol), symbol)

    async def test_directories_of_generated_code_need_no_init(self, directory: Path) -> None:
        """Protoc writes no `__init__.py`."""
        (directory / "generated" / "deep").mkdir(parents=True)
        file = chain(())[0].SerializeToString()
        (directory / "generated" / "deep" / "chain_pb2.py").write_text(
            "from google.protobuf.descriptor_pool import DescriptorPool\n"
            f"DESCRIPTOR = DescriptorPool().AddSerializedFile({file!r})\n"
        )
        assert names(await ModuleSource("generated").find("chain.M0")) == ["0.proto"]

    async def test_a_proto_plus_module_provides_its_types(self, directory: Path) -> None:
        """The google-cloud packages have such modules. The base class proto.Message is ignored."""
        (directory / "plus_types.py").write_text(
            "import proto\n"
            "from proto import Message\n"
            "__protobuf__ = proto.module(package='plus.v1')\n"
            "class Build(proto.Message):\n"
            "    title = proto.Field(proto.STRING, number=1)\n"
        )
        assert is_loadable(await ModuleSource("plus_types").find("plus.v1.Build"), "plus.v1.Build")

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (None, "module broken_pb2 cannot be imported: No module named 'broken_pb2'"),
            ("raise RuntimeError('too old')", "module broken_pb2 cannot be imported: too old"),
            ("x = 1", "module:broken_pb2 has no generated protobuf code"),
        ],
    )
    async def test_a_module_that_provides_no_types_is_an_error(
        self, directory: Path, content: str | None, problem: str
    ) -> None:
        """The module may be missing, raise at import, or have no generated code."""
        if content is not None:
            (directory / "broken_pb2.py").write_text(content)
        with pytest.raises(SourceUnavailableError) as caught:
            await ModuleSource("broken_pb2").find("a.B")
        assert str(caught.value) == problem


@given(st.lists(st.binary(max_size=40), max_size=3))
def test_a_set_stays_usable_whatever_files_are_added(contents: list[bytes]) -> None:
    """Any bytes that parse as a file are added or left out. Adding them never raises."""
    types = TypeSet()
    for content in contents:
        try:
            file = FileDescriptorProto.FromString(content)
        except Exception:  # noqa: BLE001, S112 - whether these bytes parse is not tested
            continue
        assert len(types.add([file])) <= 1
    assert types.message_class("google.protobuf.Any") is not None

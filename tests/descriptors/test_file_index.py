"""The index of files: files of one name, files without imports, and names that are not text."""

from __future__ import annotations

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from lro_gateway.descriptors.descriptor_file import DescriptorFile
from lro_gateway.descriptors.file_index import FileIndex
from tests.descriptors.file_chains import names
from tests.descriptors.made_types import file


def parsed(files: list[DescriptorFile]) -> list[FileDescriptorProto]:
    """Return the parsed files."""
    return [file.parsed for file in files]


def test_files_with_one_name_are_all_kept() -> None:
    """Two descriptor sets that are concatenated are a descriptor set. Equal files count once."""
    one, other = file("service.proto", package="one"), file("service.proto", package="other")
    index = FileIndex([one, other, one])
    assert parsed(index.find("one.Thing")) == [one]
    assert parsed(index.find("other.Thing")) == [other]
    assert parsed(index.find_file("service.proto")) == [one, other]
    assert index.find_file("no.proto") == index.find("no.Thing") == []


def test_a_file_needs_the_files_of_its_types_even_without_imports() -> None:
    """Protobufjs drops the imports and writes names that are relative to the package."""
    used = file("b.proto", package="acme.common")
    user = file("a.proto", package="acme.v1")
    user.message_type[0].field.add(name="x", number=1, type=11, type_name="common.Thing")
    assert names(FileIndex([user, used]).find("acme.v1.Thing")) == ["b.proto", "a.proto"]


def test_an_extension_is_found_by_the_extended_type_and_its_number() -> None:
    """It may be declared in a message, and the name of the extended type may be relative."""
    made = file("a.proto", package="acme")
    made.message_type[0].extension.add(name="x", number=7, type=9, extendee="Thing")
    index = FileIndex([made])
    assert parsed(index.find_extension("acme.Thing", 7)) == [made]
    assert index.find_extension("acme.Thing", 8) == []
    assert parsed(index.find("acme.Thing.x")) == [made]


def test_names_that_are_not_text_do_not_hide_other_names() -> None:
    """Protobuf accepts any bytes as a name of proto2."""
    content = file("a.proto", "xx").SerializeToString().replace(b"xx", b"\xff\xff")
    broken = file("b.proto", type_name="Yy").SerializeToString().replace(b"Yy", b"Y\xff")
    index = FileIndex(map(FileDescriptorProto.FromString, (content, broken)))
    assert names(index.find("own.Thing")) == ["a.proto"]
    assert names(index.find("own.Y\\xff")) == ["b.proto"]

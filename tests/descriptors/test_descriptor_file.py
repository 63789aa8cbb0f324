"""Files in the form in which the gateway keeps them."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from lro_gateway.background import completed
from lro_gateway.descriptors.descriptor_file import DescriptorFile
from tests import factory
from tests.descriptors.made_types import file


def test_a_file_has_its_names_and_all_its_content() -> None:
    """The references are the names of the types that the file does not declare."""
    made = file("a.proto", "title", package="acme")
    made.dependency.append("b.proto")
    made.message_type[0].nested_type.add(name="Inner")
    for name in (".acme.Thing.Inner", ".common.Id", "Id"):
        made.message_type[0].field.add(name=name[-2:], number=9, type=11, type_name=name)
    made.service.add(name="Builds")
    kept = DescriptorFile.of(made)
    assert kept.parsed == made
    assert (kept.name, kept.imports, kept.services) == ("a.proto", ("b.proto",), ("acme.Builds",))
    assert sorted(kept.symbols) == ["acme.Builds", "acme.Thing", "acme.Thing.Inner"]
    assert completed(kept.references()) == (("", ".common.Id"), ("acme.Thing", "Id"))
    assert not kept.has_comments


def test_equal_files_are_equal_however_they_were_serialized() -> None:
    """A set of files then has each of them once."""
    made = file("a.proto", "title", package="acme")
    # In these bytes, the package comes before the name.
    other = FileDescriptorProto(package="acme").SerializeToString()
    made_otherwise = FileDescriptorProto.FromString(
        other + FileDescriptorProto.FromString(made.SerializeToString()).SerializeToString()
    )
    assert {DescriptorFile.of(made)} == {DescriptorFile.of(made_otherwise)}
    assert DescriptorFile.of(made) != DescriptorFile.of(file("a.proto", "name", package="acme"))


@pytest.mark.parametrize(
    ("name", "reference", "loses"),
    [
        ("a.proto", ".acme.Thing", False),
        ("a.proto", "Thing", False),
        ("a.proto", ".other.Thing", True),
        ("acme.proto", ".acme.Thing", True),
    ],
)
def test_a_file_that_needs_imports_and_has_none_has_lost_them(
    name: str, reference: str, loses: bool
) -> None:
    """The file of a package, as protobufjs names it, may always have lost some."""
    made = file(name, package="acme")
    made.message_type[0].field.add(name="x", number=9, type=11, type_name=reference)
    assert DescriptorFile.of(made).loses_imports is loses
    made.dependency.append("other.proto")
    assert not DescriptorFile.of(made).loses_imports


def test_the_files_of_a_published_service_keep_their_options() -> None:
    """A rule of google.api.http is an option that protobuf itself does not know."""
    for made in factory.descriptor_set().file:
        assert DescriptorFile.of(made).parsed == made

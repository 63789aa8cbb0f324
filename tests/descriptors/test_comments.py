"""Comments in descriptors."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from lro_gateway.descriptors.comments import Comments, clean
from tests.factory import types


def test_every_kind_of_declaration_has_its_comment_by_full_name() -> None:
    """Services, methods, messages, fields and enum values, inside of messages too."""
    comments = types().comments
    told = {
        name: comments.of_name(f"factory.v1.{name}")
        for name in ("Factory", "Machine.name", "Machine.State.RUNNING", "Machine.title")
    }
    assert told == {
        "Factory": "Builds machines.",
        "Machine.name": "Its name.",
        "Machine.State.RUNNING": "It runs.",
        "Machine.title": "",
    }


def test_a_comment_is_one_paragraph_without_references_and_directives() -> None:
    """As a model needs it."""
    told = types().comments.of_name("factory.v1.Factory.BuildMachine")
    assert told == "Builds a machine. See the machine for what it is made of."


def test_a_very_long_comment_is_cut() -> None:
    """After a whole word, with a sign that it was."""
    assert clean("word " * 1000) == ("word " * 204).rstrip() + "..."


@pytest.mark.parametrize(
    "path", [[], [4], [4, 7], [4, -1], [4, 0, 2, 99], [99, 0], [4, 0, 8, 0], [4, 0, 2, 0, 1]]
)
def test_source_info_that_leads_nowhere_is_passed_over(path: list[int]) -> None:
    """A backend may send anything; what is not a declaration has no comment."""
    file = FileDescriptorProto(name="f.proto", package="p")
    file.message_type.add(name="M").field.add(name="f", number=1)
    file.source_code_info.location.add(path=path, leading_comments=" A comment.")
    file.source_code_info.location.add(path=[4, 0], trailing_comments=" Trailing.")
    found = Comments.of({file.name: file.SerializeToString()})
    assert found == Comments(frozenset({"f.proto"}), {"p.M": "Trailing."})


def test_a_comment_that_is_not_utf8_shows_where() -> None:
    """A compiler passes on what is in the file, and old files are in Latin-1."""
    file = FileDescriptorProto(name="f.proto", package="p")
    file.message_type.add(name="M")
    file.source_code_info.location.add(path=[4, 0], leading_comments="caf~")
    content = file.SerializeToString().replace(b"~", b"\xe9")
    assert Comments.of({"f.proto": content}).of_name("p.M") == "caf\N{REPLACEMENT CHARACTER}"


def test_the_comments_of_further_files_come_beside_those_that_were_read() -> None:
    """A type that is met later must not have all files read anew."""
    files = {}
    for letter in "ab":
        file = FileDescriptorProto(name=f"{letter}.proto", package="p")
        file.message_type.add(name=letter.upper())
        file.source_code_info.location.add(path=[4, 0], leading_comments=letter)
        files[file.name] = file.SerializeToString()
    first = Comments.of({"a.proto": files["a.proto"]})
    assert first.and_of({**files, "a.proto": b"read no more"}) == Comments.of(files)

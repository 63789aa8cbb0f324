"""Reading the comments in descriptors."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from lro_gateway.descriptors.comments import Comments, clean, first_sentences, shortened
from tests.factory import types


def test_comments_on_all_kinds_of_declarations_are_found_by_full_name() -> None:
    """Services, methods, messages, fields and enum values have comments, also inside messages."""
    comments = types().comments
    found = {
        name: comments.of_name(f"factory.v1.{name}")
        for name in ("Factory", "Machine.name", "Machine.State.RUNNING", "Machine.title")
    }
    assert found == {
        "Factory": "Builds machines.",
        "Machine.name": "Its name.",
        "Machine.State.RUNNING": "It runs.",
        "Machine.title": "",
    }


def test_a_comment_is_one_paragraph_without_references_and_directives() -> None:
    """A model gets plain text. References are replaced by their text, directives are removed."""
    comment = types().comments.of_name("factory.v1.Factory.BuildMachine")
    assert comment == "Builds a machine. See the machine for what it is made of."


@pytest.mark.parametrize(
    "text",
    [
        "Matches [a-z][-a-z0-9]*, as labels do.",
        "One of [a-z][0-9]{5} or [a-zA-Z_][a-zA-Z0-9_]*.",
        "The cells [0][0] and [0][1].",
        "The form data:[<mediatype>][;base64],<data>.",
    ],
)
def test_patterns_in_a_comment_stay_as_they_are(text: str) -> None:
    """They look similar to references."""
    assert clean(text) == text


def test_a_very_long_comment_is_cut() -> None:
    """The text is cut after a whole word, and three dots follow."""
    assert clean("word " * 1000) == ("word " * 204).rstrip() + "..."


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("a bc def", "a bc def"),
        ("a bcd efghi", "a bcd..."),
        ("a bcdef ghi", "a bcdef..."),
        ("an_extremely_long_word_at_the_end_of_a_text", "an_extr..."),
    ],
)
def test_a_shortened_text_ends_with_a_whole_word(text: str, short: str) -> None:
    """Only a word that alone is too long is cut itself."""
    assert shortened(text, 10) == short


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("It runs. It ends.", "It runs. It ends."),
        ("It runs. It ends. It is deleted.", "It runs. It ends."),
        ("It runs, e.g. now. It is deleted later.", "It runs, e.g. now."),
        ("It runs, e.g. until it ends", "It runs, e.g...."),
    ],
)
def test_a_long_text_keeps_its_first_sentences(text: str, kept: str) -> None:
    """A sentence that does not fit is left out, unless it is the first one."""
    assert first_sentences(text, 20) == kept


def test_a_long_word_at_the_limit_is_left_out() -> None:
    """Half of it could be taken for another word."""
    name = "projects/p/locations/l/instances/i"
    assert clean(f"{'word ' * 202}{name} and more") == ("word " * 202).rstrip() + "..."


@pytest.mark.parametrize(
    "path", [[], [4], [4, 7], [4, -1], [4, 0, 2, 99], [99, 0], [4, 0, 8, 0], [4, 0, 2, 0, 1]]
)
def test_source_info_with_a_wrong_path_is_ignored(path: list[int]) -> None:
    """A backend may send any path. A path that leads to no declaration has no comment."""
    file = FileDescriptorProto(name="f.proto", package="p")
    file.message_type.add(name="M").field.add(name="f", number=1)
    file.source_code_info.location.add(path=path, leading_comments=" A comment.")
    file.source_code_info.location.add(path=[4, 0], trailing_comments=" Trailing.")
    found = Comments.of({file.name: file.SerializeToString()})
    assert found == Comments(frozenset({"f.proto"}), {"p.M": "Trailing."})


def test_wrong_bytes_of_a_comment_that_is_not_utf8_are_replaced() -> None:
    """Old .proto files may be in Latin-1, and the compiler copies their bytes."""
    file = FileDescriptorProto(name="f.proto", package="p")
    file.message_type.add(name="M")
    file.source_code_info.location.add(path=[4, 0], leading_comments="caf~")
    content = file.SerializeToString().replace(b"~", b"\xe9")
    assert Comments.of({"f.proto": content}).of_name("p.M") == "caf\N{REPLACEMENT CHARACTER}"


def test_comments_of_further_files_are_added_without_reading_files_again() -> None:
    """Reading all files again for each new type would be slow."""
    files = {}
    for letter in "ab":
        file = FileDescriptorProto(name=f"{letter}.proto", package="p")
        file.message_type.add(name=letter.upper())
        file.source_code_info.location.add(path=[4, 0], leading_comments=letter)
        files[file.name] = file.SerializeToString()
    first = Comments.of({"a.proto": files["a.proto"]})
    assert first.with_files({**files, "a.proto": b"not read again"}) == Comments.of(files)

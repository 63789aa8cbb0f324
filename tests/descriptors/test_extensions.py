"""Extensions of proto2 in payloads, answers and requests, over REST."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from tests.gateways import serving
from tests.reflecting import ReflectingBackend, refusal

TYPE = "type.googleapis.com/old"
WORDS = {
    "TEXT": "label: LABEL_OPTIONAL type: TYPE_STRING",
    "MESSAGE": "label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name:",
    "MANY": "label: LABEL_REPEATED type: TYPE_MESSAGE type_name:",
}
BASE = """
    name: "base.proto" package: "old"
    message_type {
      name: "Job"
      field { name: "title" number: 1 TEXT }
      field { name: "inner" number: 2 MESSAGE ".old.Job" }
      extension_range { start: 100 end: 200 }
    }
    message_type {
      name: "Set"
      options { message_set_wire_format: true }
      extension_range { start: 4 end: 2147483647 }
    }
    message_type {
      name: "Holder"
      field { name: "any" number: 1 MESSAGE ".google.protobuf.Any" }
    }
    dependency: "google/protobuf/any.proto"
    service {
      name: "Jobs" method { name: "Echo" input_type: ".old.Job" output_type: ".old.Job" }
    }
"""
MORE = """
    name: "more.proto" package: "more" dependency: "base.proto"
    message_type {
      name: "Note"
      field { name: "text" number: 1 TEXT }
      extension {
        name: "note" number: 101 MESSAGE ".more.Note" extendee: ".old.Job"
      }
      extension {
        name: "item" number: 1000 MESSAGE ".more.Note" extendee: ".old.Set"
      }
    }
    extension { name: "word" number: 100 TEXT extendee: ".old.Job" }
    extension { name: "again" number: 102 MANY ".old.Job" extendee: ".old.Job" }
"""
WORD = b"\xa2\x06\x01w"
NOTE = b"\xaa\x06\x03\x0a\x01n"
AGAIN = b"\xb2\x06\x04\xa2\x06\x01w"
UNKNOWN = b"\xf2\x06\x01u"


def made(text: str) -> FileDescriptorProto:
    """Read a file from protobuf's text format."""
    for word, meaning in WORDS.items():
        text = text.replace(word, meaning)
    return text_format.Parse(text, FileDescriptorProto())


def operation(name: str, content: bytes) -> operations_pb2.Operation:
    """Return a running operation whose metadata is a message of a type in `old`."""
    result = operations_pb2.Operation(name="operations/1")
    result.metadata.type_url, result.metadata.value = f"{TYPE}.{name}", content
    return result


async def read(
    name: str, content: bytes, *files: str, descriptors: tuple[str, ...] = ("reflection",)
) -> tuple[Any, list[str]]:
    """Read an operation through a gateway. Return its metadata and the requests of reflection."""

    async def get(_request: Any, _context: Any) -> Any:
        return operation(name, content)

    async with (
        ReflectingBackend.open(map(made, files), handlers={"GetOperation": get}) as backend,
        serving({"name": "b", "target": backend.target, "descriptors": descriptors}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        first, *others = [await client.get("/v1/operations/1") for _ in range(3)]
    assert all(other.json() == first.json() for other in others)
    metadata = first.json()["metadata"]
    assert metadata.pop("@type") == f"{TYPE}.{name}"
    asked = [each for each in backend.requests if "extension" in each]
    return metadata, asked


async def test_extensions_are_fetched_by_number_and_printed_by_name() -> None:
    """One request finds the file of all of them. An extension may hold further extensions."""
    metadata, asked = await read("Job", b"\x0a\x01t" + WORD + NOTE + AGAIN, BASE, MORE)
    assert metadata == {
        "title": "t",
        "[more.word]": "w",
        "[more.Note.note]": {"text": "n"},
        "[more.again]": [{"[more.word]": "w"}],
    }
    assert asked == ["file_containing_extension old.Job 100"]


@pytest.mark.parametrize(
    ("name", "content", "printed"),
    [
        ("Job", b"\x12\x04" + WORD, {"inner": {"[more.word]": "w"}}),
        ("Set", b"\x0b\x10\xe8\x07\x1a\x03\x0a\x01n\x0c", {"[more.Note.item]": {"text": "n"}}),
        (
            "Holder",
            operation("Job", WORD).metadata.SerializeToString(),
            {"any": {"@type": f"{TYPE}.Job", "[more.word]": "w"}},
        ),
    ],
    ids=["inner message", "MessageSet", "Any in a message"],
)
async def test_extensions_are_found_at_every_depth(name: str, content: bytes, printed: Any) -> None:
    """They may be in inner messages, in Anys, and in a MessageSet."""
    if name == "Holder":
        content = b"\x0a" + bytes([len(content)]) + content
    metadata, _ = await read(name, content, BASE, MORE)
    assert metadata == printed


async def test_an_unknown_extension_is_reported_and_its_bytes_are_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is looked up once, and not at each read."""
    caplog.set_level(logging.WARNING, "lro_gateway")
    content = b"\x0a\x01t" + WORD + UNKNOWN
    metadata, asked = await read("Job", content, BASE, MORE)
    reason = "no descriptor of extension 110 of old.Job in reflection, googleapis-common-protos"
    assert metadata == {
        "title": "t",
        "[more.word]": "w",
        "@value": "CgF0ogYBd/IGAXU=",
        "@error": f"some data is only in @value: {reason}",
    }
    assert [each for each in asked if "110" in each] == [
        "file_containing_extension old.Job 110",
        "file_containing_extension .old.Job 110",
    ]
    assert caplog.text.count(reason) == 1


async def test_extensions_come_from_other_sources_too(tmp_path: Path) -> None:
    """A descriptor set may have them in another file than the message."""
    path = tmp_path / "more.binpb"
    path.write_bytes(FileDescriptorSet(file=[made(BASE), made(MORE)]).SerializeToString())
    metadata, asked = await read("Job", WORD, BASE, descriptors=("reflection", str(path)))
    assert metadata == {"[more.word]": "w"}
    assert len(asked) == 2


async def test_answers_and_requests_of_methods_have_extensions() -> None:
    """A request names an extension by [pkg.name], which is looked up by its name."""

    async def echo(request: bytes, _context: Any) -> bytes:
        return request + NOTE

    async with (
        ReflectingBackend.open(
            [made(BASE), made(MORE)], "old.Jobs", methods={"old.Jobs/Echo": echo}
        ) as backend,
        serving({"name": "b", "target": backend.target, "methods": ["*"]}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        body = {"title": "t", "[more.word]": "w"}
        answered = await client.post("/v1/old.Jobs/Echo", json=body)
        refused = await client.post("/v1/old.Jobs/Echo", json={"inner": {"[no.such]": 1}})
    assert answered.json() == {**body, "[more.Note.note]": {"text": "n"}}
    error = refused.json()["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert "inner.[no.such]" in error["message"]
    assert "is not a known extension of old.Job" in error["message"]


async def test_a_server_without_requests_of_extensions_is_no_failure() -> None:
    """The payload is readable, and other look-ups go on."""

    async def get(_request: Any, _context: Any) -> Any:
        return operation("Job", b"\x0a\x01t" + WORD)

    async with (
        ReflectingBackend.open([made(BASE)], handlers={"GetOperation": get}) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        backend.answers["file_containing_extension old.Job 100"] = refusal(12, "not supported")
        metadata = (await client.get("/v1/operations/1")).json()["metadata"]
    assert metadata["title"] == "t"
    assert metadata["@error"].endswith(
        'extension 100 of old.Job: reflection failed: UNIMPLEMENTED: "not supported"'
    )

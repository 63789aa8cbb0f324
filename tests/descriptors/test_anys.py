"""Anys: finding their types at any depth, and the lossless form of those not readable."""

from __future__ import annotations

import base64
import math
from typing import Any

import orjson
import pytest
from google.longrunning import operations_pb2
from google.protobuf import any_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.rpc import status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from lro_gateway.descriptors.anys import MAX_DEPTH, unresolved
from lro_gateway.descriptors.printing import any_to_json, to_json
from lro_gateway.descriptors.type_set import TypeSet
from tests.descriptors.payloads import (
    HOST,
    NAMES,
    PAYLOADS,
    from_json,
    lossless,
    make,
    message_class,
    pack,
    parsed,
    raw,
    types,
    wrapped,
)
from tests.generated import json_depth, messages

DEEPEST = MAX_DEPTH + 40
"""No JSON of the gateway nests deeper than this, because orjson and pydantic fail near 254."""


UNREADABLE = {
    "an unknown type": (raw("x/no.Such", b"\x01"), "no descriptor of its type was found"),
    "corrupt bytes": (raw("x/shapes.v1.Job", b"\xff"), "the bytes are not a shapes.v1.Job"),
    "truncated bytes": (
        raw("x/shapes.v1.Job", b"\x1a\x05ab"),
        "the bytes are not a shapes.v1.Job",
    ),
    "a string that is not UTF-8": (
        raw("x/shapes.v1.Job", b"\x1a\x01\xff"),
        "the bytes are not a shapes.v1.Job",
    ),
    "a proto2 string that is not UTF-8": (
        raw("x/odd.v1.Legacy", b"\x0a\x01\xff"),
        "one of its strings is not UTF-8",
    ),
    "a proto2 string in a list that is not UTF-8": (
        raw("x/odd.v1.Legacy", b"\x1a\x01a\x1a\x01\xff"),
        "one of its strings is not UTF-8",
    ),
    "a proto2 string in an inner message that is not UTF-8": (
        raw("x/odd.v1.Legacy", b"\x2a\x03\x0a\x01\xff"),
        "one of its strings is not UTF-8",
    ),
    "a proto2 map key that is not UTF-8": (
        raw("x/odd.v1.Legacy", b"\x22\x06\x0a\x01\xff\x12\x01a"),
        "one of its strings is not UTF-8",
    ),
    "a proto2 map value that is not UTF-8": (
        raw("x/odd.v1.Legacy", b"\x22\x06\x0a\x01a\x12\x01\xff"),
        "one of its strings is not UTF-8",
    ),
    "a proto2 string in an extension that is not UTF-8": (
        raw("x/odd.v1.Legacy", b"\xa2\x06\x01\xff"),
        "one of its strings is not UTF-8",
    ),
    "bytes without a type": (raw("", b"\x01"), "its type URL does not end in a message name"),
    "a type URL that ends in a slash": (
        raw("x/", b""),
        "its type URL does not end in a message name",
    ),
    "a type URL of control characters": (
        raw("\0/ é\n", b""),
        "its type URL does not end in a message name",
    ),
    "a type name that ends in a NUL": (
        raw("x/shapes.v1.Job\0", b""),
        "its type URL does not end in a message name",
    ),
    "a very long type URL": (
        raw("x/" + "a." * 10_000 + "a", b""),
        "its type URL does not end in a message name",
    ),
    "the name of an enum": (raw("x/shapes.v1.Color", b""), "no descriptor of its type was found"),
    "the name of a field": (
        raw("x/shapes.v1.Job.progress", b""),
        "no descriptor of its type was found",
    ),
    "a field called @type": (
        pack(make("odd.v1.Tagged", tag="t")),
        "its field @type would be read as a key of the Any",
    ),
    "a field called @value": (
        pack(make("odd.v1.Valued", content="c")),
        "its field @value would be read as a key of the Any",
    ),
    "a field whose name Python reserves": (
        raw("x/odd.v1.Shadow", b"\x0a\x01a\x12\x01b"),
        "its field DESCRIPTOR has a name that protobuf's Python library reserves",
    ),
    "an inner field whose name Python reserves": (
        raw("x/odd.v1.ShadowHolder", b"\x0a\x03\x0a\x01a"),
        "its field DESCRIPTOR has a name that protobuf's Python library reserves",
    ),
    "a time out of range": (
        pack(make("google.protobuf.Timestamp", seconds=2**62)),
        "the payload has no JSON form: ",
    ),
    "a field with a time out of range": (
        pack(make("Everything", time={"seconds": -(2**62)})),
        "the payload has no JSON form: ",
    ),
    "a duration whose seconds and nanos have different signs": (
        pack(make("google.protobuf.Duration", seconds=1, nanos=-1)),
        "the payload has no JSON form: ",
    ),
    "NaN in a Value": (
        pack(make("google.protobuf.Value", number_value=math.nan)),
        "the payload has no JSON form: ",
    ),
    "NaN in a Struct": (
        pack(
            make(
                "Everything",
                free=make(
                    "google.protobuf.Struct",
                    fields={"x": make("google.protobuf.Value", number_value=math.inf)},
                ),
            )
        ),
        "the payload has no JSON form: ",
    ),
}


@pytest.mark.parametrize(("any_message", "problem"), UNREADABLE.values(), ids=UNREADABLE)
def test_an_any_that_is_not_readable_is_printed_lossless(any_message: Any, problem: str) -> None:
    """The lossless form has the type URL, the bytes and the reason, and parses to the same Any."""
    printed = any_to_json(any_message, types())
    expected = lossless(any_message, printed["@error"])
    assert printed == expected
    assert printed["@error"].startswith(problem)
    assert parsed(orjson.loads(orjson.dumps(printed)), "google.protobuf.Any") == any_message


def test_an_any_that_is_not_readable_does_not_affect_its_surroundings() -> None:
    """Only the Any itself is lossless, even if it is in a list, in a map or in another Any."""
    bad = raw("x/no.Such", b"\x01")
    bad_json = lossless(bad, "no descriptor of its type was found")
    everything = make("Everything", big=1, any=bad, anys=[bad], any_by_name={"k": bad})
    printed = {
        "@type": HOST + "shapes.v1.Everything",
        "big": "1",
        "any": bad_json,
        "anys": [bad_json],
        "anyByName": {"k": bad_json},
    }
    assert any_to_json(pack(everything), types()) == printed
    assert any_to_json(wrapped(bad, 1), types()) == {
        "@type": HOST + "google.protobuf.Any",
        "value": bad_json,
    }


def test_an_empty_any_is_an_empty_object() -> None:
    """ProtoJSON defines this form, for printing and for parsing."""
    assert any_to_json(any_pb2.Any(), types()) == {}
    assert parsed({}, "google.protobuf.Any") == make("google.protobuf.Any")


@pytest.mark.parametrize("host", ["", "/", "x/", "https://other.host/a/b/", "é/", "\0/", "a b/"])
def test_a_type_url_may_have_any_host_which_is_kept(host: str) -> None:
    """The text after the last slash names the type. Without a slash the whole text names it."""
    any_message = pack(make("Job", progress_percent=1), host)
    printed = {"@type": f"{host}shapes.v1.Job", "progressPercent": 1}
    assert any_to_json(any_message, types()) == printed
    assert parsed(printed, "google.protobuf.Any") == any_message


def _chain(length: int) -> Any:
    everything = make("Everything", big=1)
    for _ in range(length):
        everything = make("Everything", inner=everything)
    return everything


def _tree(length: int) -> Any:
    tree = make("odd.v1.Tree")
    for _ in range(length):
        tree = make("odd.v1.Tree", trunk=tree)
    return tree


def _struct(length: int) -> Any:
    value: Any = {}
    for _ in range(length):
        value = {"a": value}
    return from_json("google.protobuf.Struct", value)


def _alternating(length: int) -> Any:
    any_message = pack(make("Job"))
    for _ in range(length):
        any_message = pack(make("Everything", any=any_message))
    return any_message


DEEP = {
    "a message that holds itself and Anys": lambda length: pack(_chain(length)),
    "a message that holds itself": lambda length: pack(_tree(length)),
    "Any in Any": lambda length: wrapped(pack(make("Job")), length),
    "a Struct": lambda length: pack(_struct(length // 2)),
    "Anys in messages in Anys": _alternating,
}


@pytest.mark.parametrize("deep", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("length", [20, 90])
def test_an_any_past_the_nesting_limit_is_printed_lossless(deep: Any, length: int) -> None:
    """The nearest Any around the limit is printed lossless, so any JSON library can read it all."""
    any_message = deep(length)
    printed = any_to_json(any_message, types())
    text = orjson.dumps(printed).decode()
    assert json_depth(printed) <= DEEPEST
    assert ("@error" in text) is (length == 90)
    assert parsed(printed, "google.protobuf.Any") == any_message


def test_a_thousand_anys_in_each_other_are_printed_up_to_the_limit() -> None:
    """A type past the limit is not looked up, because its Any is not parsed."""
    any_message = wrapped(raw("x/no.Such", b""), 1000)
    printed = any_to_json(any_message, types())
    assert json_depth(printed) <= DEEPEST
    assert b"nested deeper than 64 levels" in orjson.dumps(printed)
    assert unresolved(any_message, types()) == set()


def test_types_that_nest_deep_without_recursion_have_the_same_limit() -> None:
    """A hundred types, each with a list of the next type, are limited as a recursive type is."""
    file = FileDescriptorProto(name="deep.proto", package="deep", syntax="proto3")
    for index in range(100):
        message = file.message_type.add(name=f"M{index}")
        if index < 99:
            message.field.add(
                name="next", number=1, type=11, label=3, type_name=f".deep.M{index + 1}"
            )
    known = TypeSet()
    known.add([file])
    root: Any = known.message_class("deep.M0")
    message = deepest = root()
    for _ in range(95):
        deepest = deepest.next.add()
    any_message = any_pb2.Any(type_url="x/deep.M0", value=message.SerializeToString())
    assert any_to_json(any_message, known) == lossless(any_message, "nested deeper than 64 levels")


def test_unknown_types_are_named_at_any_depth() -> None:
    """Anys may be in Anys, in lists, in maps and in extensions.

    A type URL without a type name is ignored.
    """
    everything = make(
        "Everything",
        any=wrapped(raw("x/deep.Inside", b""), 3),
        anys=[raw("x/in.List", b""), raw("x/shapes.v1.Job", b"\xff"), raw("", b"")],
        any_by_name={"k": pack(make("Everything", any=raw("x/in.Map", b"")))},
        inner_by_number={1: make("Everything", any=raw("x/in.MessageMap", b""))},
    )
    legacy = message_class("odd.v1.Legacy")()
    extension = legacy.DESCRIPTOR.file.pool.FindExtensionByName("odd.v1.detail")
    legacy.Extensions[extension].type_url = "x/in.Extension"
    everything.inner.any.CopyFrom(pack(legacy))
    expected = {"deep.Inside", "in.List", "in.Map", "in.MessageMap", "in.Extension"}
    assert unresolved(everything, types()) == expected


def test_types_of_two_pools_with_the_same_name_are_not_confused() -> None:
    """A backend may define another type under a name that the gateway's code also uses."""
    file = FileDescriptorProto(name="own.proto", package="google.rpc", syntax="proto3")
    file.message_type.add(name="Status").field.add(name="code", number=1, type=5, label=1)
    known = TypeSet()
    known.add([file])
    theirs = any_pb2.Any(type_url="x/google.rpc.Status", value=b"\x08\x05")
    assert any_to_json(theirs, known) == {"@type": "x/google.rpc.Status", "code": 5}
    ours = status_pb2.Status(code=5, details=[theirs, any_pb2.Any(type_url="x/no.Such")])
    operation = operations_pb2.Operation(name="n", error=ours)
    assert to_json(operation, known) == {
        "name": "n",
        "error": {
            "code": 5,
            "details": [
                {"@type": "x/google.rpc.Status", "code": 5},
                lossless(ours.details[1], "no descriptor of its type was found"),
            ],
        },
    }


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw the bytes of a message with up to three bytes changed."""
    message = draw(messages(draw(st.sampled_from(PAYLOADS)), PAYLOADS))
    content = bytearray(message.SerializePartialToString())
    for _ in range(draw(st.integers(0, 3)) if content else 0):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content)


@settings(max_examples=300)
@given(
    type_url=st.sampled_from(NAMES).map("x/".__add__) | st.text(),
    value=damaged() | st.binary(max_size=60),
)
def test_an_any_with_any_content_is_printed(type_url: str, value: bytes) -> None:
    """Printing never raises and keeps the type URL. Parsing and printing again changes nothing."""
    any_message = raw(type_url, value)
    unresolved(any_message, types())
    printed = any_to_json(any_message, types())
    assert json_depth(printed) <= DEEPEST
    assert orjson.loads(orjson.dumps(printed)) == printed
    assert printed.get("@type", "") == type_url
    if "@error" in printed:
        assert base64.b64decode(printed["@value"]) == value
    assert any_to_json(parsed(printed, "google.protobuf.Any"), types()) == printed

"""What an Any holds: found however deep, and lossless where it cannot be read."""

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
"""No JSON of the gateway nests deeper than this; orjson and pydantic give up near 254."""


UNREADABLE = {
    "an unknown type": (raw("x/no.Such", b"\x01"), "no descriptor of it was found"),
    "corrupt bytes": (raw("x/shapes.v1.Job", b"\xff"), "the bytes are not a shapes.v1.Job"),
    "truncated bytes": (
        raw("x/shapes.v1.Job", b"\x1a\x05ab"),
        "the bytes are not a shapes.v1.Job",
    ),
    "a string that is not UTF-8": (
        raw("x/shapes.v1.Job", b"\x1a\x01\xff"),
        "the bytes are not a shapes.v1.Job",
    ),
    "a string of proto2 that is not UTF-8": (
        raw("x/odd.v1.Legacy", b"\x0a\x01\xff"),
        "a string of it is not UTF-8",
    ),
    "such a string in a list": (
        raw("x/odd.v1.Legacy", b"\x1a\x01a\x1a\x01\xff"),
        "a string of it is not UTF-8",
    ),
    "such a string in a message": (
        raw("x/odd.v1.Legacy", b"\x2a\x03\x0a\x01\xff"),
        "a string of it is not UTF-8",
    ),
    "such a string as a key": (
        raw("x/odd.v1.Legacy", b"\x22\x06\x0a\x01\xff\x12\x01a"),
        "a string of it is not UTF-8",
    ),
    "such a string as a value": (
        raw("x/odd.v1.Legacy", b"\x22\x06\x0a\x01a\x12\x01\xff"),
        "a string of it is not UTF-8",
    ),
    "such a string in an extension": (
        raw("x/odd.v1.Legacy", b"\xa2\x06\x01\xff"),
        "a string of it is not UTF-8",
    ),
    "bytes without a type": (raw("", b"\x01"), "its type URL does not end in a message name"),
    "a type URL that ends in a slash": (
        raw("x/", b""),
        "its type URL does not end in a message name",
    ),
    "a type URL of nonsense": (
        raw("\0/ é\n", b""),
        "its type URL does not end in a message name",
    ),
    "a name with a NUL after it": (
        raw("x/shapes.v1.Job\0", b""),
        "its type URL does not end in a message name",
    ),
    "a type URL without end": (
        raw("x/" + "a." * 10_000 + "a", b""),
        "its type URL does not end in a message name",
    ),
    "the name of an enum": (raw("x/shapes.v1.Color", b""), "no descriptor of it was found"),
    "the name of a field": (raw("x/shapes.v1.Job.progress", b""), "no descriptor of it was found"),
    "a field called @type": (
        pack(make("odd.v1.Tagged", tag="t")),
        "a field of it is called @type",
    ),
    "a field called @value": (
        pack(make("odd.v1.Valued", content="c")),
        "a field of it is called @value",
    ),
    "a field called as Python calls its own": (
        raw("x/odd.v1.Shadow", b"\x0a\x01a\x12\x01b"),
        "a field of it is called DESCRIPTOR",
    ),
    "such a field further down": (
        raw("x/odd.v1.ShadowHolder", b"\x0a\x03\x0a\x01a"),
        "a field of it is called DESCRIPTOR",
    ),
    "a time out of range": (
        pack(make("google.protobuf.Timestamp", seconds=2**62)),
        "the payload has no JSON form: ",
    ),
    "a time out of range inside": (
        pack(make("Everything", time={"seconds": -(2**62)})),
        "the payload has no JSON form: ",
    ),
    "a duration whose parts disagree": (
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
    "a path that has no JSON form": (
        pack(make("google.protobuf.FieldMask", paths=["fooBar"])),
        "the payload has no JSON form: ",
    ),
}


@pytest.mark.parametrize(("any_message", "why"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_comes_in_the_lossless_form(any_message: Any, why: str) -> None:
    """Its type URL, its bytes and the reason; reading that back gives the same Any."""
    printed = any_to_json(any_message, types())
    expected = lossless(any_message, printed["@error"])
    assert printed == expected
    assert printed["@error"].startswith(why)
    assert parsed(orjson.loads(orjson.dumps(printed)), "google.protobuf.Any") == any_message


def test_an_unreadable_any_leaves_all_around_it_readable() -> None:
    """The nearest Any is what stays encoded, wherever it stands."""
    bad = raw("x/no.Such", b"\x01")
    bad_json = lossless(bad, "no descriptor of it was found")
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
    """As ProtoJSON has it, in both directions."""
    assert any_to_json(any_pb2.Any(), types()) == {}
    assert parsed({}, "google.protobuf.Any") == make("google.protobuf.Any")


@pytest.mark.parametrize("host", ["", "/", "x/", "https://other.host/a/b/", "é/", "\0/", "a b/"])
def test_any_host_of_a_type_url_will_do_and_is_kept(host: str) -> None:
    """Only what follows the last slash names the type; without a slash the name alone does."""
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
def test_nesting_ends_in_the_lossless_form(deep: Any, length: int) -> None:
    """Past the limit the nearest Any stays encoded: JSON of any library can read the rest."""
    any_message = deep(length)
    printed = any_to_json(any_message, types())
    text = orjson.dumps(printed).decode()
    assert json_depth(printed) <= DEEPEST
    assert ("@error" in text) is (length == 90)
    assert parsed(printed, "google.protobuf.Any") == any_message


def test_a_thousand_anys_in_each_other_are_printed_and_looked_through() -> None:
    """What is past the limit is neither parsed nor asked for."""
    any_message = wrapped(raw("x/no.Such", b""), 1000)
    printed = any_to_json(any_message, types())
    assert json_depth(printed) <= DEEPEST
    assert b"nested deeper than 64 levels" in orjson.dumps(printed)
    assert unresolved(any_message, types()) == set()


def test_types_that_nest_deep_without_recursion_have_the_same_limit() -> None:
    """A hundred types, each with a list of the next, nest no deeper than one that holds itself."""
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


def test_types_still_to_be_found_are_named_however_deep() -> None:
    """In Anys in Anys, in lists, maps and extensions; what cannot be a type is not."""
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


def test_messages_of_two_pools_with_one_name_are_not_mixed_up() -> None:
    """A backend may have a type of its own under a name that the gateway's own code knows."""
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
                lossless(ours.details[1], "no descriptor of it was found"),
            ],
        },
    }


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw bytes that are nearly a message."""
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
def test_whatever_an_any_holds_it_is_printed(type_url: str, value: bytes) -> None:
    """Never an exception: @type is kept, JSON can hold it, and it reads back to the same JSON."""
    any_message = raw(type_url, value)
    unresolved(any_message, types())
    printed = any_to_json(any_message, types())
    assert json_depth(printed) <= DEEPEST
    assert orjson.loads(orjson.dumps(printed)) == printed
    assert printed.get("@type", "") == type_url
    if "@error" in printed:
        assert base64.b64decode(printed["@value"]) == value
    assert any_to_json(parsed(printed, "google.protobuf.Any"), types()) == printed

"""Messages to and from ProtoJSON: every case of Any, the lossless form, and the way back."""

from __future__ import annotations

import base64
import math
from functools import cache
from typing import Any

import orjson
import pytest
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, json_format
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from lro_gateway.descriptors.anys import MAX_DEPTH, unresolved
from lro_gateway.descriptors.parsing import parse
from lro_gateway.descriptors.printing import JsonOptions, any_to_json, to_json
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.errors import StatusError
from tests.generated import WELL_KNOWN_TYPES, files, json_depth, messages
from tests.shapes import descriptor_set

HOST = "type.googleapis.com/"
DEEPEST = MAX_DEPTH + 40
"""No JSON of the codec nests deeper than this; orjson and pydantic give up near 254."""


@cache
def types() -> TypeSet:
    """Return a set that knows the messages of `tests/proto`."""
    known = TypeSet()
    known.add(descriptor_set().file)
    return known


def message_class(name: str) -> Any:
    """Return a class of that set; without a package it is of `shapes.v1`."""
    found = types().message_class(name if "." in name else f"shapes.v1.{name}")
    assert found is not None
    return found


def make(name: str, **fields: Any) -> Any:
    """Make a message of that set."""
    return message_class(name)(**fields)


def pack(payload: Any, host: str = HOST) -> Any:
    """Put a message into an Any of that set."""
    content = payload.SerializePartialToString(deterministic=True)
    return raw(host + payload.DESCRIPTOR.full_name, content)


def raw(type_url: str, value: bytes) -> Any:
    """Make an Any of that set."""
    return make("google.protobuf.Any", type_url=type_url, value=value)


def lossless(any_message: Any, why: str) -> dict[str, str]:
    """Return the lossless form of an Any."""
    content = base64.b64encode(any_message.value).decode()
    return {"@type": any_message.type_url, "@value": content, "@error": why}


def wrapped(payload: Any, times: int) -> Any:
    """Put an Any into so many Anys."""
    for _ in range(times):
        payload = pack(payload)
    return payload


def parsed(value: Any, name: str) -> Any:
    """Parse JSON into a new message."""
    message = make(name)
    parse(value, message, types())
    return message


def from_json(name: str, value: Any) -> Any:
    """Make a message without Anys by json_format itself."""
    return json_format.ParseDict(value, make(name))


READABLE = [
    (make("Job", progress_percent=40), {"progressPercent": 40}),
    (make("Job"), {}),
    (make("google.protobuf.Empty"), {}),
    (
        pack(make("Job", progress_percent=1)),
        {"value": {"@type": HOST + "shapes.v1.Job", "progressPercent": 1}},
    ),
    (make("google.protobuf.Any"), {"value": {}}),
    (from_json("google.protobuf.Duration", "1.5s"), {"value": "1.500s"}),
    (
        from_json("google.protobuf.Timestamp", "2026-01-02T03:04:05Z"),
        {"value": "2026-01-02T03:04:05Z"},
    ),
    (from_json("google.protobuf.FieldMask", "a.bC,d"), {"value": "a.bC,d"}),
    (
        from_json("google.protobuf.Struct", {"a": [1, None, {"b": "c"}]}),
        {"value": {"a": [1, None, {"b": "c"}]}},
    ),
    (from_json("google.protobuf.Value", None), {"value": None}),
    (from_json("google.protobuf.Value", [True]), {"value": [True]}),
    (from_json("google.protobuf.ListValue", ["x", 2]), {"value": ["x", 2]}),
    (make("google.protobuf.Int64Value", value=2**53 + 1), {"value": "9007199254740993"}),
    (make("google.protobuf.UInt64Value", value=2**64 - 1), {"value": "18446744073709551615"}),
    (make("google.protobuf.Int32Value", value=-1), {"value": -1}),
    (make("google.protobuf.UInt32Value", value=1), {"value": 1}),
    (make("google.protobuf.BoolValue", value=False), {"value": False}),
    (make("google.protobuf.StringValue", value="x"), {"value": "x"}),
    (make("google.protobuf.BytesValue", value=b"\xff"), {"value": "/w=="}),
    (make("google.protobuf.DoubleValue", value=math.inf), {"value": "Infinity"}),
    (make("google.protobuf.FloatValue", value=0.1), {"value": 0.1}),
]


@pytest.mark.parametrize(
    ("payload", "body"), READABLE, ids=[p.DESCRIPTOR.full_name for p, _ in READABLE]
)
def test_a_known_payload_is_printed_as_protojson_and_read_back(
    payload: Any, body: dict[str, Any]
) -> None:
    """An ordinary message beside its @type; a type with a form of its own under "value"."""
    any_message = pack(payload)
    printed = any_to_json(any_message, types())
    assert printed == {"@type": any_message.type_url, **body}
    assert parsed(printed, "google.protobuf.Any") == any_message


def test_every_kind_of_field_has_its_protojson_form() -> None:
    """int64 is a string, enums are names, bytes base64, well-known types their own; Anys inside."""
    job = pack(make("Job", progress_percent=1))
    everything = make(
        "Everything",
        big=-(2**63),
        huge=2**64 - 1,
        color=1,
        raw=b"\x00\xff",
        duration=from_json("google.protobuf.Duration", "-1.5s"),
        time=from_json("google.protobuf.Timestamp", "2026-01-02T03:04:05.000000001Z"),
        free=from_json("google.protobuf.Struct", {"a": 1.5}),
        nothing=make("google.protobuf.Empty"),
        any=job,
        anys=[job, make("google.protobuf.Any")],
        any_by_name={"j": job},
        inner=make("Everything", big=1),
        inners=[make("Everything"), make("Everything", any=job)],
        inner_by_number={-1: make("Everything", any=job)},
        ratio=math.nan,
        wrapped=make("google.protobuf.Int64Value", value=7),
        value=from_json("google.protobuf.Value", None),
        job=make("Job", status_message="s"),
        colors=[0, 2, 77],
        words={True: "yes", False: "no"},
    )
    job_json = {"@type": HOST + "shapes.v1.Job", "progressPercent": 1}
    printed = {
        "big": "-9223372036854775808",
        "huge": "18446744073709551615",
        "color": "RED",
        "raw": "AP8=",
        "duration": "-1.500s",
        "time": "2026-01-02T03:04:05.000000001Z",
        "free": {"a": 1.5},
        "nothing": {},
        "any": job_json,
        "anys": [job_json, {}],
        "anyByName": {"j": job_json},
        "inner": {"big": "1"},
        "inners": [{}, {"any": job_json}],
        "innerByNumber": {"-1": {"any": job_json}},
        "ratio": "NaN",
        "wrapped": "7",
        "value": None,
        "job": {"statusMessage": "s"},
        "colors": ["COLOR_UNSPECIFIED", "BLUE", 77],
        "words": {"true": "yes", "false": "no"},
    }
    assert to_json(everything, types()) == printed
    again = parsed(printed, "Everything")
    assert again.SerializeToString(deterministic=True) == everything.SerializeToString(
        deterministic=True
    )


def test_anys_in_maps_keep_keys_of_every_kind() -> None:
    """Keys of bool and int are printed as JSON writes them, and read back."""
    file = FileDescriptorProto(
        name="maps.proto",
        package="maps",
        syntax="proto3",
        dependency=["google/protobuf/any.proto"],
    )
    message = file.message_type.add(name="Maps")
    kinds = (FieldDescriptorProto.TYPE_BOOL, FieldDescriptorProto.TYPE_UINT64)
    for number, kind in enumerate(kinds, 1):
        entry = message.nested_type.add(name=f"M{number}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=kind, label=1)
        entry.field.add(name="value", number=2, type=11, label=1, type_name=".google.protobuf.Any")
        type_name = f".maps.Maps.M{number}Entry"
        message.field.add(name=f"m{number}", number=number, type=11, label=3, type_name=type_name)
    known = TypeSet()
    assert known.add([file]) == []
    maps_class: Any = known.message_class("maps.Maps")
    filled = maps_class()
    filled.m1[True].type_url = "x/no.Such"
    filled.m1[False].type_url = "x/google.protobuf.Empty"
    filled.m2[2**64 - 1].type_url = "x/google.protobuf.Empty"
    unknown = lossless(filled.m1[True], "no descriptor of it was found")
    empty = {"@type": "x/google.protobuf.Empty"}
    printed = {"m1": {"true": unknown, "false": empty}, "m2": {str(2**64 - 1): empty}}
    assert to_json(filled, known) == printed
    again = maps_class()
    parse(printed, again, known)
    assert again == filled


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


@pytest.mark.parametrize("body", [{}, {"value": {}}])
def test_an_empty_in_an_any_is_read_in_both_forms(body: dict[str, Any]) -> None:
    """Python writes nothing beside @type, Go writes "value": {}."""
    url = HOST + "google.protobuf.Empty"
    assert parsed({"@type": url, **body}, "google.protobuf.Any") == raw(url, b"")


def test_the_type_may_stand_anywhere_in_an_any() -> None:
    """JSON objects have no order."""
    written = {"progressPercent": 1, "@type": HOST + "shapes.v1.Job"}
    assert parsed(written, "google.protobuf.Any") == pack(make("Job", progress_percent=1))


def test_extensions_and_closed_enums_of_proto2_are_printed_and_read_back() -> None:
    """Extensions by full name in brackets, also those that hold Anys; required may be missing."""
    legacy_class = message_class("odd.v1.Legacy")
    pool = legacy_class.DESCRIPTOR.file.pool
    legacy = legacy_class(text="t", shade=2, extra={"word": "w"})
    job = pack(make("Job", progress_percent=1))
    unknown = raw("x/no.Such", b"\x01")
    legacy.Extensions[pool.FindExtensionByName("odd.v1.note")] = "n"
    legacy.Extensions[pool.FindExtensionByName("odd.v1.detail")].CopyFrom(job)
    legacy.Extensions[pool.FindExtensionByName("odd.v1.details")].extend([job, unknown])
    job_json = {"@type": HOST + "shapes.v1.Job", "progressPercent": 1}
    unknown_json = lossless(unknown, "no descriptor of it was found")
    any_message = pack(legacy)
    printed = {
        "@type": any_message.type_url,
        "text": "t",
        "shade": "DARK",
        "extra": {"word": "w"},
        "[odd.v1.note]": "n",
        "[odd.v1.detail]": job_json,
        "[odd.v1.details]": [job_json, unknown_json],
    }
    assert any_to_json(any_message, types()) == printed
    assert parsed(printed, "google.protobuf.Any") == any_message


def test_a_number_that_a_closed_enum_lacks_is_an_unknown_field() -> None:
    """proto2 keeps it from the field, so the field is not printed."""
    any_message = raw("x/odd.v1.Legacy", b"\x10\x63")
    assert any_to_json(any_message, types()) == {"@type": "x/odd.v1.Legacy"}


def test_enums_are_printed_as_numbers_on_request() -> None:
    """In lists, in messages, in Anys and their Anys; what is no enum stays as it is."""
    inner = make("Everything", color=1, big=1)
    outer = make("Everything", color=2, colors=[0, 77], inner=inner, any=wrapped(pack(inner), 1))
    body = {"big": "1", "color": 1}
    assert to_json(outer, types(), JsonOptions(enum_numbers=True)) == {
        "color": 2,
        "colors": [0, 77],
        "inner": body,
        "any": {
            "@type": HOST + "google.protobuf.Any",
            "value": {"@type": HOST + "shapes.v1.Everything", **body},
        },
    }


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


def refusal(value: Any, name: str = "Everything") -> tuple[str, str, str]:
    """Return the field, the problem and the reason for which JSON is refused."""
    with pytest.raises(StatusError) as caught:
        parsed(value, name)
    request = error_details_pb2.BadRequest()
    assert caught.value.status.details[1].Unpack(request)
    (violation,) = request.field_violations
    assert caught.value.status.code == 3
    return violation.field, violation.description, caught.value.reason or ""


def _nested(key: str, levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {key: value}
    return value


REFUSED: list[tuple[Any, str]] = [
    ({"big": "x"}, "big"),
    ({"bigg": 1}, "bigg"),
    ({"ratio": 10**400}, "ratio"),
    ({"value": 10**400}, "value"),
    ({"color": "MAUVE"}, "color"),
    ({"raw": 5}, "raw"),
    ({"duration": 5}, "duration"),
    ({"time": "yesterday"}, "time"),
    ({"free": []}, "free"),
    ({"colors": "RED"}, "colors"),
    ({"words": {"maybe": "x"}}, "words"),
    ({"job": {"progressPercent": []}}, "job.progressPercent"),
    ({"job": {"createTime": {}}}, "job.createTime"),
    ({"job": 5}, "job"),
    ({"inner": {"inner": {"big": []}}}, "inner.inner.big"),
    ({"inner": 5}, "inner"),
    ({"inners": {}}, "inners"),
    ({"inners": [{}, {"big": []}]}, "inners[1].big"),
    ({"inners": [None]}, "inners[0]"),
    ({"innerByNumber": []}, "innerByNumber"),
    ({"innerByNumber": {"x": {}}}, "innerByNumber.x"),
    ({"innerByNumber": {"1": {"big": []}}}, "innerByNumber.1.big"),
    ({"any": 5}, "any"),
    ({"any": []}, "any"),
    ({"any": {"progressPercent": 1}}, "any"),
    ({"any": {"@type": 5}}, "any"),
    ({"any": {"@type": "\ud800"}}, "any"),
    ({"any": {"@type": "x/no.Such"}}, "any"),
    ({"any": {"@type": "x/shapes.v1.Job", "progress": 1}}, "any.progress"),
    ({"any": {"@type": "x/google.protobuf.Duration", "value": 5}}, "any.value"),
    ({"any": {"@type": "x/google.protobuf.Duration", "value": "1s", "more": 1}}, "any"),
    ({"any": {"@type": "x/google.protobuf.Empty", "value": {"a": 1}}}, "any.value"),
    ({"any": {"@type": "x/no.Such", "@value": "?"}}, "any"),
    ({"any": {"@type": "x/no.Such", "@value": 5}}, "any"),
    ({"any": {"@type": "x/no.Such", "@value": "é"}}, "any"),
    ({"anys": [{"@type": "x/no.Such"}]}, "anys[0]"),
    ({"anyByName": {"k": {"@type": "x/no.Such"}}}, "anyByName.k"),
    ({"anyByName": {"k": None}}, "anyByName.k"),
    ({"anyByName": {}, "any_by_name": {}}, "any_by_name"),
    ({"any": {"@type": "x/shapes.v1.Everything", "any": {"@type": "x/no.Such"}}}, "any.any"),
    ({"\ud800": 1}, r"\ud800"),
    ({"words": {"true": "\ud800"}}, "words"),
    ({"[no.extension]": 1}, "[no.extension]"),
    ({"[\ud800]": 1}, r"[\ud800]"),
    ([], ""),
    (None, ""),
    ("text", ""),
]


@pytest.mark.parametrize(("value", "field"), REFUSED, ids=lambda value: ascii(value)[:60])
def test_json_that_is_not_of_the_message_is_refused_by_its_field(value: Any, field: str) -> None:
    """The path of the field is told, through messages, lists, maps and Anys."""
    named, problem, reason = refusal(value)
    assert (named, bool(problem)) == (field, True)
    assert reason in {"INVALID_JSON", "UNKNOWN_TYPE"}


@pytest.mark.parametrize("key", ["inner", "free", "any"])
def test_json_nested_too_deep_is_refused(key: str) -> None:
    """However deep it is: never by exhausting Python's stack."""
    inside = {"any": {"@type": "x/google.protobuf.Any", "value": _nested("value", 500)}}
    value = {"free": _nested("a", 500), "inner": _nested("inner", 500), **inside}
    named, problem, _ = refusal({key: value[key]})
    assert named.startswith(key)
    assert problem


def test_two_of_one_oneof_are_refused_also_where_one_is_an_any() -> None:
    """The last would win silently."""
    empty = {"@type": "x/google.protobuf.Empty"}
    name = "odd.v1.Choice"
    problem = "cannot stand beside word, of which it is an alternative"
    assert refusal({"any": empty, "word": "w"}, name) == ("any", problem, "INVALID_JSON")
    problem = "cannot stand beside any, of which it is an alternative"
    assert refusal({"any": empty, "otherAny": empty}, name) == ("otherAny", problem, "INVALID_JSON")
    assert parsed({"any": empty, "word": None}, name).WhichOneof("kind") == "any"


PAYLOADS = [
    *(message_class(name) for name in ("Everything", "Job")),
    *(message_class(f"google.protobuf.{name}") for name in WELL_KNOWN_TYPES),
]


def same(one: Message, other: Message) -> bool:
    """Tell whether messages are equal, NaN being equal to itself."""
    contents = [m.SerializePartialToString(deterministic=True) for m in (one, other)]
    return contents[0] == contents[1]


@given(messages(message_class("Everything"), PAYLOADS))
def test_any_message_that_is_printed_is_read_back_the_same(message: Any) -> None:
    """By way of JSON text."""
    printed = to_json(message, types())
    assert orjson.loads(orjson.dumps(printed)) == printed
    assert same(parsed(printed, "Everything"), message)


@given(data=st.data(), file=files())
def test_any_message_of_any_type_is_printed_and_read_back_the_same(
    data: st.DataObject, file: FileDescriptorProto
) -> None:
    """Whatever messages a backend may define, of proto2 and proto3."""
    known = TypeSet()
    assert known.add([file]) == []
    classes = [known.message_class(f"random.{message.name}") for message in file.message_type]
    payloads = [c for c in (*classes, known.message_class("google.protobuf.Any")) if c]
    message: Any = data.draw(messages(payloads[0], payloads))
    printed = orjson.loads(orjson.dumps(to_json(message, known)))
    again = payloads[0]()
    parse(printed, again, known)
    assert same(again, message)


NAMES = [
    *(f"google.protobuf.{name}" for name in (*WELL_KNOWN_TYPES, "ListValue", "FileDescriptorSet")),
    *("shapes.v1.Everything", "shapes.v1.Job"),
    *("odd.v1.Legacy", "odd.v1.Shadow", "odd.v1.Tagged", "odd.v1.Tree", "odd.v1.Choice"),
]


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


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet=st.characters(exclude_categories=[]), max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(f.json_name for f in message_class("Everything").DESCRIPTOR.fields),
                    *("any_by_name", "@type", "@value", "value", "1", "true", "\ud800"),
                ]
            ),
            inner | st.sampled_from(NAMES).map("x/".__add__),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(json_values)
def test_whatever_json_is_parsed_it_is_a_message_or_an_invalid_argument(value: Any) -> None:
    """No other exception leaves the parser, whatever JSON a caller sends."""
    message = make("Everything")
    refused: list[int] = []
    try:
        parse(value, message, types())
    except StatusError as error:
        refused.append(error.status.code)
    assert refused == [3] or (isinstance(value, dict) and not refused)

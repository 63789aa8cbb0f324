"""Printing messages as ProtoJSON, and parsing the result back to the same message."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from google.protobuf.descriptor_pb2 import (
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.descriptors.parsing import parse
from lro_gateway.descriptors.printing import JsonOptions, any_to_json, to_json
from lro_gateway.descriptors.type_set import TypeSet
from tests.descriptors.payloads import (
    HOST,
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
from tests.generated import files, messages
from tests.strange import Strange

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
def test_a_payload_of_a_known_type_is_printed_as_protojson_and_parsed_back(
    payload: Any, body: dict[str, Any]
) -> None:
    """The fields are beside @type. The JSON of a type with a form of its own is under "value"."""
    any_message = pack(payload)
    printed = any_to_json(any_message, types())
    assert printed == {"@type": any_message.type_url, **body}
    assert parsed(printed, "google.protobuf.Any") == any_message


def test_every_kind_of_field_has_its_protojson_form() -> None:
    """For example, an int64 is a string, an enum value is a name, and bytes are base64."""
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
    """Boolean and integer keys are printed as JSON strings, and parsed back."""
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
    unknown = lossless(filled.m1[True], "no descriptor of its type was found")
    empty = {"@type": "x/google.protobuf.Empty"}
    printed = {"m1": {"true": unknown, "false": empty}, "m2": {str(2**64 - 1): empty}}
    assert to_json(filled, known) == printed
    again = maps_class()
    parse(printed, again, known)
    assert again == filled


def test_extensions_and_closed_enums_of_proto2_are_printed_and_parsed_back() -> None:
    """The key of an extension is its full name in brackets. A required field may be missing."""
    legacy_class = message_class("odd.v1.Legacy")
    pool = legacy_class.DESCRIPTOR.file.pool
    legacy = legacy_class(text="t", shade=2, extra={"word": "w"})
    job = pack(make("Job", progress_percent=1))
    unknown = raw("x/no.Such", b"\x01")
    legacy.Extensions[pool.FindExtensionByName("odd.v1.note")] = "n"
    legacy.Extensions[pool.FindExtensionByName("odd.v1.detail")].CopyFrom(job)
    legacy.Extensions[pool.FindExtensionByName("odd.v1.details")].extend([job, unknown])
    job_json = {"@type": HOST + "shapes.v1.Job", "progressPercent": 1}
    unknown_json = lossless(unknown, "no descriptor of its type was found")
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


def test_an_unknown_number_of_a_closed_enum_is_not_printed() -> None:
    """By proto2, such a number is an unknown field and does not set the enum field."""
    any_message = raw("x/odd.v1.Legacy", b"\x10\x63")
    assert any_to_json(any_message, types()) == {"@type": "x/odd.v1.Legacy"}


def test_enums_are_printed_as_numbers_on_request() -> None:
    """Enums may be in lists, in inner messages and in Anys. Other fields do not change."""
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


def test_a_field_mask_whose_path_has_no_camel_case_does_not_hide_the_rest() -> None:
    """json_format would fail for the whole message. The same is true inside an Any."""
    strange = Strange()
    strange.file.dependency.append("google/protobuf/field_mask.proto")
    request = strange.message("Request", "name")
    mask = ".google.protobuf.FieldMask"
    request.field.add(name="mask", number=2, type=11, label=1, type_name=mask)
    request.field.add(name="masks", number=3, type=11, label=3, type_name=mask)
    request.field.add(name="inner", number=4, type=11, label=1, type_name=".strange.Request")
    known = TypeSet()
    known.add(FileDescriptorSet.FromString(strange.descriptor_set()).file)
    request_class: Any = known.message_class("strange.Request")
    paths = ["display_name_2", "author.full_name"]
    message = request_class(name="n", mask={"paths": paths}, masks=[{"paths": paths}, {}])
    outer = request_class(inner=message)
    text = "display_name_2,author.fullName"
    printed = {"inner": {"name": "n", "mask": text, "masks": [text, ""]}}
    assert to_json(outer, known) == printed
    assert any_to_json(pack(outer), known) == {"@type": HOST + "strange.Request", **printed}
    again = request_class()
    parse(printed, again, known)
    assert again == outer


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (2020.0, "2020"),
        (-3.0, "-3"),
        (0.5, "0.5"),
        (2.0**53, "9007199254740992"),
        (2.0**54, "1.8014398509481984e+16"),
        (-0.0, "-0.0"),
    ],
)
def test_a_whole_number_is_printed_without_a_fraction(number: float, text: str) -> None:
    """As Google's servers print it, wherever it is. A double has no exact integers above 2**53."""
    free = from_json("google.protobuf.Struct", {"a": [number, {"b": number}]})
    job = pack(make("google.protobuf.DoubleValue", value=number))
    message = make(
        "Everything",
        ratio=number,
        free=free,
        inners=[make("Everything", ratio=number)],
        any=job,
        value=from_json("google.protobuf.Value", number),
    )
    printed = to_json(message, types())
    assert repr(printed["free"]) == f"{{'a': [{text}, {{'b': {text}}}]}}"
    others = [printed["ratio"], printed["value"], *printed["inners"], printed["any"]["value"]]
    assert repr(others) == f"[{text}, {text}, {{'ratio': {text}}}, {text}]"
    assert same(parsed(printed, "Everything"), message)


def test_whole_numbers_in_maps_and_floats_are_printed_without_a_fraction() -> None:
    """A caller that computes with the numbers asks for floats."""
    strange = Strange()
    request = strange.message("Request")
    request.field.add(name="share", number=1, type=FieldDescriptorProto.TYPE_FLOAT, label=1)
    entry = request.nested_type.add(name="RatesEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=FieldDescriptorProto.TYPE_STRING, label=1)
    entry.field.add(name="value", number=2, type=FieldDescriptorProto.TYPE_DOUBLE, label=1)
    rates = ".strange.Request.RatesEntry"
    request.field.add(name="rates", number=2, type=11, label=3, type_name=rates)
    known = TypeSet()
    known.add(FileDescriptorSet.FromString(strange.descriptor_set()).file)
    request_class: Any = known.message_class("strange.Request")
    message = request_class(share=3, rates={"a": 7})
    assert repr(to_json(message, known)) == "{'share': 3, 'rates': {'a': 7}}"
    floats = to_json(message, known, JsonOptions(keeps_floats=True))
    assert repr(floats) == "{'share': 3.0, 'rates': {'a': 7.0}}"


def same(one: Message, other: Message) -> bool:
    """Return whether two messages are equal, where NaN equals NaN."""
    contents = [m.SerializePartialToString(deterministic=True) for m in (one, other)]
    return contents[0] == contents[1]


@given(messages(message_class("Everything"), PAYLOADS))
def test_any_message_is_the_same_after_printing_and_parsing(message: Any) -> None:
    """The printed value is also the same after it is written as JSON text."""
    printed = to_json(message, types())
    assert orjson.loads(orjson.dumps(printed)) == printed
    assert same(parsed(printed, "Everything"), message)


@given(data=st.data(), file=files())
def test_any_message_of_any_type_is_the_same_after_printing_and_parsing(
    data: st.DataObject, file: FileDescriptorProto
) -> None:
    """The types are random, as a backend may define them in proto2 or proto3."""
    known = TypeSet()
    assert known.add([file]) == []
    classes = [known.message_class(f"random.{message.name}") for message in file.message_type]
    payloads = [c for c in (*classes, known.message_class("google.protobuf.Any")) if c]
    message: Any = data.draw(messages(payloads[0], payloads))
    printed = orjson.loads(orjson.dumps(to_json(message, known)))
    again = payloads[0]()
    parse(printed, again, known)
    assert same(again, message)

"""The arguments of a call as a condition sees them."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import any_pb2, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.message import Message

from lro_gateway.access.arguments import MAX_BYTES, TooLargeError, arguments_of
from lro_gateway.descriptors.type_set import TypeSet
from tests import factory, shapes


def test_a_field_without_presence_has_its_default() -> None:
    """So that a condition such as args.rowCount < 5 also decides on a request with 0."""
    found = arguments_of(factory.message("BuildMachineRequest"), factory.types())
    assert found["validateOnly"] is False
    assert found["parent"] == ""
    assert "machine" not in found


def test_an_inner_message_is_a_map() -> None:
    """With the JSON names of its fields."""
    request = factory.message("BuildMachineRequest", parent="lines/1", validate_only=True)
    request.machine.title = "Press"
    found = arguments_of(request, factory.types())
    assert (found["parent"], found["validateOnly"]) == ("lines/1", True)
    assert found["machine"]["title"] == "Press"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (timestamp_pb2.Timestamp(seconds=0), {"value": "1970-01-01T00:00:00Z"}),
        (timestamp_pb2.Timestamp(seconds=2**60), {"value": None}),
        (wrappers_pb2.Int64Value(value=2**60), {"value": 2**60}),
        (wrappers_pb2.BytesValue(value=b"\x00\xff"), {"value": "AP8="}),
        (struct_pb2.Value(string_value="x"), {"value": "x"}),
        (
            any_pb2.Any(type_url="t/no.Such", value=b"\x01"),
            {"@type": "t/no.Such", "@value": "AQ=="},
        ),
    ],
)
def test_a_well_known_type_has_its_json(message: Message, expected: dict[str, Any]) -> None:
    """Except that a number is a number. A value without JSON is null."""
    found = arguments_of(message, TypeSet())
    found.pop("@error", None)
    assert found == expected


def test_a_number_of_a_struct_is_a_double_in_cel() -> None:
    """CEL does not multiply an integer and a double."""
    message = shapes.message("Everything", ratio=3, free={"rows": [2020]})
    found = arguments_of(message, TypeSet())
    assert repr([found["ratio"], found["free"]]) == "[3.0, {'rows': [2020.0]}]"


def test_a_large_request_cannot_be_seen() -> None:
    """A condition must not take long, so a rule with one denies such a request."""
    request = factory.message("BuildMachineRequest", parent="x" * MAX_BYTES)
    with pytest.raises(TooLargeError, match="more than 262144 bytes"):
        arguments_of(request, factory.types())


def test_every_kind_of_field_has_a_form_in_cel() -> None:
    """Integers of 64 bits are numbers, enums are names, bytes are base64, keys are texts."""
    inner = shapes.message("Everything", ratio=0.5, colors=[1, 7])
    message = shapes.message(
        "Everything",
        big=-(2**62),
        huge=2**62,
        color=2,
        raw=b"ab",
        inner=inner,
        inners=[inner],
        inner_by_number={3: inner},
        word="",
        words={True: "yes"},
    )
    found = arguments_of(message, TypeSet())
    expected = {"big": -(2**62), "huge": 2**62, "color": "BLUE", "raw": "YWI=", "word": ""}
    assert {key: found[key] for key in expected} == expected
    assert found["inner"]["colors"] == ["RED", 7]
    assert found["inners"][0]["ratio"] == 0.5
    assert found["innerByNumber"]["3"]["color"] == "COLOR_UNSPECIFIED"
    assert found["words"] == {"true": "yes"}
    assert not {"job", "time", "wrapped", "any"} & found.keys()


def test_a_request_that_nests_deep_cannot_be_seen() -> None:
    """The library ends the process at many thousand levels."""
    root = message = shapes.message("Everything")
    for _ in range(150):
        message.inner.ratio = 1
        message = message.inner
    with pytest.raises(TooLargeError, match="more than 100 levels"):
        arguments_of(root, TypeSet())

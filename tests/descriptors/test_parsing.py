"""Parsing ProtoJSON into messages, and the errors that name a wrong field."""

from __future__ import annotations

from typing import Any

import pytest
from google.rpc import error_details_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from lro_gateway.descriptors.parsing import parse
from lro_gateway.errors import StatusError
from tests.descriptors.payloads import (
    HOST,
    NAMES,
    make,
    message_class,
    pack,
    parsed,
    raw,
    types,
)


@pytest.mark.parametrize("body", [{}, {"value": {}}])
def test_an_empty_message_in_an_any_is_parsed_in_two_forms(body: dict[str, Any]) -> None:
    """Python writes nothing beside @type. Go writes "value": {}."""
    url = HOST + "google.protobuf.Empty"
    assert parsed({"@type": url, **body}, "google.protobuf.Any") == raw(url, b"")


def test_the_type_may_come_after_the_fields_of_an_any() -> None:
    """The keys of a JSON object have no order."""
    written = {"progressPercent": 1, "@type": HOST + "shapes.v1.Job"}
    assert parsed(written, "google.protobuf.Any") == pack(make("Job", progress_percent=1))


def refusal(value: Any, name: str = "Everything") -> tuple[str, str, str]:
    """Parse wrong JSON, and return the field, the description and the reason of the error."""
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
def test_wrong_json_is_an_error_that_names_the_field(value: Any, field: str) -> None:
    """The path of the field may lead through messages, lists, maps and Anys."""
    path, problem, reason = refusal(value)
    assert (path, bool(problem)) == (field, True)
    assert reason in {"INVALID_JSON", "UNKNOWN_TYPE"}


@pytest.mark.parametrize("key", ["inner", "free", "any"])
def test_json_that_nests_too_deep_is_an_error(key: str) -> None:
    """Even very deep JSON does not exhaust Python's stack."""
    inside = {"any": {"@type": "x/google.protobuf.Any", "value": _nested("value", 500)}}
    value = {"free": _nested("a", 500), "inner": _nested("inner", 500), **inside}
    path, problem, _ = refusal({key: value[key]})
    assert path.startswith(key)
    assert problem


def test_two_fields_of_a_oneof_are_an_error_also_if_one_is_an_any() -> None:
    """json_format would silently keep only the last field."""
    empty = {"@type": "x/google.protobuf.Empty"}
    name = "odd.v1.Choice"
    problem = "cannot be given together with word, its alternative"
    assert refusal({"any": empty, "word": "w"}, name) == ("any", problem, "INVALID_JSON")
    problem = "cannot be given together with any, its alternative"
    assert refusal({"any": empty, "otherAny": empty}, name) == ("otherAny", problem, "INVALID_JSON")
    assert parsed({"any": empty, "word": None}, name).WhichOneof("kind") == "any"


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
def test_any_json_is_a_message_or_an_invalid_argument(value: Any) -> None:
    """The parser raises no other exception for any JSON that a caller may send."""
    message = make("Everything")
    codes: list[int] = []
    try:
        parse(value, message, types())
    except StatusError as error:
        codes.append(error.status.code)
    assert codes == [3] or (isinstance(value, dict) and not codes)

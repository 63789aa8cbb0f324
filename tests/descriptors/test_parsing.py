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
    ({"duration": True}, "duration"),
    ({"time": "yesterday"}, "time"),
    ({"free": []}, "free"),
    ({"colors": "RED"}, "colors"),
    ({"words": {"maybe": "x"}}, "words.maybe"),
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
    ({"any": {"@type": "x/google.protobuf.Duration", "value": True}}, "any.value"),
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
    ({"words": {"true": "\ud800"}}, "words.true"),
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
    assert reason in {"INVALID_JSON", "UNKNOWN_FIELD", "UNKNOWN_TYPE"}


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
    names = ", ".join(
        field.json_name for field in message_class(name).DESCRIPTOR.oneofs_by_name["kind"].fields
    )
    problem = f"at most one of {names} can be given, and any is given"
    assert refusal({"any": empty, "word": "w"}, name) == ("word", problem, "INVALID_JSON")
    assert refusal({"any": empty, "word": ""}, name) == ("word", problem, "INVALID_JSON")
    assert refusal({"any": empty, "otherAny": empty}, name) == ("otherAny", problem, "INVALID_JSON")
    assert parsed({"any": empty, "word": None}, name).WhichOneof("kind") == "any"


NOT_OBJECTS = ["", "x", [], [{}], 0, 1.5, True, False, '{"a": 1}']
JSON_TEXT = "a string that holds JSON"


@pytest.mark.parametrize("value", NOT_OBJECTS, ids=repr)
@pytest.mark.parametrize(
    ("within", "path"),
    [
        (lambda value: {"job": value}, "job"),
        (lambda value: {"inner": {"job": value}}, "inner.job"),
        (lambda value: {"inners": [{}, value]}, "inners[1]"),
        (lambda value: {"innerByNumber": {"1": value}}, "innerByNumber.1"),
        (lambda value: {"free": value}, "free"),
        (lambda value: {"nothing": value}, "nothing"),
        (lambda value: {"any": value}, "any"),
        (lambda value: {"any": {"@type": "x/shapes.v1.Everything", "job": value}}, "any.job"),
    ],
)
def test_only_an_object_is_a_message_at_any_depth(within: Any, path: str, value: Any) -> None:
    """An empty text or list, if it were an empty message, would wipe a field by an update mask."""
    field, problem, reason = refusal(within(value))
    assert (field, reason) == (path, "INVALID_JSON")
    assert problem.startswith("an object ")


@pytest.mark.parametrize(
    ("value", "path", "problem"),
    [
        ({"job": '{"progressPercent": 1}'}, "job", f"an object is needed, not {JSON_TEXT}"),
        ({"inners": " [{}]"}, "inners", f"a list is needed, not {JSON_TEXT}"),
        ({"inners": ["{}"]}, "inners[0]", f"an object is needed, not {JSON_TEXT}"),
        ({"words": '{"true": "x"}'}, "words", f"an object is needed, not {JSON_TEXT}"),
        ({"free": '{"a": 1}'}, "free", f"an object is needed, not {JSON_TEXT}"),
        ({"any": '{"@type": "x"}'}, "any", f"an object with @type is needed, not {JSON_TEXT}"),
        ({"colors": '["RED"]'}, "colors", f"a list is needed, not {JSON_TEXT}"),
        ('{"job": {}}', "", f"an object is needed, not {JSON_TEXT}"),
        ({"job": "{so"}, "job", "an object is needed, not '{so'"),
        ({"inners": {}}, "inners", "a list is needed, not an object"),
        ({"colors": "RED"}, "colors", "a list is needed, not 'RED'"),
        ({"words": []}, "words", "an object is needed, not a list"),
        ({"words": {"true": 1}}, "words.true", "a string is needed, not 1"),
        ({"words": {"true": None}}, "words.true", "a string is needed, not null"),
        ({"words": {"true": {}}}, "words.true", "a string is needed, not an object"),
        ({"innerByNumber": {"1": {}, "01": {}}}, "innerByNumber.01", "is given twice"),
        ({"time": ""}, "time", "a time such as \"2026-01-02T03:04:05Z\" is needed, not ''"),
        ({"duration": ""}, "duration", "a duration in seconds such as \"30s\" is needed, not ''"),
        (
            {"duration": {"seconds": 1}},
            "duration",
            'a duration in seconds such as "30s" is needed, not an object',
        ),
        ({"big": True}, "big", "an integer of 64 bits is needed, not true"),
        ({"big": 1.5}, "big", "an integer of 64 bits is needed, not 1.5"),
        ({"big": 2**63}, "big", f"an integer of 64 bits is needed, not {2**63}"),
        ({"huge": -1}, "huge", "an unsigned integer of 64 bits is needed, not -1"),
        ({"wrapped": {"value": 1}}, "wrapped", "an integer of 64 bits is needed, not an object"),
        ({"ratio": "1_0"}, "ratio", "a number is needed, not '1_0'"),
        ({"ratio": True}, "ratio", "a number is needed, not true"),
        ({"color": ""}, "color", "one of RED, BLUE is needed, not ''"),
        ({"color": True}, "color", "one of RED, BLUE is needed, not true"),
        ({"color": 1.5}, "color", "one of RED, BLUE is needed, not 1.5"),
        ({"color": "\ud800"}, "color", "one of RED, BLUE is needed, not '\\ud800'"),
        ({"color": "blu"}, "color", "one of BLUE, RED is needed, not 'blu'"),
        (
            {"innerByNumber": {"x": {}}},
            "innerByNumber.x",
            "an integer of 32 bits is needed as",
        ),
        ({"words": {"on": ""}}, "words.on", "true or false is needed as a key, not 'on'"),
        ({"free": {"a": 10**400}}, "free", "has a number that is not finite or is too large for"),
        ({"free": {"a": ["\ud800"]}}, "free", "has text that is not Unicode"),
        ({"free": {"\ud800": 1}}, "free", "has text that is not Unicode"),
        ({"value": _nested("a", 32)}, "value", "nested deeper than 31 levels"),
        ({"value": _nested("a", 90)}, "value", "nested deeper than 31 levels"),
        ({"raw": "!!!!"}, "raw", "base64 is needed, not '!!!!'"),
        ({"word": ["a"]}, "word", "a string is needed, not a list"),
        ({"progress": 1}, "progress", "there is no such field; there are: big, huge, color, raw"),
        (
            {"inner": {"progress": 1}},
            "inner.progress",
            "there is no such field in shapes.v1.Everything; there are: big, huge, color, raw",
        ),
        ({"anyByName": {}, "any_by_name": {}}, "any_by_name", "is given twice, also as anyByName"),
        (
            {"word": "w", "job": {}},
            "job",
            "at most one of word, job can be given, and word is",
        ),
    ],
    ids=lambda value: ascii(value)[:50],
)
def test_an_error_says_what_is_needed_and_what_was_given(
    value: Any, path: str, problem: str
) -> None:
    """A model corrects its call by these words. JSON in a string is never parsed silently."""
    field, description, _ = refusal(value)
    assert field == path
    assert description.startswith(problem)


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ({"job": None, "word": None, "colors": None, "words": None}, {}),
        ({"big": "1e3", "huge": 5.0, "ratio": "-1.5e2"}, {"big": 1000, "huge": 5, "ratio": -150}),
        ({"raw": "-_8"}, {"raw": b"\xfb\xff"}),
        ({"raw": "+/8="}, {"raw": b"\xfb\xff"}),
        ({"color": 1, "colors": ["BLUE", 77, "1"]}, {"color": 1, "colors": [2, 77, 1]}),
        ({"wrapped": 0}, {"wrapped": {"value": 0}}),
    ],
)
def test_the_other_forms_that_protojson_allows_are_parsed(value: Any, fields: Any) -> None:
    """For example, an integer may be a text with an exponent, and base64 may be that of URLs."""
    assert parsed(value, "Everything") == make("Everything", **fields)


def test_null_is_a_value_only_where_null_is_json_of_the_type() -> None:
    """For any other field, null means that the field is not set."""
    message = parsed({"value": None, "any": None, "wrapped": None}, "Everything")
    assert message.HasField("value")
    assert not message.HasField("any")
    assert not message.HasField("wrapped")


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

"""The requests of the five verbs: which ProtoJSON is accepted, and which field an error names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.errors import StatusError
from lro_gateway.service.verb_requests import (
    ListRequest,
    NameRequest,
    WaitRequest,
    parse_cancel,
    parse_delete,
    parse_get,
    parse_list,
    parse_wait,
)

Parse = Callable[[Mapping[str, Any]], object]
NAMED: tuple[Parse, ...] = (parse_get, parse_cancel, parse_delete)
EVERY: tuple[Parse, ...] = (*NAMED, parse_wait, parse_list)


def refusal(parse: Parse, arguments: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the field, the description and the reason of the error for these arguments."""
    with pytest.raises(StatusError) as caught:
        parse(arguments)
    error = caught.value
    request = error_details_pb2.BadRequest()
    assert error.status.details[1].Unpack(request)
    (violation,) = request.field_violations
    assert error.status.code == 3
    assert error.message == f"{violation.field}: {violation.description}"
    return violation.field, violation.description, error.reason or ""


@pytest.mark.parametrize("parse", NAMED)
def test_a_request_by_name_has_a_name_and_a_backend(parse: Parse) -> None:
    """Both may be left out here, because the router checks the name later."""
    assert parse({"name": "operations/1", "backend": "b"}) == NameRequest("operations/1", "b")
    assert parse({}) == NameRequest("", "")


def test_a_list_request_reads_every_field_in_either_spelling() -> None:
    """A ProtoJSON parser accepts camelCase and snake_case."""
    expected = ListRequest("projects/p", "done=true", 5, "t", True, "b")
    common = {"name": "projects/p", "filter": "done=true", "backend": "b"}
    camel = {"pageSize": 5, "pageToken": "t", "returnPartialSuccess": True}
    snake = {"page_size": 5, "page_token": "t", "return_partial_success": True}
    assert parse_list(common | camel) == expected
    assert parse_list(common | snake) == expected
    assert parse_list({}) == ListRequest()


@pytest.mark.parametrize("parse", EVERY)
def test_null_is_the_same_as_a_missing_field(parse: Parse) -> None:
    """ProtoJSON defines this, and the gateway's own argument `backend` does the same."""
    assert parse({"name": None, "backend": None}) == parse({})


def test_null_is_the_same_as_a_missing_field_for_every_type() -> None:
    """This holds for messages, numbers, strings and flags."""
    assert parse_wait({"name": "n", "timeout": None}) == WaitRequest("n", None)
    nothing = {"filter": None, "pageSize": None, "pageToken": None, "returnPartialSuccess": None}
    assert parse_list(nothing) == ListRequest()


@pytest.mark.parametrize(
    ("written", "timeout"),
    [
        ("30s", timedelta(seconds=30)),
        ("0s", timedelta(0)),
        ("1.5s", timedelta(seconds=1.5)),
        ("0.000001s", timedelta(microseconds=1)),
        ("315576000000s", timedelta(seconds=315576000000)),
        (20, timedelta(seconds=20)),
        (1.5, timedelta(seconds=1.5)),
        (0, timedelta(0)),
    ],
)
def test_a_timeout_is_a_protobuf_duration(written: Any, timeout: timedelta) -> None:
    """It is a number of seconds with an `s`, up to the longest Duration, or a bare number."""
    assert parse_wait({"name": "n", "timeout": written}) == WaitRequest("n", timeout)


def test_a_wait_without_a_timeout_leaves_it_to_the_gateway() -> None:
    """The timeout is then None, and not zero."""
    assert parse_wait({"name": "n"}) == WaitRequest("n", None, "")


@pytest.mark.parametrize(
    ("value", "right", "shown"),
    [
        (True, "30s", "true"),
        ("90", "90s", "'90'"),
        ("", "30s", "''"),
        ("s", "30s", "'s'"),
        ("10m", "600s", "'10m'"),
        ("1h30m", "5400s", "'1h30m'"),
        ("500ms", "0.5s", "'500ms'"),
        ("5 S", "5s", "'5 S'"),
        ("315576000001s", "30s", "'315576000001s'"),
        ("\ud800s", "30s", r"'\ud800s'"),
        ({"seconds": 30}, "30s", "an object"),
        ([], "30s", "a list"),
        (float("nan"), "30s", "nan"),
        (10**5000, "30s", "an integer of more than 40 digits"),
    ],
    ids=lambda value: ascii(value)[:20] if not isinstance(value, int) else "",
)
def test_a_timeout_of_another_form_is_refused(value: Any, right: str, shown: str) -> None:
    """The error shows what the caller probably meant, in the right form."""
    assert refusal(parse_wait, {"timeout": value}) == (
        "timeout",
        f'a duration in seconds such as "{right}" is needed, not {shown}',
        "INVALID_FIELD",
    )


def test_a_negative_timeout_is_refused() -> None:
    """ProtoJSON accepts it, but a wait cannot have a negative length."""
    expected = ("timeout", "must not be negative", "INVALID_FIELD")
    assert refusal(parse_wait, {"timeout": "-1s"}) == expected


@pytest.mark.parametrize(
    ("value", "page_size"),
    [
        (0, 0),
        (7, 7),
        ("7", 7),
        (7.0, 7),
        (2**31 - 1, 2**31 - 1),
        (2**31, 2**31 - 1),
        (10**5000, 2**31 - 1),
        (1e30, 2**31 - 1),
        ("2147483648", 2**31 - 1),
        ("9" * 5000, 2**31 - 1),
    ],
    ids=lambda value: "" if isinstance(value, int) else str(value)[:12],
)
def test_a_page_size_too_large_is_coerced(value: Any, page_size: int) -> None:
    """It becomes the largest int32, as a number or as a string of any length (AIP-158)."""
    assert parse_list({"pageSize": value}) == ListRequest(page_size=page_size)
    assert parse_list({"page_size": value}) == ListRequest(page_size=page_size)


@pytest.mark.parametrize(
    "value", [-1, "-1", -1.0, -(2**31) - 1, "-" + "9" * 30], ids=lambda value: str(value)[:12]
)
def test_a_negative_page_size_is_refused(value: Any) -> None:
    """AIP-158 requires INVALID_ARGUMENT for any negative page size."""
    expected = ("pageSize", "must not be negative", "NEGATIVE_PAGE_SIZE")
    assert refusal(parse_list, {"pageSize": value}) == expected


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, "true"),
        (1.5, "1.5"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        ("", "''"),
        ("ten", "'ten'"),
        ("1.5", "'1.5'"),
        ([1], "a list"),
        ({}, "an object"),
    ],
)
def test_a_page_size_that_is_no_integer_is_refused(value: Any, shown: str) -> None:
    """Booleans and fractions are not integers."""
    expected = ("page_size", f"an integer of 32 bits is needed, not {shown}", "INVALID_FIELD")
    assert refusal(parse_list, {"page_size": value}) == expected


@pytest.mark.parametrize(
    ("argument", "value", "problem"),
    [
        ("name", 1, "a string is needed, not 1"),
        ("name", ["n"], "a string is needed, not a list"),
        ("name", {}, "a string is needed, not an object"),
        ("name", False, "a string is needed, not false"),
        ("name", "\ud800", r"a string is needed, not '\ud800'"),
        ("filter", 0.5, "a string is needed, not 0.5"),
        ("pageToken", 10**5000, "a string is needed, not an integer of more than 40 digits"),
        ("page_token", -(10**3), "a string is needed, not -1000"),
        ("returnPartialSuccess", 1, "true or false is needed, not 1"),
        ("returnPartialSuccess", "true", "true or false is needed, not 'true'"),
        ("backend", 1, "a string is needed, not 1"),
        ("backend", {}, "a string is needed, not an object"),
    ],
    ids=lambda value: ascii(value)[:20] if isinstance(value, str) else "",
)
def test_a_value_of_the_wrong_type_is_refused_by_its_field(
    argument: str, value: Any, problem: str
) -> None:
    """The error has the field's name in the caller's spelling."""
    assert refusal(parse_list, {argument: value}) == (argument, problem, "INVALID_FIELD")


@pytest.mark.parametrize("parse", NAMED)
def test_an_unknown_field_is_refused_and_the_known_fields_are_listed(parse: Parse) -> None:
    """A misspelled argument is not ignored."""
    expected = ("nmae", "there is no such field; there are: name, backend", "UNKNOWN_FIELD")
    assert refusal(parse, {"nmae": "x"}) == expected


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("", ""),
        ("\ud800", r"'\ud800'"),
        ("a\nb", r"'a\nb'"),
        ("x" * 500, "'" + "x" * 120 + "...'"),
    ],
)
def test_an_error_can_name_an_unknown_field_of_any_spelling(argument: str, shown: str) -> None:
    """A name that does not print or is longer than 120 characters is quoted."""
    problem = (
        "there is no such field; there are:"
        " name, filter, pageSize, pageToken, returnPartialSuccess, backend, state"
    )
    with pytest.raises(StatusError) as caught:
        parse_list({argument: 1})
    assert caught.value.message == (f"{shown}: {problem}" if shown else problem)


def test_a_field_given_in_both_spellings_is_refused() -> None:
    """One of the two is a mistake, even if both have the same value."""
    for first, second in (("pageSize", "page_size"), ("page_size", "pageSize")):
        expected = (
            second,
            "is given twice, in camelCase and in snake_case; give it once",
            "INVALID_FIELD",
        )
        assert refusal(parse_list, {first: 5, second: 5}) == expected


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet=st.characters(exclude_categories=[])),
    lambda children: st.lists(children, max_size=2) | st.dictionaries(st.text(), children),
    max_leaves=4,
)
fields = ["name", "filter", "pageSize", "page_size", "pageToken", "returnPartialSuccess"]


@given(
    parse=st.sampled_from(EVERY),
    arguments=st.dictionaries(
        st.sampled_from([*fields, "timeout", "backend"])
        | st.text(alphabet=st.characters(exclude_categories=[]), max_size=3),
        json_values,
    ),
)
def test_any_json_arguments_are_a_request_or_an_invalid_argument(
    parse: Parse, arguments: dict[str, Any]
) -> None:
    """No JSON raises another error, not even a text with lone surrogates."""
    outcome: object
    try:
        outcome = parse(arguments)
    except StatusError as error:
        outcome = error.status.code
    assert outcome == 3 or isinstance(outcome, NameRequest | WaitRequest | ListRequest)
